"""The figures of patching: the exact map, the gradient's estimate, two cells, attention heads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts
from strata.charts import Chart
from strata.charts.patch import against_exact, effects, patch_map
from strata.concepts.patching import words
from strata.concepts.patching.views import pieces, worst_cells
from strata.errors import StrataError
from strata.ui.anatomy.controls import bounded_slider, one_of
from strata.ui.anatomy.page import draw, only, reading
from strata.ui.anatomy.style import leads, room, say
from strata.ui.figures.two_prompts import Patch

QUANTITIES = {"share": "Share", "value": "Logits", "kl": "KL"}
STILL = "dotted cells can change nothing"
_FIRST, _SECOND = ("layer", "at"), ("layer_2", "at_2")  # keys of both cells' sliders
_WORST = 5  # cells where the estimate fails most
Drawn = tuple[dict[str, pd.DataFrame], dict[str, Any]]  # tables, and what the script is told


@contextmanager
def or_said(name: str) -> Iterator[None]:
    """What is refused is said in its place, and the rest of the page stays."""
    try:
        yield
    except StrataError as error:
        say("note", str(error), name)


def _sides(wide: int, narrow: int) -> tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator]:
    """A figure's place, whose height is kept while it is computed; below it; and beside it."""
    whole, beside = st.columns([wide, narrow], gap="medium")
    with whole:
        below = leads()
    with below:
        figure = room(520, "patch_map")
    return figure, below, beside


def draw_map(patch: Patch) -> Drawn:
    """The exact map, from the top layers down as they are there, and beside it one cell."""
    figure, below, detail = _sides(5, 2)
    quantity = one_of(detail, "Colour", QUANTITIES, key="colour")
    with figure:
        cells = _cells(patch, quantity)
    with detail:
        layer, position = _cell(
            patch, "", patch.page.n_layers // 2, patch.first, layer_key="layer", at_key="at"
        )
        reading(_said_of(patch, cells, layer, position), "_cell")
        _along(patch, cells, position)
    sentence = _sentence(patch, cells)
    with figure:
        chart = _map(patch, cells, quantity, sentence, [(layer, position)])
        draw(chart, "map", read=False, of=patch.of, note=_note(patch, cells), on_pick=_pick_one)
    with below:
        reading(sentence)
        reading(words.runs_reading(patch.facts), "_runs")
    return {"map": cells}, {}


def _cells(patch: Patch, quantity: str) -> pd.DataFrame:
    """All cells of the map; while the lower layers are computed, those above are drawn."""
    found: list[pd.DataFrame] = []

    def so_far() -> None:
        if found:
            cells = pd.concat(found[::-1], ignore_index=True)
            chart = _map(patch, cells, quantity, _sentence(patch, cells), [], picks=False)
            draw(chart, "map_so_far", read=False, number=len(found), of=patch.of)

    for low, high in pieces(patch.page.n_layers, patch.part):
        asked = {"part": patch.part, "layers": [low, high], **patch.asked}
        found.append(patch.page.ask("patching.cells", meanwhile=so_far, **asked))
    return pd.concat(found[::-1], ignore_index=True)


def _map(
    patch: Patch,
    cells: pd.DataFrame,
    quantity: str,
    sentence: str,
    marked: list[tuple[int, int]],
    *,
    picks: bool = True,
    what: str = "",
    alike: pd.Series | None = None,
) -> Chart:
    frame = patch.whole(cells)
    for number, (layer, position) in enumerate(marked, 1):
        here = (frame["layer"] == layer) & (frame["position"] == position)
        frame.loc[here, "mark"] = str(number) if len(marked) > 1 else " "
    legend, heading = words.quantity(quantity, patch.facts, patch.direction)
    title = f"{what or heading}: {words.put(patch.direction, patch.part)}"
    ends = (float(patch.facts["clean_value"]), float(patch.facts["other_value"]))
    height = 210 + min(430, 17 * int(frame["layer"].nunique()))
    look: dict[str, Any] = {"ends": ends, "alike": alike, "height": height, "picks": picks}
    return patch_map(frame, title, sentence, quantity, legend, **look)


