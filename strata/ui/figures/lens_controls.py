"""The controls of the Jacobian lens: random blocks, the identity, and how far J has settled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts.grid import lens_grid, scale_for
from strata.charts.lenses import compared, settling
from strata.charts.subject import Subject
from strata.concepts.jacobian_lens import words
from strata.corpus.passages import passages
from strata.errors import ModelError
from strata.ui.anatomy.controls import bounded_slider
from strata.ui.anatomy.page import Page, draw, only, position_slider, reading
from strata.ui.anatomy.style import leads, room, say
from strata.ui.figures.beam import SEED, by_layer, coming, random_blocks, read_passages
from strata.ui.figures.grid import draw_grid, window
from strata.ui.figures.lenses import WIDTH, Found, about, opening
from strata.ui.figures.target import Target, choose_target

PASSAGES = 4  # of a beam, where its own tab has not chosen others


def draw_controls(page: Page) -> Found:
    """What random blocks say, if that is asked for, how often they and the logit lens name what the
    Jacobian lens names, and how J has settled. The tables, and what the script needs.

    Without random blocks the logit lens has the grid to itself. Where nobody has fitted a lens to
    them, they are read by the beam of one word, which needs none.
    """
    file = about(page)["file"]
    with st.container(key="edit"):
        word, minus, one, other = st.columns(4, vertical_alignment="bottom")
        target = choose_target(page, word, minus)
        layer = bounded_slider("Layer", 0, page.n_layers, opening(page), "layer", one)
        position = position_slider(page, "Token at position", "at", other)
    left, right = st.columns([5, 4], gap="medium")
    size: dict[str, Any] = {"start": window(page, WIDTH, "from", left, position), "width": WIDTH}
    jacobian = page.named(page.ask("jacobian_lens.grid", **size))
    others = {"logit": page.named(page.ask("logit_lens.grid", **size))}
    with left:
        with leads():
            place = room(400, "control_place")
        refusal = _read_random(page, others, size) if random_blocks() else ""
    sentence = words.controls_reading(jacobian, others, layer, position)
    with place:
        _draw_other(page, jacobian, others, sentence)
        reading(sentence)
    with right:
        share = words.alike(jacobian, others)
        share = share.assign(name=share["kind"].map(words.CURVES))
        title = "Where they name what the Jacobian lens names, by layer"
        chart = compared(share, title, sentence, "Share of tokens (0 to 1)")
        note = only(jacobian["position"].nunique(), page.n_tokens, "token")
        draw(chart, "agreement", read=False, note=note)
        steps = _draw_settling(page)
    tables = {"jacobian lens": jacobian, **{words.CURVES[kind]: f for kind, f in others.items()}}
    tables = {name: frame.drop(columns="shown") for name, frame in tables.items()}
    tables |= {"convergence": steps}
    program: dict[str, Any] = {"lens": file, "shows": ["grid", "convergence"]}
    if "random" in others:
        [twin] = page.ask("jacobian_lens.about", random_blocks=SEED).to_dict("records")
        return tables, program | {"random_blocks": SEED, "random_lens": twin["file"]}
    if refusal:
        say("note", words.random_blocks(refusal, target.named), "random")
        tables["beam"], texts = _draw_random(page, target, layer, position)
        program["shows"].append("beam")
        program |= {"target_id": target.ids, "position": position}
        program |= {"texts": texts, "random_blocks": SEED}
    return tables, program


def _read_random(page: Page, others: dict[str, pd.DataFrame], size: dict[str, Any]) -> str:
    """Add the grid of random blocks to the others; why there is none, and what makes one."""
    try:
        others["random"] = page.named(page.ask("jacobian_lens.random_grid", seed=SEED, **size))
    except ModelError as refusal:
        return str(refusal)
    return ""


def _draw_random(
    page: Page, target: Target, layer: int, position: int
) -> tuple[pd.DataFrame, list[str]]:
    """Random blocks beside the model's own, by the beam of a word; its table, and its passages."""
    n_passages = st.session_state.get("passages", PASSAGES)
    named = target.pair or (target.shown,)
    figure, waiting, told = coming("beam"), st.container(), st.empty()

    def show(beams: pd.DataFrame, look: int = 0) -> None:
        sentence = words.beam_reading(beams, named, page.all_shown, layer, position)
        with figure.container():
            note = only(1, page.n_tokens, "token")
            chart = by_layer(page, beams, target, position, sentence)
            draw(chart, "beam", read=False, number=look, note=note)
        with told.container():
            further = words.passages_reading(beams, layer, position)
            reading(f"{sentence} {further}", f"_beam{look or ''}")

    with waiting:
        beams = read_passages(page, target, n_passages, show, random=True)
    show(beams)
    return beams, list(passages().values())[:n_passages]


def _draw_other(
    page: Page, jacobian: pd.DataFrame, others: dict[str, pd.DataFrame], sentence: str
) -> None:
    """The grid of random blocks, without a lens of theirs that of the identity."""
    kind = "random" if "random" in others else "logit"
    rows = others[kind].assign(final_id=jacobian["token_id"])
    scales = [scale_for([rows], each, page.about["d_vocab"]) for each in ("prob", "nothing")]
    title = {"random": "Random blocks", "logit": "J = identity, the logit lens"}[kind]
    grid = lens_grid(rows, f"{title}: what each state says", sentence, *scales)
    grid = replace(grid, same="what the Jacobian lens names there too")
    draw_grid(page, grid, "control", layer="layer", position="at")


def _draw_settling(page: Page) -> pd.DataFrame:
    """How J changed with more texts, and how alike J of both halves is; the table."""
    steps = page.ask("jacobian_lens.convergence")
    if steps.empty:
        reading("J was fitted on 1 text, so there is no other to compare it with.", "_settling")
        return steps
    said = words.settling_reading(steps)
    of = Subject((), page.subject.model, "the texts that J was fitted on")
    told: dict[str, Any] = {"read": False, "of": of}
    draw(settling(steps, "How much J still changed with more texts", said), "change", **told)
    halves = steps.drop_duplicates("layer").assign(value=steps["halves"])
    title = "J from one half of the texts, beside the other's"
    if halves["value"].notna().all():
        draw(charts.by_layer(halves[["layer", "value"]], title, "Cosine"), "halves", **told)
    reading(said, "_settling")
    return steps
