"""A figure in its place, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import Chart
from strata.charts.guess import with_guess
from strata.charts.subject import Subject, captioned
from strata.charts.titled import fitted
from strata.ui.anatomy import record, style
from strata.ui.anatomy.opened import subject


def draw(
    chart: Chart,
    key: str,
    *,
    read: bool = True,
    number: int = 0,
    of: Subject | None = None,
    note: str = "",
    on_pick: Callable[[dict[str, Any]], None] | None = None,
    in_passing: bool = False,
) -> list[dict[str, Any]]:
    """A chart in its place, with what it is of under its title, words for those who cannot see it,
    and its reading below. `of`: None where it is of the page's own run; `note`: what is left out.

    Returns what was clicked, where the chart has a selection: the fields of each chosen mark, which
    `on_pick` is told before the run that a click starts. With another `number` it is another one,
    in which nothing has been clicked; so it is where something else than a click has changed what
    it shows, since a mark that is chosen already cannot be clicked. A chart without rows would be
    an empty box: only its reading is shown. `in_passing`: of a text that is no prompt yet, so it is
    neither kept for a report nor has a guess on it.
    """
    if chart.frame.empty:
        if read:
            reading(chart.reading)
        return []
    guess = st.session_state.get("drawn_guess")
    if guess is not None and guess.figure == key and not in_passing:
        chart = with_guess(chart, guess)
    rows = chart.table  # of the chart that is kept, since it is made once for each
    chart = captioned(chart, subject() if of is None else of, note)
    if not in_passing:
        record.keep_figure(chart, key)
    views = [chart.spec, *chart.spec.get("layer", [])]
    selections = [p["name"] for view in views for p in view.get("params", []) if "select" in p]
    name = f"{key}_{number}" if number else key
    place = name
    if on_pick is not None:
        name = _renewed(place, chart)

    def picked(drawn: Any) -> list[dict[str, Any]]:
        return [mark for each in selections for mark in drawn["selection"].get(each, [])]

    def pick(tell: Callable[[dict[str, Any]], None]) -> None:
        _clicks(place).heard = True
        for mark in picked(st.session_state[name]):
            tell(mark)

    heard: Any = "ignore"
    if selections:
        heard = partial(pick, on_pick) if on_pick else "rerun"
    spec = fitted(chart.spec, height=chart.height)
    with st.container(key=style.tall(chart.height, name)):
        drawn: Any = st.vega_lite_chart(
            None,
            # By name, so that they are there when the figure is first laid out: an axis without
            # rows has no ends, and the browser complains of each.
            {**spec, "data": {"name": "rows"}, "datasets": {"rows": rows}},
            width="stretch",
            height=chart.height,
            key=name,
            alt=chart.alt,
            on_select=heard,
        )
    if read:
        reading(chart.reading)
    return picked(drawn)


@dataclass
class _Clicks:
    """What became of the clicks in one figure."""

    renewed: int = 0  # how often it was drawn as another one
    shown: int | None = None  # what it shows since the last click, as a hash; None: not clicked
    heard: bool = False  # whether the coming run is the one that a click started


def _clicks(place: str) -> _Clicks:
    found: _Clicks = st.session_state.setdefault("clicks", {}).setdefault(place, _Clicks())
    return found


def _renewed(place: str, chart: Chart) -> str:
    """The key under which a figure that can be clicked is drawn: another one as soon as it shows
    something else than after the last click in it."""
    clicks = _clicks(place)
    if clicks.heard or clicks.shown is not None:
        rows = pd.util.hash_pandas_object(chart.frame, index=False)
        shown = hash((repr(chart.spec), rows.to_numpy().tobytes()))
        if clicks.heard:
            clicks.heard, clicks.shown = False, shown
        elif clicks.shown != shown:
            clicks.renewed, clicks.shown = clicks.renewed + 1, None
    return f"{place}_anew{clicks.renewed}" if clicks.renewed else place


def draw_row(row: Sequence[Chart], key: str, **told: Any) -> None:
    """Small multiples, four beside each other, or below each other where there is no room; `told`:
    what `draw` is told of each."""
    for start in range(0, len(row), 4):
        places = st.columns(min(4, len(row)), gap="small")
        for number, chart in enumerate(row[start : start + 4], start):
            with places[number - start]:
                draw(chart, f"{key}_{number}", read=False, **told)


def is_asked(*figures: str) -> bool:
    """Whether the step of a lesson is about one of these figures, by the beginnings of their keys:
    what a step is about is to be the first of its page."""
    return str(st.session_state.get("asked_figure") or "-").startswith(figures)


def readings_wait() -> bool:
    """Whether a step of a lesson keeps back what the page would say of its figures."""
    return bool(st.session_state.get("readings_wait"))


def reading(sentence: str, key: str = "") -> None:
    """What the figure shows for this run, in one computed sentence, as plain text. Of several on a
    page all but one need a key. A step of a lesson may keep them back."""
    if readings_wait():
        return
    with st.container(
        key=f"reading{key}", horizontal=True, vertical_alignment="center", gap="small"
    ):
        st.markdown(":material/menu_book: **Reading**", width="content")
        st.text(sentence)
