"""The shape of paths: how each turns and the text bends, by token and layer, and surprisal."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.trajectories import words
from strata.concepts.trajectories.shape import rank_correlation
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import Page, draw, reading
from strata.ui.figures.sinks import left_out, show_sinks, without_sinks

QUANTITIES = {
    "turning": "Turning angle",
    "curvature": "Curvature",
    "step": "Step",
    "length": "Path length",
}
_UNITS = {"turning": "degrees", "curvature": "degrees", "step": "norm", "length": "norm"}
_NAMES = {"turning": "turning", "curvature": "curvature"}


def draw_shape(page: Page) -> dict[str, pd.DataFrame]:
    """A quantity by token and layer, both angles by layer, and paths against surprisal; tables."""
    pick, skip = st.columns([3, 2], vertical_alignment="bottom", gap="medium")
    chosen = one_of(pick, "Of each path", QUANTITIES, key="of_path")
    shown = show_sinks(page, "with_sinks", skip, ever_some=True)
    frame, means = page.ask("trajectories.shape"), page.ask("trajectories.shape_by_layer")
    tables = {"shape": frame, "shape by layer": means}
    known = frame if shown else without_sinks(page, frame)
    sentence = words.shape_reading(means)
    _draw_cells(page, known, chosen, sentence, left_out(page, not shown))
    left, right = st.columns(2, gap="medium")
    with left:
        _draw_angles(page, means, sentence)
    with right:
        surprise = _draw_surprise(page, without_sinks(page, frame), chosen)
    reading(sentence)
    reading(surprise, "_surprise")
    st.caption(words.SHAPE)
    return tables


def _draw_cells(page: Page, frame: pd.DataFrame, chosen: str, sentence: str, note: str) -> None:
    cells = page.labelled(frame.dropna(subset=chosen))
    if chosen in ("step", "length"):
        cells = cells[cells[chosen] > 0]  # nothing else has a place on a log scale
    cells = cells.assign(value=cells[chosen])
    title, log = f"{QUANTITIES[chosen]}, by layer and token", _UNITS[chosen] == "norm"
    legend = "Degrees" if not log else "Norm"
    if chosen == "curvature" and len(cells):
        some = f"only tokens between two others that are no sinks{'; ' if note else ''}"
        note = f"{some}{note}"
    chart = charts.heatmap(cells, title, sentence, legend=legend, log=log)
    draw(chart, "shape", read=False, note=note)


def _draw_angles(page: Page, means: pd.DataFrame, sentence: str) -> None:
    pieces = [means[["layer"]].assign(name=n, value=means[k]) for k, n in _NAMES.items()]
    rows = pd.concat(pieces, ignore_index=True).dropna(subset="value")
    if rows.empty:
        return
    chart = charts.lines(rows, "Both angles by layer", "Mean angle (degrees)", sentence)
    draw(chart, "angles", read=False, note=left_out(page, True))


def _draw_surprise(page: Page, frame: pd.DataFrame, chosen: str) -> str:
    """A number of each path against the surprisal of its token; what that says."""
    by = frame.groupby("position")
    whole = by[chosen].last() if chosen == "length" else by[chosen].mean()
    both = pd.DataFrame({"x": by["surprisal"].first(), "y": whole}).dropna().reset_index()
    noun = QUANTITIES[chosen].lower()
    found = rank_correlation(both["x"].to_numpy(), both["y"].to_numpy())
    sentence = words.surprise_reading(found, len(both), noun)
    if len(both) > 1:
        title = f"{QUANTITIES[chosen]} against surprisal"
        mean = "" if chosen == "length" else "mean, "
        y = f"{QUANTITIES[chosen]} ({mean}{_UNITS[chosen]})"
        chart = charts.scatter(page.labelled(both), title, "Surprisal (nats)", y, sentence)
        some = "tokens that have both, without sinks"
        draw(chart, "surprise", read=False, note=some)
    return sentence
