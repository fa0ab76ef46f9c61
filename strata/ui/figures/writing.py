"""While the model writes: the lens at each step of a greedy continuation, token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import by_layer
from strata.charts.grid import lens_grid, scale_for
from strata.charts.lens import followed
from strata.concepts.logit_lens import words
from strata.display.tokens import display_candidate
from strata.errors import StrataError
from strata.ui.anatomy.controls import bounded_slider
from strata.ui.anatomy.page import Page, draw, only, reading
from strata.ui.anatomy.style import say
from strata.ui.figures.grid import draw_grid

_USUAL, _MOST = 12, 24  # tokens


def draw_written(page: Page, *, up: bool = True) -> tuple[dict[str, pd.DataFrame], dict[str, int]]:
    """The grid of layers and steps, in which the chosen step stands out, the chosen step's token
    and norm through the layers, and what that says. The table, and what the script needs.

    A model that cannot go on with a cache says so here, and keeps the rest of the page.
    """
    many, which = st.columns(2, gap="medium")
    n_tokens = bounded_slider("Tokens to write", 1, _MOST, _USUAL, "n_written", many)
    asked = {"n_written": n_tokens}
    try:
        frame = page.ask("logit_lens.written", n_tokens=n_tokens)
    except StrataError as error:
        say("note", str(error), "written")
        return {}, {}
    n_steps = int(frame["step"].max())
    step = bounded_slider("Step", 1, n_steps, 1, "step", which) if n_steps > 1 else 1
    here = frame[frame["step"] == step]
    token = display_candidate(here["token"].iloc[0])
    sentence = words.written_reading(frame, step)
    grid, detail = st.columns([2, 1], gap="medium")
    with grid:
        named = frame.assign(
            position=frame["step"],
            shown=frame["token"].map(display_candidate),
            final_id=frame["written_id"],
            other="",
        )
        d_vocab = int(page.about["d_vocab"])
        scales = [scale_for([named], each, d_vocab) for each in ("prob", "norm")]
        title = "While it writes: what each layer would write at each step"
        drawn = lens_grid(named, title, sentence, *scales, up=up, noun="step")
        drawn = replace(drawn, same="what is written at that step")
        moves: dict[str, Any] = {"layer": "written_layer", "position": "step"}
        draw_grid(page, drawn, "written", **moves, of=n_steps, stands=step)
    with detail:
        so_far = frame.drop_duplicates("step")["token"].tolist()[: step - 1]
        subject = replace(page.subject, prompts=(page.prompt + "".join(so_far),))
        told: dict[str, Any] = {"read": False, "of": subject}
        way = here.assign(token_id=here["written_id"], predicted=here["token"])
        way = way.assign(prob=here["target_prob"], rank=here["target_rank"])
        note = only(1, page.about["d_vocab"], "token")
        draw(followed(way, "prob", sentence), "written_prob", note=note, **told)
        norms = here[["layer"]].assign(value=here["norm"])
        title = f"Norm of the state that writes {token}"
        draw(by_layer(norms, title, "Norm"), "written_norm", **told)
    reading(sentence, "_written")
    return {"while it writes": frame}, asked
