"""Forms of attention heads: patterns large and small, maps, points, and what is clicked."""

from __future__ import annotations

import json

import altair
import pandas as pd
import pytest

from strata.charts import Chart
from strata.charts.head import changed, head_map, named_apart, over_weight, pattern, sheet

READING = "It is so."
LABELS = ["0 The", "1 ␣cat", "2 ␣cat"]
TRIANGLE = pd.DataFrame({"query": [0, 1, 1, 2, 2, 2], "position": [0, 0, 1, 0, 1, 2]}).assign(
    weight=[1.0, 0.9, 0.1, 0.5, 0.3, 0.2]
)
HEADS = pd.DataFrame(
    {"block": [0, 0, 1, 1], "head": [0, 1, 0, 1], "weight": [0.9, 0.2, 0.5, 0.1]}
).assign(share=[0.1, 0.2, 0.9, 1.0], logit=[2.0, -0.5, 0.1, 0.0], norm=3.0, part=0.5)


def tiles() -> pd.DataFrame:
    one = TRIANGLE.rename(columns={"position": "key"})
    return pd.concat([one.assign(head=head) for head in (3, 4, 5)], ignore_index=True)


def points(y: str = "logit") -> Chart:
    frame = HEADS.assign(name=["0.0", "", "", ""], chosen=[True, False, False, False], label="a")
    return over_weight(frame, "Points", READING, y, x_title="Attention weight", y_title="Logit")


def edited() -> Chart:
    frame = pd.DataFrame({"label": ["This", "Noise", "Noise"], "order": [0, 1, 1]}).assign(
        kind=["head", "noise", "noise"], value=[-2.0, -0.1, -0.3], name="x"
    )
    return changed(frame, "Changed", READING, "Log-probability (nats)", clean=-0.2)


FORMS = [
    pattern(TRIANGLE, LABELS, "Pattern", READING, chosen=2),
    sheet(tiles(), "Small", READING, chosen=4, columns=2),
    *(head_map(HEADS, q, READING, q, "Q", chosen=(1, 0)) for q in ("share", "logit", "norm")),
    points(),
    points("part"),
    edited(),
]


@pytest.mark.parametrize("chart", FORMS, ids=lambda chart: chart.spec["title"])
def test_a_form_is_valid_vega_lite(chart: Chart) -> None:
    values = json.loads(chart.frame.to_json(orient="records"))
    altair.Chart.from_dict({**chart.spec, "data": {"values": values}, "height": chart.height})
    assert chart.alt == f"{chart.spec['title']}. {READING}"
    for layer in chart.spec["layer"]:
        if "data" in layer:
            continue
        made = {each["as"] for each in layer.get("transform", []) if "as" in each}
        drawn = {
            channel["field"]
            for channel in layer["encoding"].values()
            if isinstance(channel, dict) and "field" in channel
        }
        assert drawn <= {*chart.frame.columns, *made}


def test_a_pattern_has_all_tokens_and_the_row_of_the_reader() -> None:
    cells, *outlines = FORMS[0].spec["layer"]
    for axis in ("x", "y"):
        assert cells["encoding"][axis]["scale"]["domain"] == [0, 1, 2]
    assert [each["data"]["values"] for each in outlines] == [[{"query": 2}]] * 2
    assert cells["params"][0]["select"]["fields"] == ["query"]


def test_tiles_do_not_lie_over_each_other() -> None:
    chart = FORMS[1]
    ends = (
        chart.frame.groupby("head")[["x", "y"]]
        .min()
        .join(chart.frame.groupby("head")[["x2", "y2"]].max())
    )
    assert ends.loc[3, "x2"] < ends.loc[4, "x"]
    assert ends.loc[3, "y2"] < ends.loc[5, "y"], "in the next row"
    assert chart.spec["layer"][0]["params"][0]["select"]["fields"] == ["head"]
    [chosen] = chart.spec["layer"][1]["data"]["values"]
    assert chosen["head"] == 4
    names = chart.spec["layer"][-1]["data"]["values"]
    assert [each["name"] for each in names] == ["Head 3", "Head 4", "Head 5"]


def test_a_map_is_grey_where_nothing_is_added() -> None:
    share, logit, norm = (chart.spec["layer"][0]["encoding"]["color"] for chart in FORMS[2:5])
    assert share["scale"]["domain"] == [0, 1]
    assert logit["scale"]["domain"] == [-2.0, 2.0]
    assert norm["scale"]["domain"] == [0, 3.0]
    nothing = head_map(HEADS.assign(logit=0.0), "A", READING, "logit", "Q", chosen=(0, 0))
    assert nothing.spec["layer"][0]["encoding"]["color"]["scale"]["domain"] == [-1.0, 1.0]


def test_points_have_a_line_where_nothing_is_added_or_as_much() -> None:
    ends = [chart.spec["layer"][0]["data"]["values"] for chart in FORMS[5:7]]
    assert [each["logit"] for each in ends[0]] == [0, 0]
    assert [each["part"] for each in ends[1]] == [each["weight"] for each in ends[1]] == [0, 1]


def test_names_that_would_lie_over_others_are_left_out() -> None:
    frame = pd.DataFrame({"block": [5, 5, 7], "head": [0, 1, 2]}).assign(
        weight=[0.5, 0.52, 0.1], logit=[2.0, 2.01, -1.0]
    )
    named = named_apart(frame, frame["block"] > 0, 3.0)["name"].tolist()
    assert named == ["", "5.1", "7.2"]
    assert named_apart(frame, frame["block"] > 6, 3.0)["name"].tolist() == ["", "", "7.2"]


def test_edited_runs_stand_beside_the_clean_one() -> None:
    rule, middle, *_ = edited().spec["layer"]
    assert rule["data"]["values"][0]["value"] == -0.2
    assert middle["encoding"]["x"]["aggregate"] == "median"
    low, high = middle["encoding"]["x"]["scale"]["domain"]
    assert low < -2.0 < -0.1 < high


def test_a_thin_row_is_pointed_at_since_an_outline_would_cover_it() -> None:
    rows = pd.DataFrame({"query": [0, 59], "position": [0, 59], "weight": 1.0})
    long = pattern(rows, [f"{i}" for i in range(60)], "Long", READING, chosen=59)
    short = pattern(TRIANGLE, LABELS, "Pattern", READING, chosen=2)
    for chart, kinds in ((long, ["rect", "point"]), (short, ["rect", "rect", "rect"])):
        assert [layer["mark"]["type"] for layer in chart.spec["layer"]] == kinds
    assert long.spec["layer"][1]["data"]["values"] == [{"query": 59, "position": 59}]
