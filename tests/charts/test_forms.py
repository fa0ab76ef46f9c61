"""Every chart form draws what it is given: a valid spec, built once, that names real columns."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator
from typing import Any

import altair
import jsonschema
import pandas as pd
import pytest

from strata import charts
from strata.charts import Chart
from strata.charts.common import DEPTH, LABEL, scale_of
from tests.charts.forms import FORMS, bars, by_layer, outliers, strip


def encodings(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every channel of a spec and of its layers, with what it encodes."""
    for view in (spec, *spec.get("layer", ())):
        for channel, what in view.get("encoding", {}).items():
            for one in what if isinstance(what, list) else [what]:
                if one is not None:
                    yield channel, one


def columns(chart: Chart) -> set[str]:
    """The columns of the chart's table and of the small tables that layers have of their own."""
    own = [layer["data"]["values"] for layer in chart.spec.get("layer", ()) if "data" in layer]
    return set(chart.frame.columns).union(*(row for rows in own for row in rows))


def without_nulls(spec: dict[str, Any]) -> dict[str, Any]:
    """A layer's null undoes a channel that all layers share; the schema does not know of it."""
    layers = [
        {**each, "encoding": {k: v for k, v in each["encoding"].items() if v is not None}}
        for each in spec.get("layer", ())
    ]
    return {**spec, "layer": layers} if layers else spec


def made_by_transforms(spec: dict[str, Any]) -> set[str]:
    made: set[str] = set()
    for view in (spec, *spec.get("layer", ())):
        for transform in view.get("transform", ()):
            named = transform.get("as", [])
            made |= {named} if isinstance(named, str) else set(named)
            made |= {each["as"] for each in transform.get("window", ())}
    return made


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def drawn() -> dict[str, Chart]:
    return {name: draw() for name, draw in FORMS.items()}


@pytest.fixture
def chart(form: str, drawn: dict[str, Chart]) -> Chart:
    return drawn[form]


def test_every_form_is_tested() -> None:
    functions = {name for name in charts.__all__ if inspect.isfunction(getattr(charts, name))}
    drawing = {
        n
        for n in functions
        if "Chart" in str(inspect.signature(getattr(charts, n)).return_annotation)
    }
    assert drawing == {name.split(",")[0] for name in FORMS}


def test_the_spec_is_valid_vega_lite(chart: Chart) -> None:
    values = json.loads(chart.frame.to_json(orient="records"))
    whole = {**without_nulls(chart.spec), "data": {"values": values}, "height": chart.height}
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
    title = title if isinstance(title, str) else title["text"]
    assert len(title) > 4
    assert chart.alt == f"{title}. {chart.reading}"
    assert chart.reading.endswith(".")
    assert chart.height >= 80
    # As one thing: no mark is read out.
    assert chart.spec["config"]["mark"] == {"aria": False}
    assert '"aria": true' not in json.dumps(chart.spec)


def test_axes_of_quantities_have_titles(form: str, chart: Chart) -> None:
    if form in ("paths", "colour_bar"):
        return  # a map's axes mean nothing, so there are none; a legend has one
    for axis in ("x", "y"):
        found = [one for channel, one in encodings(chart.spec) if channel == axis]
        assert found, axis
        quantities = [one for one in found if one.get("type") == "quantitative"]
        if quantities:
            assert any(one.get("title") for one in quantities), axis


def test_columns_that_are_drawn_exist(chart: Chart) -> None:
    known = columns(chart) | made_by_transforms(chart.spec)
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
    assert tips or chart.height < 100  # only the colour bar says nothing
    assert all(one["title"] and one["title"].lower() != "image" for one in tips)


def test_tokens_that_are_equal_stay_apart(chart: Chart) -> None:
    if "label" in chart.frame and "position" in chart.frame:
        labels = chart.frame[["label", "position"]].drop_duplicates()
        assert labels["label"].is_unique


def test_drawing_leaves_what_is_shared_as_it_was() -> None:
    first, before = {}, {}
    for name, draw in FORMS.items():
        first[name] = draw()
        before[name] = copy.deepcopy(first[name].spec)
    again = {name: draw() for name, draw in FORMS.items()}  # all others were drawn in between
    for name in FORMS:
        assert first[name].spec == before[name] == again[name].spec, name
        assert again[name].spec["config"] is first[name].spec["config"], name


def test_one_colour_language(chart: Chart) -> None:
    """Layers have the depth colours wherever they are drawn in colour."""
    for channel, one in encodings(chart.spec):
        if channel == "color" and one.get("field") == "layer":
            assert one["scale"]["scheme"] == scale_of(DEPTH)["scheme"]
    assert chart.spec["config"]["axis"]["labelColor"] is LABEL


def test_what_is_written_along_a_short_axis_fits_it() -> None:
    layers = pd.DataFrame({"layer": range(4), "value": 1.0})
    short, long = (
        charts.by_layer(layers, "By layer", each) for each in ("Norm", "Excess kurtosis")
    )
    assert long.height > short.height
    # Of fifty bars the first one's label would lie on the second's.
    assert bars().spec["encoding"]["y"]["axis"]["labelFlush"] is False
    assert outliers().spec["encoding"]["x"]["scale"]["padding"] > 10, "the last number is whole"


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
        "dim 17, layer 2, token 1 ␣cat",
        "dim 9, layer 1, token 2 ␣cat",
    ]
    colour = next(one for channel, one in encodings(chart.spec) if channel == "color")
    assert colour["scale"]["domain"] == [0, 3]


def test_a_bar_of_a_small_probability_is_not_labelled_zero() -> None:
    frame = bars().frame.assign(value=[0.9, 3e-5])
    chart = charts.bars(frame, "Next", "Reading.")
    text = chart.spec["layer"][1]["encoding"]["text"]["field"]
    assert chart.frame[text].tolist() == ["90.0%", "<0.1%"]
