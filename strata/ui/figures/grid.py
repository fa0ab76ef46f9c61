"""The grid of the logit lens on a page, and the widgets that move about in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.grid import QUANTITIES, Grid
from strata.charts.subject import Subject, in_a_line
from strata.concepts.sinks import note
from strata.display.tokens import display_candidate
from strata.ui.anatomy.address import remember, whole_number
from strata.ui.anatomy.component import chosen_of, component
from strata.ui.anatomy.controls import (
    bounded_slider,
    move,
    one_of,
    one_of_counts,
    themselves,
)
from strata.ui.anatomy.page import Page, is_asked, only, say_if_older
from strata.ui.anatomy.style import aside, leads, room, tall
from strata.ui.figures.beside import other_prompt
from strata.ui.figures.target import Target, choose_target

MODES = {
    "states": "States",
    "deltas_own_norm": "Deltas, own norm",
    "deltas_frozen_norm": "Deltas, frozen norm",
    "attn_frozen_norm": "Attention writes, frozen norm",
    "mlp_frozen_norm": "MLP writes, frozen norm",
}
MISTAKES = {
    "none": "None",
    "norm_twice": "Norm the last state twice",
    "no_norm": "Leave the final norm out",
}
_SURE = ["prob", "norm", "entropy", "kl_to_final", "target_prob", "target_rank", "nothing"]
_OF_A_PAIR = ["prob", "norm", "entropy", "kl_to_final", "target_logit", "nothing"]
_FROZEN = ["logit", "norm", "target_logit", "nothing"]
CARRIED = {
    "states": _SURE,
    "deltas": _SURE,
    "frozen": _FROZEN,
    "states_pair": _OF_A_PAIR,
    "deltas_pair": _OF_A_PAIR,
    "frozen_pair": _FROZEN,
}
MOST_PINS = 12


def draw_grid(
    page: Page,
    grid: Grid,
    key: str,
    *,
    layer: str,
    position: str | None,
    writes: bool = False,
    of: int = 0,
    stands: int | None = None,
    chosen: tuple[int, int] | None = None,
    subject: Subject | None = None,
) -> None:
    """A grid of a page's run whose cells are buttons: a click moves the sliders with the
    session-state keys `layer` and `position` to that cell; without `position` to its layer only,
    and the grid opens at the prompt's end. `writes`: the embedding has no row; `of`: how many
    columns there are, as many as the prompt has tokens if 0; `stands`: the column that stands out;
    `chosen`: the layer and column of the chosen cell, where the sliders do not say it;
    `subject`: what it is of, where that is not the page's run alone.
    """
    notes = (
        only(len(grid.columns), of or page.n_tokens, "token"),
        only(len(grid.layers), page.n_layers + (not writes), "layer"),
        f"in each cell the first of {page.about['d_vocab']:,} tokens",
    )
    grid = replace(grid, about=in_a_line(subject or page.subject, *notes))

    def choose() -> None:
        clicked = chosen_of(key)
        positions = [column["position"] for column in grid.columns]
        if not (isinstance(clicked, list) and len(clicked) == 2):
            return
        if clicked[0] in grid.layers and clicked[1] in positions:
            st.session_state[layer] = int(clicked[0])
            if position:
                st.session_state[position] = int(clicked[1])

    state = st.session_state
    moved = [state.get(name) if name else None for name in (layer, position)]
    data = {
        "alt": grid.alt,
        "title": grid.title,
        "about": grid.about,
        "layers": grid.layers,
        "columns": grid.columns,
        "cells": grid.cells,
        "legend": grid.legend,
        "same": grid.same,
        "file": f"{page.stem}_{key}",
        "stands": stands,
        "chosen": list(chosen or moved),
    }
    made = component("strata_grid", __file__, ("grid_picture.js", "grid.js"), "grid.css")
    # As tall as in grid.css: title, what it is of, two rows of tokens, one a layer, the legend.
    with st.container(key=tall(min(760, 24 * (2 + len(grid.layers))) + 70, key)):
        made(key=key, data=data, on_chosen_change=choose)


def layer_slider(page: Page, key: str, first: int, place: DeltaGenerator) -> int:
    """Choose a layer; the last one for another model. The address keeps it."""
    return bounded_slider("Layer", first, page.n_layers, page.n_layers, key, place)


def window(page: Page, width: int, key: str, place: DeltaGenerator, position: int) -> int:
    """Where a window of `width` positions begins; the prompt's end for a new prompt. With a button
    that brings `position` into it."""
    last = max(0, page.n_tokens - width)
    if last == 0:
        return 0
    state = st.session_state
    if state.get(f"{key}_of", page.prompt) != page.prompt or not 0 <= state.get(key, last) <= last:
        if state.get(key) == state.get(f"{key}_end"):  # the end, as it was
            state[key] = last
        else:
            move(key, last, f"these are the last {width} tokens of this text")
    state[f"{key}_end"] = last
    state[f"{key}_of"] = page.prompt

    # Not at once when the token is moved: what is set while the browser changes the address makes
    # it forget that change.
    def bring() -> None:
        state[key] = min(last, max(0, position - width // 2))

    label = f"{width} of {page.n_tokens} tokens, from position"
    start = bounded_slider(label, 0, last, last, key, place)
    if not start <= position < start + width:
        label = f"Show position {position} here"
        place.button(
            label, key=f"{key}_bring", icon=":material/center_focus_strong:", on_click=bring
        )
    return start


def places(
    runs: Mapping[str, Page],
) -> tuple[dict[str, DeltaGenerator], dict[str, DeltaGenerator], DeltaGenerator]:
    """Room for the grid of each run, for its opened cell, and for what all share: beside the one
    grid, or below two."""
    place = leads if _leads() else st.container
    if len(runs) == 1:
        # Where they stand one below the other, the one that a step asks about comes first.
        beside = st.container(key="cell_first").columns if is_asked("cell") else st.columns
        [name], (figure, detail) = runs, beside([2, 1], gap="medium")
        detail = aside(detail)
        with figure, place():
            figure = room(400, "grid_place")
        return {name: figure}, {name: detail}, detail.container()
    with place():
        figures = dict(zip(runs, st.columns(len(runs), gap="medium"), strict=True))
    for name, run in runs.items():
        if name:
            with figures[name]:
                say_if_older(run, name)
    shared = st.container()
    return figures, dict(zip(runs, st.columns(len(runs), gap="medium"), strict=True)), shared


@dataclass(frozen=True)
class Controls:
    """What the learner chose to see."""

    mode: str
    back: str
    front: str
    up: bool
    with_sinks: bool  # whether attention sinks stretch the scales
    stride: int
    largest: bool
    mistake: str
    beside: Page | None  # the same page for a second prompt
    target: Target

    @property
    def states(self) -> bool:
        """Whether states are read, not what was written to them."""
        return self.mode == "states"

    @property
    def noun(self) -> str:
        """What a cell of the grid is read from."""
        return {"states": "state", "attn": "attention write", "mlp": "MLP write"}.get(
            self.mode.split("_")[0], "delta"
        )


def _leads() -> bool:
    """Whether the grid is what the page is about, and not what a step asks about beside it."""
    return not is_asked("cell", "followed", "attribution", "written", "nearest")


def choose(page: Page) -> Controls:
    """One row of controls; the rarer ones behind a button. The address keeps all of them."""
    with st.container(key="edit" if _leads() else None), st.container(key="choices"):
        reads, target, minus, more = st.columns([5, 4, 4, 5], vertical_alignment="bottom")
    mode = reads.selectbox(
        "Read", list(MODES), format_func=MODES.__getitem__, key="mode", bind="query-params"
    )
    followed = choose_target(page, target, minus)
    with more, st.container(horizontal=True, key="one_row"):
        with st.popover("Colours", icon=":material/palette:"):
            carried, with_sinks = colours(page, mode, followed)
        with st.popover("Options", icon=":material/tune:"):
            options = _options(page, mode)
    return Controls(mode=mode, **carried, with_sinks=with_sinks, target=followed, **options)


def colours(page: Page, mode: str, target: Target) -> tuple[dict[str, Any], bool]:
    """Choose what background and letters carry, and whether attention sinks stretch the scales."""
    kind = "frozen" if mode.endswith("frozen_norm") else mode.split("_")[0]
    names = {name: text.capitalize() for name, text in QUANTITIES.items()}
    if target.minus:  # a choice of its own, since not all of the others are there
        kind, names["target_logit"] = f"{kind}_pair", target.named
    choices = CARRIED[kind]
    carried = {
        name: st.selectbox(
            label,
            choices,
            index=choices.index(default),
            format_func=names.__getitem__,
            key=f"{name}_{kind}",
            bind="query-params",
        )
        for name, label, default in (
            ("back", "Background carries", choices[0]),
            ("front", "Letters carry", "norm"),
        )
    }
    label = "Let attention sinks stretch the norm scale"
    stretch = st.toggle(label, key="sink", bind="query-params")
    st.text(note(page.ask("hidden_states.sinks"), page.all_shown))
    return carried, stretch


def _options(page: Page, mode: str) -> dict[str, Any]:
    is_states = mode == "states"
    depth = one_of(st.container(), "Depth runs", themselves(["up", "down"]), key="depth")
    suppressed = st.toggle(
        "Suppressed tokens first", key="suppressed", disabled=is_states, bind="query-params"
    )
    strides = [n for n in (1, 2, 4, 8) if n < max(2, page.n_layers)]
    usual = next((n for n in strides if page.n_layers / n <= 48), strides[-1])
    label = "Every how many layers (the last always)"
    stride = one_of_counts(label, strides, usual, key="stride", place=st.container())
    mistake = st.selectbox(
        "A common mistake",
        list(MISTAKES),
        format_func=MISTAKES.__getitem__,
        key="mistake",
        disabled=not is_states,
        bind="query-params",
    )
    return {
        "up": depth != "down",
        "largest": is_states or not suppressed,
        "stride": stride,
        "mistake": mistake if is_states else "none",
        "beside": other_prompt(page, st.container()),
    }


def pins(cell: pd.DataFrame, name: str = "") -> None:
    """One button for each token of an opened cell: a click pins it. `name`: of several cells."""

    def pin(token_id: int) -> None:
        pinned = st.session_state.setdefault("pins", [])
        st.session_state["pins"] = list(dict.fromkeys([*pinned, token_id]))[-MOST_PINS:]

    with st.container(horizontal=True, gap="small"):
        for token_id, text in zip(cell["token_id"].tolist(), cell["predicted"], strict=True):
            st.button(
                f"`{_plain(text)}`",
                key=f"pin{name}_{token_id}",
                icon=":material/keep:",
                on_click=pin,
                args=(token_id,),
                help="Follow this token through the layers",
            )


def pinned(page: Page) -> list[int]:
    """The tokens that the learner pinned, each to be let go; empty: those that led. The address
    keeps their ids."""
    state = st.session_state
    if "pins" not in state:
        asked = [whole_number(part) for part in st.query_params.get("pins", "").split("-")]
        known = [i for i in asked if i is not None and i < page.about["d_vocab"]]
        state["pins"] = list(dict.fromkeys(known))[:MOST_PINS]
    if state.setdefault("pins_of", page.model) != page.model:
        state["pins"], state["pins_of"] = [], page.model
    names = {i: page.ask("run.named", token_id=i)["shown"].iloc[0] for i in state["pins"]}
    chosen: list[int] = st.multiselect(
        "Pinned tokens",
        list(names),
        format_func=names.__getitem__,
        key="pins",
        persist_state="session",
        placeholder="None pinned: every token that led at some layer is drawn",
    )
    remember("pins", "-".join(map(str, chosen)) or None)
    return chosen


def _plain(text: str) -> str:
    """A token inside a Markdown code span: no backtick may end it."""
    return display_candidate(text).replace("`", "ˋ")
