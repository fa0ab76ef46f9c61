"""The laminar profile as a figure: shared axes, the final norm apart, marks that can be clicked."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from strata import charts
from strata.concepts.laminar_profile import points, statistics
from tests.concepts.by_hand import HOSTILE, trace
from tests.concepts.laminar_profile.test_laminar_profile import norm_model


def measured(layers: int, tokens: int = 6, **kept: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    run = trace(layers=layers, tokens=tokens)
    return points(norm_model(), run, **kept), statistics(norm_model(), run, **kept)


def drawn(layers: int, axes: charts.Axes | None = None, **kept: Any) -> charts.Chart:
    pairs, numbers = measured(layers, **kept)
    labels = [f"{i} t{i}" for i in range(len(HOSTILE))]
    axes = axes or charts.laminar_axes(pairs, numbers)
    return charts.laminar_profile(pairs, numbers, "Title", "Read this.", labels, axes)


def named(chart: charts.Chart, name: str) -> dict[str, Any]:
    [layer] = (layer for layer in chart.spec["layer"] if layer.get("name") == name)
    return dict(layer)


def test_axes_hold_both_runs_and_the_band_of_random_vectors() -> None:
    both = [*measured(4, center=True), *measured(7)]
    axes = charts.laminar_axes(*both)
    assert axes.n_layers == 6
    for frame in both:
        for name in ("cosine", "minimum", "maximum", "random_low", "random_high"):
            assert frame.get(name, pd.Series([0.0])).between(axes.low, axes.high).all()
    first, second = (drawn(layers, axes).spec["encoding"] for layers in (4, 7))
    for channel in ("x", "y"):
        assert first[channel]["scale"] == second[channel]["scale"]


def test_the_final_norm_stands_beyond_the_last_layer() -> None:
    chart = drawn(5)
    normed = chart.frame["normed"]
    assert chart.frame.loc[normed, "x"].between(5.5, 6.5).all()
    assert chart.frame.loc[~normed, "x"].between(-0.5, 4.5).all()
    axis = chart.spec["encoding"]["x"]["axis"]
    assert axis["values"] == [0, 1, 2, 3, 4, 6]
    assert axis["labelExpr"] == "datum.value > 4 ? 'norm' : datum.value"
    look = named(chart, "pairs")["encoding"]
    assert (
        look["shape"]["condition"]["test"] == look["color"]["condition"]["test"] == "datum.normed"
    )


def test_the_median_line_ends_before_the_final_norm() -> None:
    _, numbers = measured(5)
    chart = drawn(5)
    rows = [layer["data"]["values"] for layer in chart.spec["layer"] if "data" in layer]
    lines = [values for values in rows if len(values) == 5]
    assert len(lines) == 2
    assert [row["x"] for row in lines[0]] == [0, 1, 2, 3, 4]
    assert [row["median"] for row in lines[0]] == numbers["median"].tolist()[:5]
    bars = [values for values in rows if len(values) == 6]
    assert [row["x"] for row in bars[0]] == [0, 1, 2, 3, 4, 6]
    [band] = (values for values in rows if len(values) == 1)
    assert band == [numbers.iloc[0][["random_low", "random_high"]].to_dict()]


def test_a_click_names_the_pair_and_its_layer() -> None:
    [param] = named(drawn(5), "pairs")["params"]
    assert param["select"]["fields"] == ["layer", "normed", "position_a", "position_b"]


def test_mistakes_are_explained_where_they_are_drawn() -> None:
    right, wrong = (drawn(5, unique=unique).spec["title"] for unique in (False, True))
    assert len(right["subtitle"]) == len(wrong["subtitle"])  # axes at one height
    assert "random vectors" in right["subtitle"][-1]
    assert "dropped" in wrong["subtitle"][-1]


def test_many_points_are_drawn_on_a_canvas() -> None:
    assert "usermeta" not in drawn(5).spec
    assert drawn(9, tokens=30).spec["usermeta"]["embedOptions"]["renderer"] == "canvas"


@pytest.mark.parametrize(("layers", "ticks"), [(13, 13), (31, 7), (49, 10), (97, 10)])
def test_few_ticks_for_many_layers(layers: int, ticks: int) -> None:
    values = drawn(layers).spec["encoding"]["x"]["axis"]["values"]
    assert len(values) == ticks + 1
    assert values[-1] == layers + 1


def test_words_for_those_who_cannot_see_it() -> None:
    assert drawn(5).alt == "Title. Read this."
