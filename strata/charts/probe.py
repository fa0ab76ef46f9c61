"""How often a probe tells two conditions apart, layer by layer, above what shuffled labels give."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, LABEL, LAYER_AXIS, ROOM, Chart, Spec, tip

_COLOURS = ("#4f79dd", "#d0761b", "#8a8f98")  # apart for colour-blind eyes


def probes(
    frame: pd.DataFrame, title: str, reading: str, *, layer: int | None = None, height: int = 330
) -> Chart:
    """Each method as a line, in a band of what 9 of 10 shuffles of the labels give; a method that
    has one layer is a dashed line from end to end. `layer`: where something was foretold.

    Columns: layer, method, accuracy, shuffled_mean, shuffled_low, shuffled_high, right, n.
    """
    sizes = frame.groupby("method")["layer"].transform("size")
    order = list(dict.fromkeys(frame["method"]))
    flat = frame[sizes == 1]
    last = int(frame["layer"].max())
    ends = [flat.assign(layer=end, everywhere=True) for end in (0, last)]
    rows = pd.concat([frame[sizes > 1].assign(everywhere=False), *ends], ignore_index=True)
    colour = {
        "field": "method",
        "type": "nominal",
        "scale": {"domain": order, "range": list(_COLOURS[: len(order)])},
        "legend": {
            "title": None,
            "orient": "top",
            "columns": {"expr": f"{ROOM} < 410 ? 1 : {len(order)}"},
            "labelLimit": 220,
            "symbolOpacity": 1,
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
        },
    }
    y: Spec = {
        "type": "quantitative",
        "title": "Share of prompts told right (0 to 1)",
        "scale": {"domain": [0, 1]},
        "axis": {"tickCount": 5},
    }
    tips = [
        tip("method", "Method"),
        tip("accuracy", "Share told right", ".0%"),
        tip("right", "Prompts told right", "~g"),
        tip("n", "of", "d"),
        tip("shuffled_mean", "With shuffled labels", ".0%"),
        tip("shuffled_low", "From", ".0%"),
        tip("shuffled_high", "to", ".0%"),
    ]
    by_layer = [{"filter": "!datum.everywhere"}]
    value = {"y": {"field": "accuracy", **y}, "color": colour}
    marks: list[Spec] = [
        {
            "transform": by_layer,
            "mark": {"type": "area", "opacity": 0.18},
            "encoding": {
                "y": {"field": "shuffled_low", **y},
                "y2": {"field": "shuffled_high"},
                "color": colour,
            },
        },
        {
            "transform": by_layer,
            "mark": {"type": "line", "strokeWidth": 2.4, "point": {"size": 26, "opacity": 1}},
            "encoding": {**value, "tooltip": [tips[0], tip("layer", "Layer", "d"), *tips[1:]]},
        },
    ]
    if len(flat):
        marks.append(
            {
                "transform": [{"filter": "datum.everywhere"}],
                "mark": {"type": "line", "strokeWidth": 2, "strokeDash": [5, 4]},
                "encoding": {**value, "tooltip": tips},
            }
        )
    if layer is not None:
        at = {"x": {"datum": layer, "type": "quantitative"}}
        marks.append(
            {"mark": {"type": "rule", "strokeDash": [2, 3], "color": LABEL}, "encoding": at}
        )
    spec = {**BASE, "title": title, "encoding": {"x": LAYER_AXIS}, "layer": marks}
    return Chart(rows, spec, reading, height)
