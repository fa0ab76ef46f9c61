"""The grid of the Jacobian lens: read by it, by the logit lens, or the difference of the two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.common import apart_in_nats
from strata.charts.grid import Grid, Scale, lens_grid, scale_for
from strata.charts.lens import cell_bars, followed
from strata.charts.lenses import compared
from strata.concepts.jacobian_lens import words
from strata.corpus.passages import passages
from strata.errors import StrataError
from strata.ui.anatomy.controls import bounded_slider, one_of
from strata.ui.anatomy.page import Page, draw, only, position_slider, reading
from strata.ui.anatomy.style import aside, leads, room, say
from strata.ui.figures.grid import colours, draw_grid, pinned, pins, window
from strata.ui.figures.target import Target, choose_target

LENSES = {
    "jacobian": "Jacobian lens",
    "logit": "Logit lens",
    "difference": "Their difference",
}
WIDTH = 24  # positions of a grid
_CELL = 5  # tokens of an opened cell, by each lens
Found = tuple[dict[str, pd.DataFrame], dict[str, Any]]


@contextmanager
def or_fit_one(page: Page, beam: str) -> Iterator[None]:
    """What is refused is said in its place, such as a lens that this model does not have, and where
    there is a figure that needs none: the tab `beam`."""
    try:
        yield
    except StrataError as error:
        say("note", str(error), "lens")
        if words.NEEDS_NONE in str(error) and st.session_state.get("view") != beam:
            go = partial(st.session_state.update, view=beam)
            st.button(f"To {beam[0].lower()}{beam[1:]}, which needs none", on_click=go, key="beam")


def to_be_fitted() -> dict[str, Any]:
    """What the script is told where nothing is shown: to fit a lens by itself, on two passages as
    the command that the page names reads them."""
    return {"texts": list(passages().values())[:2], "max_tokens": 48}


def about(page: Page) -> dict[str, Any]:
    """The row of `about`. ModelError, which says what makes a lens, where there is none."""
    found = page.ask("jacobian_lens.about").to_dict("records")
    if not found:
        page.ask("jacobian_lens.grid", width=1)
    return dict(found[0])


def draw_lenses(page: Page) -> Found:
    """The controls, the grid, one of its cells by both lenses, and the answer through the layers.
    The tables, and what the script needs. StrataError where the model has no fitted lens."""
    facts = about(page)
    with st.container(key="edit"):
        which, word, minus, more = st.columns([6, 4, 4, 3], vertical_alignment="bottom")
        by = one_of(which, "Read by", LENSES, key="by")
        target = choose_target(page, word, minus)
        with more.popover("Colours", icon=":material/palette:"):
            carried, with_sinks = colours(page, "states", target)
    figure, detail = st.columns([2, 1], gap="medium")
    detail = aside(detail)
    with figure:
        above = st.container()
        with leads():
            place = room(400, "grid_place")
    with detail:
        layer = bounded_slider("Layer", 0, page.n_layers, opening(page), "layer", detail)
        position = position_slider(page, "Token at position", "at", detail)
    start = window(page, WIDTH, "from", above, position)
    size: dict[str, Any] = {"start": start, "width": WIDTH, "target_id": target.ids}
    jacobian = page.named(page.ask("jacobian_lens.grid", **size))
    logit = page.named(page.ask("logit_lens.grid", **size))
    sentence = words.lens_reading(jacobian, logit, layer, position)
    if by == "difference":
        apart = page.ask("jacobian_lens.difference", start=start, width=WIDTH)
        sentence = words.difference_reading(apart, position)
        grid = _difference(words.apart(jacobian, apart), sentence)
    else:
        sinks = () if with_sinks else tuple(page.ask("hidden_states.sinks")["position"])
        scales = [
            scale_for([jacobian, logit], each, page.about["d_vocab"], [sinks, sinks])
            for each in carried.values()
        ]
        title = f"{LENSES[by]}: what each state is disposed to say"
        title = title if by == "jacobian" else "Logit lens: what each state would say next"
        grid = lens_grid(jacobian if by == "jacobian" else logit, title, sentence, *scales)
    with place:
        draw_grid(page, grid, "lenses", layer="layer", position="at")
        reading(sentence)
        st.caption(words.what(facts))
    with detail:
        tables = _cells(page, layer, position)
        pins(tables["jacobian cell"].head(_CELL))
    tables |= _through(page, target, position)
    tables = {"jacobian lens": jacobian, "logit lens": logit, **tables}
    drop = ["shown"]
    tables = {name: frame.drop(columns=drop, errors="ignore") for name, frame in tables.items()}
    shows = ["grid", *["difference"] * (by == "difference"), "followed"]
    if by == "difference":
        tables["difference"] = apart
    told = {"target_id": target.ids, "position": position}
    return tables, {"lens": facts["file"], "shows": shows, **told}


def opening(page: Page) -> int:
    """The layer at which the grid opens: five sixths of the way up, where a state is on its way to
    the answer and both lenses still differ. At the last layer they are one."""
    return max(0, min(page.n_layers - 1, round(5 * page.n_layers / 6)))


def _difference(rows: pd.DataFrame, sentence: str) -> Grid:
    """The token that the Jacobian lens raises most, on how much it does."""
    back = Scale("by", 1.0, "0%", "100%", "probability that the Jacobian lens adds to it")
    front = scale_for([rows], "nothing", 1)
    title = "Jacobian lens less logit lens: the token that it raises most"
    return replace(
        lens_grid(rows, title, sentence, back, front), same="both lenses name the same token there"
    )


def _cells(page: Page, layer: int, position: int) -> dict[str, pd.DataFrame]:
    """One cell as bars, by each lens."""
    where = f"layer {layer} after {page.shown(position)} (position {position})"
    asked: dict[str, Any] = {"layer": layer, "position": position, "k": _CELL}
    found = {}
    for kind in ("jacobian", "logit"):
        cell = page.ask(f"{kind}_lens.cell", **asked)
        chart = cell_bars(cell, cell, f"{LENSES[kind]}: {where}", writes=False)
        draw(chart, f"cell_{kind}", read=False, note=page.most(len(cell)))
        found[f"{kind} cell"] = cell
    return found


def _through(page: Page, target: Target, position: int) -> dict[str, pd.DataFrame]:
    """The target through the layers by both lenses, of a pair of words their difference, and pinned
    tokens by the Jacobian lens."""
    token_ids = pinned(page)
    asked: dict[str, Any] = {"position": position, "target_id": target.ids}
    ways = {
        kind: page.ask(f"{kind}_lens.followed", token_ids=token_ids, **asked)
        for kind in ("jacobian", "logit")
    }
    both = pd.concat(
        [words.way_of(way, target.ids).assign(kind=kind) for kind, way in ways.items()]
    )
    both = both.assign(
        name=both["kind"].map(LENSES),
        value=both["logit"] if target.minus else both["prob"],
        low=float("nan"),
        high=float("nan"),
    )
    sentence = words.followed_reading(ways["jacobian"], ways["logit"], target.ids, position)
    left, right = st.columns(2, gap="medium")
    some = only(len(target.token_ids), page.about["d_vocab"], "token")
    with left:
        title = f"{target.named} at position {position}, by both lenses"
        axis = apart_in_nats(*target.pair) if target.minus else "Probability"
        draw(compared(both, title, sentence, axis), "both_lenses", read=False, note=some)
    with right:
        note = "only tokens that are pinned" if token_ids else "only tokens that led at some layer"
        alone = ways["jacobian"][ways["jacobian"]["other"] == ""].astype({"rank": int})
        chart = followed(alone, "rank", sentence)
        draw(chart, "followed_rank", read=False, note=note)
    reading(sentence, "_followed")
    return {f"{kind} followed": way for kind, way in ways.items()}
