"""Every chart form draws what it is given: a valid spec, built once, that names real columns."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import altair
import jsonschema
import numpy as np
import pandas as pd
import pytest

from strata import charts
from strata.charts import Chart
from strata.charts.common import DEPTH, LABEL, scale_of

READING = "It is so."
TOKENS = ["The", "·cat", "·cat"]
LABELS = [f"{position} {token}" for position, token in enumerate(TOKENS)]


def bars() -> Chart:
    frame = pd.DataFrame(
        {
            "label": ["·a", "·b"],
            "order": [0, 1],
            "value": [0.9, 0.1],
            "logprob": np.log([0.9, 0.1]),
            "chosen": [False, True],
        }
    )
    return charts.bars(frame, "What may follow", READING)


def strip(*, symlog: bool = False) -> Chart:
    frame = pd.DataFrame(
        {"x": [0.1, 0.9, 2.0], "layer": [0, 1, 2], "dim": [5, 5, 6], "value": [-1.0, 0.5, 300.0]}
    )
    return charts.strip(frame, "Activations", READING, symlog=symlog)


def by_layer(*, last: bool = True) -> Chart:
    frame = pd.DataFrame({"layer": [0, 1, 2], "value": [1.0, 2.5, 24_000.0]})
    return charts.by_layer(frame, "Norm by layer", last=last)


def heatmap(*, log: bool = False) -> Chart:
    rows = [(label, p, layer) for layer in range(3) for p, label in enumerate(LABELS)]
    frame = pd.DataFrame(rows, columns=["label", "position", "layer"])
    values = frame["layer"] * 100.0 + 1
    return charts.heatmap(frame.assign(value=values), "Norms", READING, legend="Norm", log=log)


def before_and_after() -> Chart:
    frame = pd.DataFrame(
        {
            "label": LABELS,
            "position": range(3),
            "norm_before": [600.0, 500.0, 400.0],
            "norm_after": [40.0, 50.0, 60.0],
            "cosine": [0.4, 0.5, 0.6],
        }
    )
    return charts.before_and_after(frame, READING)


def outliers() -> Chart:
    frame = pd.DataFrame(
        {
            "dim": [17, 9],
            "layer": [2, 1],
            "position": [1, 2],
            "value": [500.0, -20.0],
            "share": [0.7, 0.1],
            "label": LABELS[1:],
        }
    )
    return charts.outliers(frame, 3, READING)


FORMS = {
    "bars": bars,
    "strip": strip,
    "strip, symlog": lambda: strip(symlog=True),
    "by_layer": by_layer,
    "by_layer, not last": lambda: by_layer(last=False),
    "heatmap": heatmap,
    "heatmap, log": lambda: heatmap(log=True),
    "before_and_after": before_and_after,
    "outliers": outliers,
}


def encodings(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every channel of a spec and of its layers, with what it encodes."""
    for view in (spec, *spec.get("layer", ())):
        for channel, what in view.get("encoding", {}).items():
            for one in what if isinstance(what, list) else [what]:
                yield channel, one


def made_by_transforms(spec: dict[str, Any]) -> set[str]:
    made: set[str] = set()
    for transform in spec.get("transform", ()):
        named = transform["as"]
        made |= {named} if isinstance(named, str) else set(named)
    return made


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def chart(form: str) -> Chart:
    return FORMS[form]()


def test_every_form_is_tested() -> None:
    functions = {name for name in charts.__all__ if name != "Chart"}
    assert functions == {name.split(",")[0] for name in FORMS}


def test_the_spec_is_valid_vega_lite(chart: Chart) -> None:
    values = json.loads(chart.frame.to_json(orient="records"))
    whole = {**chart.spec, "data": {"values": values}, "height": chart.height}
    altair.Chart.from_dict(whole)  # raises SchemaValidationError
    assert "Infinity" not in json.dumps(whole)
    assert "NaN" not in json.dumps(whole)


