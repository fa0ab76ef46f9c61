"""The figure of a state read elsewhere: what each layer's state makes another text go on with."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.grid import Grid, Scale
from strata.charts.subject import Subject
from strata.concepts.patching import elsewhere_words
from strata.concepts.patching.read_elsewhere import READERS, source_layers
from strata.display.tokens import display_candidate, percent
from strata.ui.anatomy import style
from strata.ui.anatomy.controls import bounded_slider, one_of
from strata.ui.anatomy.page import Page, reading
from strata.ui.figures.beside import own_prompt
from strata.ui.figures.grid import draw_grid

_OWN = "own"
_INTO = {"same": "The same layer", "chosen": "One layer"}
_STEPS = 4  # tokens written
_LAYER, _STEP = "layer", "read_step"
Found = tuple[dict[str, pd.DataFrame], dict[str, Any] | None]


def draw_elsewhere(page: Page) -> Found:
    """The controls, the grid of layers and steps, and what it says. Its table, and what the script
    needs; None where there is no text to read in. StrataError where the text cannot be read."""
    with st.container(key="edit"):
        which, where, how = st.columns([5, 4, 4], gap="medium", vertical_alignment="bottom")
    text = _text(which)
    if not text:
        style.say("note", "Write a text that the state is to be read in.", "no_text")
        return {}, None
    other = page.beside(prompt=text)
    at = _position(other, where)
    own_layer = one_of(how, "Put in at", _INTO, key="into") == "same"
    figure, detail = st.columns([5, 2], gap="medium")
    with detail:
        last = page.n_tokens - 1
        position = bounded_slider("Token at position", 0, last, last, "at", detail)
        layer = bounded_slider("Layer", 0, page.n_layers, page.n_layers // 2, _LAYER, detail)
        into = None if own_layer else _layer(page, detail)
    asked: dict[str, Any] = {"position": position, "at": at, "into": into, "n_tokens": _STEPS}
    frame = page.ask("patching.read_elsewhere", text=text, **asked)
    layers = source_layers(page.n_layers)
    layer = min(layers, key=lambda each: (abs(each - layer), each))
    n_steps = int(frame["step"].max())
    step = min(st.session_state.setdefault(_STEP, 1), n_steps)
    token = f"“{page.shown(position)}” (position {position})"
    sentence = elsewhere_words.elsewhere_reading(frame, token, other.shown(at))
    with figure, style.leads():
        title = f"What the text goes on with, given the state of {page.shown(position)}"
        subject = Subject((page.prompt, text), page.subject.model)
        grid = _grid(frame, title, sentence)
        told: dict[str, Any] = {"of": n_steps, "chosen": (layer, step), "subject": subject}
        draw_grid(page, grid, "elsewhere", layer=_LAYER, position=_STEP, **told)
    with detail:
        reading(elsewhere_words.elsewhere_cell_reading(frame, layer, step), "_cell")
    reading(sentence)
    program = {"other": text, "target_ids": [], "within": []}
    return {"read elsewhere": frame}, {**program, "elsewhere": {**asked, "layers": layers}}


def _text(place: DeltaGenerator) -> str:
    """The text that the state is read in: one of a few, or the learner's own, "" while there is
    none."""
    titles = {name: title for name, (title, _) in READERS.items()} | {_OWN: "Your own text"}
    chosen = place.selectbox(
        "Read it in",
        list(titles),
        format_func=titles.__getitem__,
        key="reader",
        bind="query-params",
    )
    return own_prompt(place) if chosen == _OWN else READERS[chosen][1]


def _position(other: Page, place: DeltaGenerator) -> int:
    """Where in the text the state is put: at first at its last question mark, or else its end."""
    asks = [i for i, token in enumerate(other.all_shown) if "?" in token]
    last = other.n_tokens - 1
    usual, state = (asks or [last])[-1], st.session_state
    if state.setdefault("read_of", other.prompt) != other.prompt:
        state["read_of"], state["read_at"] = other.prompt, usual
    return bounded_slider("Put in at position", 0, last, usual, "read_at", place)


def _layer(page: Page, place: DeltaGenerator) -> int:
    """The one layer that states of all layers are put in at."""
    middle = page.n_layers // 2
    return bounded_slider("Put in at layer", 0, page.n_layers, middle, "into_layer", place)


def _grid(frame: pd.DataFrame, title: str, sentence: str) -> Grid:
    """A row a layer, a column a step, headed by what the text goes on with anyway."""
    layers = sorted(frame["layer"].unique().tolist(), reverse=True)
    steps = sorted(frame["step"].unique().tolist())
    headed = frame.drop_duplicates("step").set_index("step")["control_token"]
    scale = Scale("prob", 1.0, "0%", "100%")
    depths = scale.levels(frame)
    nothing: dict[str, Any] = {"shown": "", "tip": "ended before", "back": 0.0, "front": 0.0}
    cells = {
        (row.layer, row.step): {
            "shown": display_candidate(row.token),
            "tip": f"State of layer {row.layer}, step {row.step}\n"
            f"{display_candidate(row.token)} {percent(row.prob)}\n"
            f"without it: {display_candidate(row.control_token)}",
            "back": round(float(depth), 3),
            "front": 1.0,
            "same": bool(
                not pd.isna(row.control_token_id) and row.token_id == row.control_token_id
            ),
        }
        for row, depth in zip(frame.itertuples(), depths, strict=True)
    }
    return Grid(
        title,
        sentence,
        layers,
        [{"position": step, "shown": display_candidate(headed[step])} for step in steps],
        [
            [cells.get((layer, step), {**nothing, "same": False}) for step in steps]
            for layer in layers
        ],
        [scale.legend("back")],
        same="what the text goes on with there anyway, as over each column",
    )
