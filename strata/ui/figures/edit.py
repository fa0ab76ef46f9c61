"""Choosing an edit: which part is scaled, by how much, at which positions, at which block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.concepts.scaling.words import PART_NAMES
from strata.trace import Part, Scale
from strata.ui.anatomy.address import remember, whole_number
from strata.ui.anatomy.controls import bounded_slider, one_of, themselves, told_moved
from strata.ui.anatomy.page import Page
from strata.ui.figures.target import Target, choose_target

PARTS: dict[Part, str] = {"stream": "Stream", "attn": "Attention", "mlp": "MLP"}
_WHICH = ("All", "The last", "Chosen")
_AT, _ADDRESS = "where_at", "positions"


@dataclass(frozen=True)
class Edit:
    """What the learner chose to do to the run, the block left open."""

    target: Target
    part: Part
    factor: float
    positions: list[int] | None

    @property
    def params(self) -> dict[str, Any]:
        """The part and the positions, as views take them."""
        return {"part": self.part, "positions": self.positions}

    @property
    def noun(self) -> str:
        """What is done, in a few words for titles."""
        return f"{PART_NAMES[self.part]} × {self.factor:g}"

    def at(self, block: int) -> Scale:
        where = None if self.positions is None else tuple(self.positions)
        return Scale(block, self.factor, self.part, where)


def choose_edit(page: Page, place: DeltaGenerator) -> Edit:
    """Two rows of controls, on a laptop as well: target and word to take off, factor; part and
    positions. The address keeps all of them. On a phone they stand below the figure: layout.css."""
    with place, st.container(key="edit"):
        word, minus, how_much = st.columns([5, 5, 4], gap="small")
        what, where = st.columns(2, gap="medium")
    target = choose_target(page, word, minus)
    part = one_of(what, "Scale", PARTS, "part")
    factor = how_much.slider(
        "By the factor", 0.0, 2.0, 0.8, 0.05, key="factor", bind="query-params"
    )
    told_moved("factor", factor, how_much)
    return Edit(target, part, factor, _positions(page, where))


def block_slider(page: Page, label: str, key: str, place: DeltaGenerator, worst: int) -> int:
    """Choose a block; a button goes to the one that hurts most. The address keeps it."""
    last = page.n_layers - 1
    slide, jump = place.columns([4, 1], vertical_alignment="bottom")
    jump.button(
        f"Hurts most: block {worst}",
        on_click=st.session_state.update,
        args=({key: worst},),
        width="stretch",
    )
    return bounded_slider(label, 0, last, last // 2, key, slide)


def _positions(page: Page, place: DeltaGenerator) -> list[int] | None:
    """None for all positions, else a list of at least one; numbers only stand in the address."""
    which = one_of(place, "Positions", themselves(_WHICH), key="where")
    if which != "Chosen":
        remember(_ADDRESS, None)
        return None if which == "All" else [page.n_tokens - 1]
    if _AT not in st.session_state:
        asked = st.query_params.get(_ADDRESS, "").split("-")
        st.session_state[_AT] = [at for each in asked if (at := whole_number(each)) is not None]
    known = [position for position in st.session_state[_AT] if position < page.n_tokens]
    st.session_state[_AT] = known or [page.n_tokens - 1]
    chosen: list[int] = place.multiselect(
        "At the positions",
        list(range(page.n_tokens)),
        format_func=lambda position: f"{position} {page.shown(position)}",
        key="where_at",  # as `_AT`
        label_visibility="collapsed",
        persist_state="session",
    )
    chosen = sorted(chosen) or [page.n_tokens - 1]
    remember(_ADDRESS, "-".join(map(str, chosen)))
    return chosen
