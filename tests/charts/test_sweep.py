"""Forms of the scaling sweep: the clean line, colours that mean the same, tokens that changed."""

from __future__ import annotations

import copy
import json

import altair
import numpy as np
import pandas as pd
import pytest

from strata.charts import sweep
from strata.charts.common import SIGNED, Chart, scale_of

FACTORS = [0.0, 1.0, 2.0]


def table(factors: list[float] = FACTORS, worst: float = -9.0) -> pd.DataFrame:
    rows = [
        (block, factor, worst if block == 1 and factor != 1 else -0.5, -0.5, 3 * block, 0.25)
        for factor in factors
        for block in range(4)
    ]
    columns = ["block", "factor", "logprob", "clean_logprob", "rank", "kl"]
    return pd.DataFrame(rows, columns=columns)


def both() -> pd.DataFrame:
    columns = ["label", "order", "clean_prob", "prob", "clean_rank", "rank"]
    rows = [("␣a", 0, 0.8, 0.1, 0, 1), ("␣b", 1, 0.1, 0.7, 1, 0)]
    return pd.DataFrame(rows, columns=columns)


def beside() -> pd.DataFrame:
    columns = ["block", "edit", "name", "logprob", "low", "high", "clean_logprob"]
    kinds = {"scale": "× 0.8", "noise": "9 pushes", "skip": "left out"}
    rows = [
        (block, edit, name, -1.0 - block, -9.0, -0.4, -0.5)
        for block in range(4)
        for edit, name in kinds.items()
    ]
    return pd.DataFrame(rows, columns=columns)


CHARTS = {
    "by_block": lambda: sweep.by_block(table([0.8]), "A title", "It says this."),
    **{
        f"map, {quantity}": lambda quantity=quantity: sweep.factor_map(
            table(), quantity, "A title", "It says this."
        )
        for quantity in sweep.QUANTITIES
    },
    "beside_noise": lambda: sweep.beside_noise(beside(), "A title", "It says this."),
    "shifts": lambda: sweep.shifts(both(), "A title", "It says this."),
}


@pytest.mark.parametrize("form", CHARTS)
def test_the_spec_is_valid_vega_lite(form: str) -> None:
    chart: Chart = CHARTS[form]()
    before = copy.deepcopy(chart.spec)
    values = json.loads(chart.frame.to_json(orient="records"))
    whole = {**chart.spec, "data": {"values": values}, "height": chart.height}
    altair.Chart.from_dict(copy.deepcopy(whole))
    assert "NaN" not in json.dumps(whole)
    assert chart.spec == before == CHARTS[form]().spec
    assert chart.alt == "A title. It says this."


def test_three_edits_stand_beside_each_other_on_one_axis() -> None:
    chart = CHARTS["beside_noise"]()
    clean, group = chart.spec["layer"]
    bars, *points = group["layer"]
    assert [each["transform"][0]["filter"]["equal"] for each in points] == [
        "× 0.8",
        "9 pushes",
        "left out",
    ]
    sides = [each["mark"]["xOffset"]["expr"] for each in points]
    assert sides == [f"{side} * min(8, width / 16)" for side in (-1, 0, 1)]
    assert (
        len({each["encoding"]["shape"]["scale"]["range"][i] for i, each in enumerate(points)}) == 3
    )
    assert bars["encoding"]["y2"] == {"field": "high"}
    assert group["encoding"]["y"]["title"] == "Log-probability (nats)"
    assert chart.frame["change"].tolist()[:3] == [-0.5] * 3
    assert "clean" in clean["encoding"] or clean["layer"]


def test_the_curve_has_a_point_for_each_block_in_its_layers_colour() -> None:
    chart = CHARTS["by_block"]()
    assert chart.frame["layer"].tolist() == [1, 2, 3, 4]  # what the block hands on
    np.testing.assert_allclose(chart.frame["change"], [0, -8.5, 0, 0])


def test_the_map_is_grey_where_nothing_changes() -> None:
    colour = CHARTS["map, change"]().spec["encoding"]["color"]
    assert colour["scale"]["domain"] == [-8.5, 8.5]
    assert colour["scale"]["scheme"] == scale_of(SIGNED)["scheme"]
    assert colour["legend"]["values"] == [0, -1, -0.1, 0.1, 1]


def test_ranks_and_divergences_begin_at_none() -> None:
    for quantity, most in (("rank", 9), ("kl", 0.25)):
        scale = CHARTS[f"map, {quantity}"]().spec["encoding"]["color"]["scale"]
        assert scale["domain"] == [0, most]
    calm = sweep.factor_map(table().assign(rank=0), "rank", "A title", "Nothing changed.")
    assert calm.spec["encoding"]["color"]["scale"]["domain"] == [0, 1]


def test_the_map_grows_with_its_factors() -> None:
    heights = [
        sweep.factor_map(table(factors), "kl", "A title", "x.").height
        for factors in ([0.0, 1.0], FACTORS)
    ]
    assert heights[0] < heights[1]


def test_the_lens_of_an_edited_run_begins_below_the_edit_and_marks_other_tokens() -> None:
    n = 4
    rows = pd.DataFrame({"layer": np.repeat(range(n), 2), "position": [0, 1] * n})
    rows = rows.assign(
        token="␣t", predicted="␣p", token_id=range(2 * n), final_id=-5, norm=1.0, prob=0.5
    )
    rows = rows.assign(top="p 50%", other="")
    edited = rows.assign(token_id=rows["token_id"].mask(rows.index == 7, 99))
    grid = sweep.lens_after(rows, edited, 2, "A title", "It says this.")
    assert grid.layers == [3, 2]
    assert [[cell["same"] for cell in row] for row in grid.cells] == [[False, True], [False] * 2]
    assert grid.same == "another token than without the edit"