def _sentence(patch: Patch, cells: pd.DataFrame) -> str:
    shown = patch.page.all_shown
    return words.map_reading(cells, patch.facts, patch.direction, patch.part, shown)


def _said_of(patch: Patch, cells: pd.DataFrame, layer: int, position: int) -> str:
    shown = patch.page.all_shown
    return words.cell_reading(cells, patch.facts, patch.direction, layer, position, shown)


def _note(patch: Patch, cells: pd.DataFrame) -> str:
    """What a map leaves out."""
    total = (patch.page.n_layers + 1 - patch.lowest) * patch.page.n_tokens
    still = STILL * (len(cells) < total)
    before = words.ends(patch.facts, patch.direction)[0]
    unread = words.unread(cells, before) if patch.part != "stream" else ""
    return "; ".join(filter(None, (still, unread)))


def _cell(
    patch: Patch, which: str, layer: int, position: int, *, layer_key: str, at_key: str
) -> tuple[int, int]:
    """Two sliders for a cell of the map, at first at a layer and position; a click on the map moves
    them."""
    last, end = patch.page.n_tokens - 1, patch.page.n_layers
    place, names = st.container(), [f"{which} layer", f"{which} token at position"]
    of_layer, of_token = (name.strip().capitalize() for name in names)
    chosen = bounded_slider(of_layer, patch.lowest, end, layer, layer_key, place)
    return chosen, bounded_slider(of_token, patch.first, last, position, at_key, place)


def _pick_one(mark: dict[str, Any]) -> None:
    if {"layer", "position"} <= mark.keys():
        st.session_state[_FIRST[0]] = int(mark["layer"])
        st.session_state[_FIRST[1]] = int(mark["position"])


def _along(patch: Patch, cells: pd.DataFrame, position: int) -> None:
    """The target by layer, patched at one token."""
    along = cells[cells["position"] == position]
    if len(along) > 1:
        noun = words.noun(patch.facts).capitalize()
        title = f"By layer, at {patch.page.shown(position)}"
        one = only(1, patch.page.n_tokens, "token")
        draw(charts.by_layer(along, title, noun), "along", read=False, of=patch.of, note=one)


def draw_estimate(patch: Patch) -> Drawn:
    """The gradient's estimate beside the exact map, and over it, and where it fails most."""
    asked = {"part": patch.part, **patch.asked}
    exact = _cells(patch, "share")
    guessed = patch.page.ask("patching.estimate", **asked)
    worst_of: dict[str, Any] = worst_cells(exact, guessed, _WORST)
    failed = patch.page.ask("patching.failures", **worst_of, **asked)
    shown, before = patch.page.all_shown, words.ends(patch.facts, patch.direction)[0]
    both = exact.merge(guessed, on=["layer", "position"], suffixes=("", "_estimate"))
    both = both.assign(exact=both["value"] - before, estimate=both["value_estimate"] - before)
    sentence = words.estimate_reading(both, patch.facts, shown)
    alike = pd.concat([exact["share"], guessed["share"]])
    with leads():
        places = st.columns(2, gap="medium")
    for place, frame, what in zip(
        places, (exact, guessed), ("Exact", "By the gradient"), strict=True
    ):
        with place:
            chart = _map(patch, frame, "share", sentence, [], picks=False, what=what, alike=alike)
            key = "exact" if frame is exact else "estimate"
            draw(chart, key, read=False, of=patch.of, note=_note(patch, frame))
    reading(sentence)
    scatter, list_of_worst = st.columns([5, 4], gap="medium")
    with scatter:
        labels = patch.labels
        worst = failed.assign(failed=range(len(failed)))[["layer", "position", "failed"]]
        points = both.merge(worst, "left", on=["layer", "position"])
        points = points.assign(
            label=[labels[position] for position in points["position"]],
            name=[f"layer {row.layer}, {shown[row.position]}" for row in points.itertuples()],
        )
        title = "The estimate of each cell, over its exact effect"
        some = only(points["position"].nunique(), patch.page.n_tokens, "token")
        chart = against_exact(points, title, sentence)
        draw(chart, "scatter", read=False, of=patch.of, note=some)
    with list_of_worst:
        st.markdown("**Where it fails most, and why**")
        reading(words.failures_reading(failed, patch.facts, patch.direction, shown), "_failures")
    return {"map": exact, "estimate": guessed, "failures": failed}, {"worst": _WORST}


