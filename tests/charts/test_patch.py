"""Forms of the patch map: cells that can change nothing, ends of the scale, what is clicked."""

from __future__ import annotations

import json
from typing import Any

import altair
import pandas as pd
import pytest

from strata.charts import Chart
from strata.charts.common import SIGNED
from strata.charts.patch import against_exact, effects, patch_map

READING = "It is so."


def cells(**changed: Any) -> pd.DataFrame:
    """Two layers of three tokens, of which the first can change nothing."""
    rows = [(f"{p} ␣a", p, layer, p > 0) for layer in (0, 1) for p in range(3)]
    frame = pd.DataFrame(rows, columns=["label", "position", "layer", "matters"])
    frame["share"] = [None, 1.0, 0.0, None, 0.25, 0.5]
    frame["value"] = 4 * frame["share"] - 1
    frame["kl"] = 1 - frame["share"]
    return frame.assign(mark=["", "1", "", "", "", "2"], **changed)


def drawn(quantity: str = "share", **told: Any) -> Chart:
    return patch_map(cells(), "Share restored", READING, quantity, "Share", **told)


def colour(chart: Chart) -> dict[str, Any]:
    return chart.spec["layer"][0]["encoding"]["color"]


FORMS = [
    drawn(),
    drawn("value", ends=(3.0, -1.0)),
    drawn("kl", picks=False),
    against_exact(
        pd.DataFrame(
            {"label": ["a", "b"], "layer": [0, 1], "exact": [0.0, 2.0], "estimate": [0.5, -1.0]}
        ).assign(name=["layer 0", "layer 1"], failed=[None, 0]),
        "Estimate",
        READING,
    ),
    effects(
        pd.DataFrame({"label": ["a", "b"], "order": [0, 1], "effect": [-1.0, 2.0]}).assign(
            kind=["alone", "together"]
        ),
        "Two cells",
        READING,
    ),
]


@pytest.mark.parametrize("chart", FORMS, ids=lambda chart: chart.spec["title"])
def test_a_form_is_valid_vega_lite(chart: Chart) -> None:
    values = json.loads(chart.frame.to_json(orient="records"))
    altair.Chart.from_dict({**chart.spec, "data": {"values": values}, "height": chart.height})
    assert chart.alt == f"{chart.spec['title']}. {READING}"
    drawn_columns = {
        channel["field"]
        for layer in chart.spec["layer"]
        if "data" not in layer
        for channel in layer["encoding"].values()
        if isinstance(channel, dict) and "field" in channel
    }
    assert drawn_columns <= set(chart.frame.columns)


def test_nothing_is_grey_and_both_ends_are_marked() -> None:
    scale = colour(drawn())
    assert scale["scale"]["scheme"] == {"expr": f"{list(SIGNED)}"}
    assert scale["scale"]["domain"] == [-1, 1]
    assert scale["legend"]["values"] == [-1, 0, 1]
    nearly = colour(patch_map(cells(share=[None, 1.05, 0] * 2), "A", READING, "share", "Share"))
    assert nearly["scale"]["domain"] == [-1, 1]
    far = colour(patch_map(cells(share=[None, 9.0, -0.5] * 2), "A", READING, "share", "Share"))
    assert far["scale"]["domain"] == [-2, 2]
    assert far["scale"]["clamp"], "beyond it they have the end colour, which the legend says"
    assert far["legend"]["title"] == ["Share", "beyond ±2: end colours"]
    assert far["legend"]["values"] == [-2, 0, 1, 2]


def test_several_maps_can_have_the_same_colours() -> None:
    alike = pd.Series([0.0, 1.5])
    assert colour(drawn(alike=alike))["scale"]["domain"] == [-1.5, 1.5]


def test_logits_reach_to_both_runs_and_are_grey_at_nothing() -> None:
    assert colour(drawn("value", ends=(6.0, -2.0)))["scale"]["domain"] == [-6, 6]
    one_word = colour(
        patch_map(cells(value=[None, 9.0, 8.0] * 2), "A", READING, "value", "Logits", ends=(7, 11))
    )
    assert one_word["scale"]["domain"] == [7, 11]
    assert one_word["scale"]["scheme"] == "viridis"


def test_a_cell_that_can_change_nothing_has_a_dot_and_no_colour() -> None:
    cell, still, *_ = drawn().spec["layer"]
    assert "datum.matters" in cell["transform"][0]["filter"]
    assert still["transform"] == [{"filter": "!datum.matters"}]
    assert "color" not in still["encoding"]


def test_a_click_tells_row_and_position() -> None:
    [chosen] = drawn().spec["layer"][0]["params"]
    assert chosen["select"]["fields"] == ["layer", "position"]
    assert "params" not in drawn(picks=False).spec["layer"][0]
    heads = patch_map(
        cells().rename(columns={"layer": "head"}), "Heads", READING, "share", "Share", rows="head"
    )
    assert heads.spec["layer"][0]["encoding"]["y"]["field"] == "head"


def test_exact_and_estimate_have_one_scale_and_a_line_between() -> None:
    line, point, *_ = FORMS[3].spec["layer"]
    x, y = (point["encoding"][name]["scale"]["domain"] for name in ("x", "y"))
    assert x == y
    assert x[0] < -1 < 2 < x[1]
    [ends] = line["data"]["values"]
    assert [ends["from"], ends["to"]] == x


def test_of_cells_that_fail_alike_the_worst_is_named() -> None:
    frame = pd.DataFrame({"exact": [4.0, 4.1, 0.0], "estimate": [1.0, 1.1, 1.0]})
    frame = frame.assign(label="a", layer=0, name=["first", "second", "third"], failed=[0, 1, 2])
    made = against_exact(frame, "A", READING)
    assert made.frame["name"].tolist() == ["first", "", "third"]
    # Each name stands towards the middle, so that none lies over the legend.
    sides = {
        each["mark"]["align"]: each["transform"][0]["filter"] for each in made.spec["layer"][2:]
    }
    assert sides["left"].endswith("datum.exact <= 2.05")
    assert sides["right"].endswith("datum.exact > 2.05")
