"""Laminar profiles beside each other on the same axes, and the pair of tokens that was clicked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.laminar_profile import words
from strata.ui.anatomy.page import Page, draw, only
from strata.ui.figures.sinks import left_out

_MARK = ["layer", "normed", "position_a", "position_b"]


def draw_profiles(
    runs: Mapping[str, Page],
    points: Mapping[str, pd.DataFrame],
    statistics: Mapping[str, pd.DataFrame],
    **kept: bool,
) -> None:
    """The profile of each run, by title, and one of its pairs; a single one has it at its side.

    `points` and `statistics` are the concept's views of these names, `kept` what they were asked
    with. None of them may be empty.
    """
    axes = charts.laminar_axes(*points.values(), *statistics.values())
    places = st.columns([3, 1] if len(runs) == 1 else len(runs), gap="medium")
    for number, (title, run) in enumerate(runs.items()):
        with places[number]:
            sentence = words.profile_reading(statistics[title], points[title])
            chart = charts.laminar_profile(
                points[title], statistics[title], title, sentence, run.labels, axes
            )
            drawn = int((points[title]["kind"] == "pair").sum() / len(statistics[title]))
            some = only(drawn, int(statistics[title]["n_pairs"].max()), "pair")
            note = left_out(run, kept["skip_sinks"], some)
            clicked = draw(chart, f"profile_{number}", read=False, of=run.subject, note=note)
        if (points[title]["kind"] == "pair").all():
            with places[-1] if len(runs) == 1 else places[number]:
                _show_pair(run, points[title], statistics[title], clicked, f"pair_{number}", kept)


def _show_pair(
    page: Page,
    points: pd.DataFrame,
    statistics: pd.DataFrame,
    clicked: list[dict[str, Any]],
    key: str,
    kept: Mapping[str, Any],
) -> None:
    """The pair that was clicked; until then the one most alike at the last layer."""
    pairs = points[points["position_a"] < points["position_b"]]
    known = set(pairs[_MARK].itertuples(index=False, name=None))
    chosen = [mark for mark in (tuple(m.get(f) for f in _MARK) for m in clicked) if mark in known]
    last = pairs[(pairs["layer"] == page.n_layers) & ~pairs["normed"]]
    last = last if len(last) else pairs
    top = tuple(last.loc[last["cosine"].idxmax(), _MARK])
    layer, normed, a, b = map(int, chosen[0] if chosen else top)  # type: ignore[arg-type]
    title = "The pair that you clicked" if chosen else "Most alike at the last layer"
    st.markdown(f"**{title}**", help="Click a point to see its pair here.")
    shown = page.tokens["shown"].tolist()
    path = page.ask("laminar_profile.pair", position_a=a, position_b=b, **kept)
    st.text(words.context(shown, a, b))
    st.text(words.pair_reading(path, statistics, layer + normed, a, b, shown))
    by_layer = path[~path["normed"]].rename(columns={"cosine": "value"})
    chart = charts.by_layer(by_layer, "Its cosine by layer", "Cosine")
    draw(chart, key, read=False, of=page.subject)
