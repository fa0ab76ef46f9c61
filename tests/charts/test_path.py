"""Paths over a map: what is drawn up to a layer, and names that never cover each other."""

from __future__ import annotations

import copy
import json

import altair
import numpy as np
import pandas as pd
import pytest

from strata import charts
from strata.charts import path
from strata.charts.common import DEPTH, scale_of


def a_map(tokens: int = 3, layers: int = 5, spread: float = 10.0) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        (f"p{t}", f"{t} ␣token", layer, *(spread * rng.standard_normal(2)))
        for t in range(tokens)
        for layer in range(layers)
    ]
    return pd.DataFrame(rows, columns=["path", "label", "layer", "x", "y"])


def drawn(frame: pd.DataFrame, upto: int = 99) -> charts.Chart:
    rows = frame[frame["layer"] <= upto]
    return charts.paths(rows, "A map", "It says this.", n_layers=4, within=frame)


def boxes(chart: charts.Chart) -> list[tuple[float, float, float]]:
    """Of each name that is drawn: its middle and half its width, in pixels of the smallest map."""
    scales = chart.spec["encoding"]
    (left, right), (low, high) = (scales[name]["scale"]["domain"] for name in ("x", "y"))
    named = chart.frame[chart.frame["name_y"].notna()]
    x = (named["x"] - left) / (right - left) * path._WIDE
    y = (high - named["name_y"]) / (high - low) * path._HIGH
    half = named["label"].str.len() * path._LETTER / 2
    x += named["dx"] + half * named["align"].map({"left": 1, "right": -1, "center": 0})
    return [*zip(x, y, half, strict=True)]


def test_of_many_paths_only_the_ends_are_named() -> None:
    chart = drawn(a_map(tokens=7))
    assert set(chart.frame["layer"][chart.frame["name_y"].notna()]) == {4}
    assert len(boxes(chart)) == 7


def test_each_path_has_its_name_where_it_begins_and_where_it_ends() -> None:
    chart = drawn(a_map())
    assert set(chart.frame["layer"][chart.frame["name_y"].notna()]) == {0, 4}
    assert len(boxes(chart)) == 6
    assert chart.frame["end"].tolist() == [False, False, False, False, True] * 3
    assert len(boxes(drawn(a_map(), upto=0))) == 3


@pytest.mark.parametrize("spread", [10.0, 0.001])
@pytest.mark.parametrize("tokens", [10, 60])
def test_names_never_cover_each_other_nor_leave_the_figure(tokens: int, spread: float) -> None:
    frame = a_map(tokens, spread=spread)
    frame.loc[0, ["x", "y"]] = 50.0, 50.0  # so that small spreads crowd one corner
    found = boxes(drawn(frame))
    assert 2 < len(found) <= tokens
    assert path.unnamed(drawn(frame)) == (tokens - len(found), tokens)
    for i, (x, y, half) in enumerate(found):
        assert half <= x <= path._WIDE - half
        assert path._LINE / 2 < y < path._HIGH - path._LINE / 2
        for u, v, other in found[:i]:
            assert abs(x - u) >= half + other or abs(y - v) >= path._LINE - 1e-6


def test_a_name_far_from_its_point_has_a_thread() -> None:
    frame = a_map(4, layers=1)
    frame[["x", "y"]] = [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [9.0, 9.0]]
    chart = drawn(frame)
    assert chart.frame["thread"].tolist() == [False, False, True, False]
    assert chart.frame["name_y"].is_unique
    scales = chart.spec["encoding"]["y"]["scale"]["domain"]
    off = (chart.frame["name_y"] - chart.frame["y"]).abs() / (scales[1] - scales[0]) * path._HIGH
    assert off.max() <= 46, "no name stands far from its point"


def test_playing_changes_the_rows_and_not_the_figure() -> None:
    frame = a_map()
    early, late = drawn(frame, upto=2), drawn(frame)
    assert early.spec == late.spec
    assert early.height == late.height
    assert early.frame["layer"].max() == 2
    assert early.frame["end"].sum() == 3


def test_it_is_valid_vega_lite_in_the_depth_colours() -> None:
    chart = drawn(a_map())
    values = json.loads(chart.frame.to_json(orient="records"))
    altair.Chart.from_dict(copy.deepcopy({**chart.spec, "data": {"values": values}}))
    lines = chart.spec["layer"][0]["encoding"]["color"]
    assert lines["scale"] == scale_of(DEPTH, domain=[0, 4])
    assert chart.alt == "A map. It says this."


@pytest.mark.parametrize("tokens", [1, 2])
def test_a_single_state_can_be_drawn(tokens: int) -> None:
    frame = a_map(tokens, layers=1)
    frame[["x", "y"]] = 0.0
    chart = drawn(frame)
    assert len(boxes(chart)) == tokens
    assert "NaN" not in json.dumps(chart.spec)