def draw_two(patch: Patch) -> Drawn:
    """Two cells, clicked one after the other: each alone, both together, and their sum."""
    last, middle = patch.page.n_tokens - 1, patch.page.n_layers // 2
    cells = _cells(patch, "share")
    figure, _, detail = _sides(4, 3)
    with detail:
        st.caption("Click one cell of the map, then another, or move the sliders.")
        one = _cell(patch, "First", middle, patch.first, layer_key="layer", at_key="at")
        two = _cell(patch, "Second", patch.page.n_layers, last, layer_key="layer_2", at_key="at_2")
    with figure:
        sentence = _sentence(patch, cells)
        chart = _map(patch, cells, "share", sentence, [one, two])
        draw(chart, "two_map", read=False, of=patch.of, note=_note(patch, cells), on_pick=_pick)
    tables, told = {"map": cells}, {}
    with detail, or_said("two"):
        chosen: dict[str, Any] = {"first": list(one), "second": list(two), "part": patch.part}
        row = tables["two cells"] = patch.page.ask("patching.both", **chosen, **patch.asked)
        told = {"cells": [list(one), list(two)]}
        shown, noun = patch.page.all_shown, words.noun(patch.facts)
        values = row.iloc[0]
        alone = [float(values[name] - values["unpatched"]) for name in ("first", "second")]
        together = float(values["both"] - values["unpatched"])
        frame = pd.DataFrame(
            {
                "label": ["First alone", "Second alone", "Sum of these", "Both together"],
                "order": range(4),
                "effect": [*alone, sum(alone), together],
                "kind": ["alone", "alone", "sum", "together"],
            }
        )
        said = words.two_reading(values, patch.facts, told["cells"], shown, patch.part)
        title = f"What two cells do to the {noun} of {words.followed(patch.facts)}"
        draw(effects(frame, title, said), "two", of=patch.of)
    return tables, told


def _pick(mark: dict[str, Any]) -> None:
    """The first cell, and after it the second, and so on in turns."""
    state = st.session_state
    turn = state["picked_cells"] = state.get("picked_cells", 0) + 1
    if {"layer", "position"} <= mark.keys():
        for key, name in zip((_SECOND, _FIRST)[turn % 2], ("layer", "position"), strict=True):
            state[key] = int(mark[name])


def draw_heads(patch: Patch) -> Drawn:
    """The heads of one block, each put into the other run alone."""
    written = patch.page.ask("patching.cells", part="attn", **patch.asked)
    known = written[written["share"].notna()]
    best = int(known.loc[words.farthest(known), "layer"]) - 1 if len(known) else 0
    last = patch.page.n_layers - 1
    block = bounded_slider("Block", 0, last, best, "block", st.container())
    heads = patch.page.ask("patching.heads", block=block, **patch.asked)
    rows = patch.whole(heads, "head")
    shown = patch.page.all_shown
    sentence = words.heads_reading(heads, patch.facts, patch.direction, block, shown)
    legend = words.moved(patch.direction)
    title = f"{legend} by each attention head of block {block}"
    height = 210 + 26 * int(rows["head"].nunique())
    chart = patch_map(
        rows, title, sentence, "share", legend, rows="head", height=height, picks=False
    )
    note = STILL if len(heads) < len(rows) else ""
    with leads():
        draw(chart, "heads", of=patch.of, note=note)
    of_heads = patch.page.ask("heads.modules").iloc[0]
    where = {"projection": json.loads(of_heads["projection"])[block], "block": block}
    return {"heads": heads}, {"heads": {**where, "n_heads": int(of_heads["n_heads"])}}
