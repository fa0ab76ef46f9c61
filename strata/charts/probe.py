"""How often a probe tells two conditions apart, layer by layer, above what shuffled labels give."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, LAYER_AXIS, MUTED, ROOM, Chart, Spec, tip

_COLOURS = ("#4f79dd", "#d0761b", "#8a8f98")  # apart for colour-blind eyes


_SHARE = "Share of prompts told right (0 to 1)"
_TIPS = [
    tip("method", "Method"),
    tip("accuracy", "Share told right", ".0%"),
    tip("right", "Prompts told right", "~g"),
    tip("n", "of", "d"),
    tip("shuffled_mean", "With shuffled labels", ".0%"),
    tip("shuffled_low", "From", ".0%"),
    tip("shuffled_high", "to", ".0%"),
]


def probes(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Each method as a line, in a band of what 9 of 10 shuffles of the labels give; a method that
    has one layer is a dashed line from end to end.

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
        "title": _SHARE,
        "scale": {"domain": [0, 1]},
        "axis": {"tickCount": 5},
    }
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
            "encoding": {**value, "tooltip": [_TIPS[0], tip("layer", "Layer", "d"), *_TIPS[1:]]},
        },
    ]
    if len(flat):
        marks.append(
            {
                "transform": [{"filter": "datum.everywhere"}],
                "mark": {"type": "line", "strokeWidth": 2, "strokeDash": [5, 4]},
                "encoding": {**value, "tooltip": _TIPS},
            }
        )
    spec = {**BASE, "title": title, "encoding": {"x": LAYER_AXIS}, "layer": marks}
    return Chart(rows, spec, reading, 330)


def at_one_layer(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Each method as a point beside a bar of what 9 of 10 shuffles of the labels give.

    Columns: as of `probes`, a row a method.
    """
    order = list(dict.fromkeys(frame["method"]))
    x: Spec = {"type": "quantitative", "title": _SHARE, "scale": {"domain": [0, 1]}}
    y = {"field": "method", "type": "nominal", "title": None, "sort": order}
    marks: list[Spec] = [
        {
            "mark": {"type": "bar", "size": 22, "color": MUTED, "opacity": 0.35},
            "encoding": {"x": {"field": "shuffled_low", **x}, "x2": {"field": "shuffled_high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {
                "x": {"field": "accuracy", **x},
                "color": {
                    "field": "method",
                    "type": "nominal",
                    "scale": {"domain": order, "range": list(_COLOURS[: len(order)])},
                    "legend": None,
                },
            },
        },
    ]
    titled = {"text": title, "subtitle": "Grey: what 9 of 10 shuffles of the labels give"}
    spec = {
        **BASE,
        "title": titled,
        "encoding": {"y": y, "tooltip": _TIPS},
        "layer": marks,
    }
    return Chart(frame, spec, reading, 190)
