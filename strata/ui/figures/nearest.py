"""A cell's state by its nearest states in other sentences: the five in their contexts, and how
near those of earlier layers come."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import by_layer, contexts
from strata.concepts.logit_lens import words
from strata.corpus.passages import passages
from strata.display.tokens import display_sampled
from strata.engine import Job
from strata.errors import StrataError
from strata.ui.anatomy.controls import bounded_slider
from strata.ui.anatomy.page import Page, draw, only, reading
from strata.ui.anatomy.style import say
from strata.ui.server.resources import engine

SAMPLE = {"n": 2_000, "compact": True}  # the positions that the Gaussian baseline reads at first
K = 5
Found = tuple[dict[str, pd.DataFrame], dict[str, Any]]


def read_ahead(page: Page) -> None:
    """Have the passages read while nobody asks for anything, so that they are there for the tab."""
    job = Job(view="corpus.about", model=page.model, prompt=page.prompt, sample=dict(SAMPLE))
    engine().ahead(job)


def draw_nearest(page: Page, layer: int, position: int) -> Found:
    """The contexts, the curve by layer, and what they say. The table, and what the script needs.

    Where the passages cannot be read or held the page says so and keeps the rest.
    """
    asked: dict[str, Any] = {"sample": SAMPLE}
    try:
        cell = page.ask("logit_lens.cell", layer=layer, position=position)
        about = page.ask("corpus.about", meanwhile=_waiting, **asked)
        frame = page.ask("logit_lens.nearest", layer=layer, position=position, k=K, **asked)
        texts = page.ask("corpus.texts", **asked)["content"]
    except StrataError as error:
        say("note", str(error), "nearest")
        return {}, {}
    names = list(passages())
    frame = frame.assign(name=[names[text] for text in frame["text"]])
    token = f"“{page.shown(position)}” (position {position})"
    sinks = page.ask("hidden_states.sinks")["position"]
    sentence = words.nearest_reading(frame, layer, token, cell, sink=position in set(sinks))
    left, right = st.columns([5, 3], gap="medium")
    with right:
        # By how much, so that it stays where it is when another cell is chosen.
        below = layer - bounded_slider("Layers before this one", 0, layer, 0, "layers_back", right)
        ways = frame[frame["rank"] == 0].drop_duplicates("layer").sort_values("layer")
        ways = ways.assign(value=ways["cosine"])[["layer", "value"]]
        if len(ways) > 1:
            title = "How alike the nearest state of each layer is"
            note = only(len(ways), page.n_layers + 1, "layer")
            draw(by_layer(ways, title, "Cosine"), "nearest_by_layer", read=False, note=note)
    with left:
        shown = _shown(frame[frame["layer"] == below])
        title = f"Nearest at layer {below} to the state of {page.shown(position)} at layer {layer}"
        note = (
            f"{only(len(shown), int(about['n'][0]), 'state')}, a tick where the nearest usually is"
        )
        draw(contexts(shown, title, sentence), "nearest", read=False, note=note)
    reading(sentence, "_nearest")
    program = {"texts": list(texts), "layer": layer, "k": K, "n": SAMPLE["n"], "seed": 0}
    return {"nearest states": frame}, {"nearest": program}


def _waiting() -> None:
    """What there is to say while the passages are read."""
    st.caption(words.PASSAGES)


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """The contexts as they are drawn."""
    return pd.DataFrame(
        {
            "order": range(len(frame)),
            "before": frame["before"].map(words.around),
            "shown": frame["token"].map(display_sampled),
            "after": frame["after"].map(words.around),
            "name": [f"“{name}”" for name in frame["name"]],
            "cosine": frame["cosine"],
            "usual": frame["usual"],
        }
    )