def test_the_guard_sees_an_invalid_spec() -> None:
    broken = copy.deepcopy(strip().spec) | {"data": {"values": []}}
    broken["encoding"]["color"]["scale"] = {"scheme": {"name": list(DEPTH)}}
    with pytest.raises(jsonschema.ValidationError):
        altair.Chart.from_dict(broken)


def test_data_are_not_in_the_spec(chart: Chart) -> None:
    assert not {"data", "datasets"} & set(chart.spec)


def test_it_says_what_it_shows(chart: Chart) -> None:
    title = chart.spec["title"]
    assert len(title) > 4
    assert chart.alt == f"{title}. {chart.reading}"
    assert chart.reading.endswith(".")
    assert chart.height >= 100


def test_axes_of_quantities_have_titles(form: str, chart: Chart) -> None:
    if form == "by_layer, not last":
        return  # shares the axis of the one below it
    for axis in ("x", "y"):
        found = [one for channel, one in encodings(chart.spec) if channel == axis]
        assert found, axis
        quantities = [one for one in found if one.get("type") == "quantitative"]
        # A curve's own title names its vertical axis.
        if quantities and not (axis == "y" and form == "by_layer"):
            assert any(one.get("title") for one in quantities), axis


def test_columns_that_are_drawn_exist(chart: Chart) -> None:
    known = set(chart.frame.columns) | made_by_transforms(chart.spec)
    drawn = {one["field"] for _, one in encodings(chart.spec) if "field" in one}
    sorted_by = {
        one["sort"]["field"]
        for _, one in encodings(chart.spec)
        if isinstance(one.get("sort"), dict)
    }
    folded = {name for each in chart.spec.get("transform", ()) for name in each.get("fold", ())}
    assert drawn
    assert drawn | sorted_by | folded <= known


def test_a_tooltip_reads_no_markup(chart: Chart) -> None:
    """A tooltip's field called `image` would be drawn as a picture of what a token says."""
    tips = [one for channel, one in encodings(chart.spec) if channel == "tooltip"]
    assert tips
    assert all(one["title"] and one["title"].lower() != "image" for one in tips)


def test_tokens_that_are_equal_stay_apart(chart: Chart) -> None:
    if "label" in chart.frame and "position" in chart.frame:
        labels = chart.frame[["label", "position"]].drop_duplicates()
        assert labels["label"].is_unique


def test_drawing_leaves_what_is_shared_as_it_was(form: str) -> None:
    first = FORMS[form]()
    before = copy.deepcopy(first.spec)
    others = [FORMS[name]() for name in FORMS]
    again = FORMS[form]()
    assert len(others) == len(FORMS)
    assert first.spec == before == again.spec
    for part in ("layer", "config"):  # built once: the very same objects
        assert again.spec.get(part) is first.spec.get(part)
    marks = [spec.get("mark") for spec in (first.spec, again.spec)]
    assert marks[0] is marks[1]


def test_one_colour_language(chart: Chart) -> None:
    """Layers have the depth colours wherever they are drawn in colour."""
    for channel, one in encodings(chart.spec):
        if channel == "color" and one["field"] == "layer":
            assert one["scale"]["scheme"] == scale_of(DEPTH)["scheme"]
    assert chart.spec["config"]["axis"]["labelColor"] is LABEL


def test_bars_mark_the_token_that_followed() -> None:
    colour = next(one for channel, one in encodings(bars().spec) if channel == "color")
    domain, colours = colour["scale"]["domain"], colour["scale"]["range"]
    assert domain == ["this", "other"]
    assert colours[0] != colours[1]


def test_a_curve_reads_its_ends() -> None:
    assert by_layer().reading == "From 1 at layer 0 to 2.4e+04 at layer 2."


def test_outliers_name_their_place_and_all_layers_have_colours() -> None:
    chart = outliers()
    assert chart.frame["where"].tolist() == [
        "17 at layer 2, token 1 ·cat",
        "9 at layer 1, token 2 ·cat",
    ]
    colour = next(one for channel, one in encodings(chart.spec) if channel == "color")
    assert colour["scale"]["domain"] == [0, 3]
