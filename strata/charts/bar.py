"""Bars: next tokens by probability, outlier dimensions by size."""

from __future__ import annotations

from functools import cache

import pandas as pd

from strata.charts.common import ACCENT, BASE, DEPTH, LABEL, RANK, Chart, Spec, depth, scale_of, tip
from strata.display.tokens import display_percent

_BARS: Spec = {
    **BASE,
    "transform": [{"calculate": "datum.chosen ? 'this' : 'other'", "as": "which"}],
    "encoding": {
        "y": {
            "field": "label",
            "type": "nominal",
            "sort": {"field": "order", "op": "min"},
            "title": None,
            "axis": {
                "labelLimit": 160,
                "labelFontSize": 13,
                "labelOverlap": False,
                "labelFlush": False,  # of many bars the first one's would lie on the second's
                "ticks": False,
                "domain": False,
            },
        },
        "tooltip": [
            tip("label", "Next token"),
            tip("order", RANK, "d"),
            tip("value", "Probability", ".4~g"),
            tip("logprob", "Log-probability (nats)", ".3f"),
        ],
    },
    "layer": [
        {
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": {
                "x": {
                    "field": "value",
                    "type": "quantitative",
                    "title": "Probability",
                    "scale": {"domain": [0, 1.12]},  # room for the number beside a bar of 100 %
                    "axis": {"format": "~%", "values": [0, 0.2, 0.4, 0.6, 0.8, 1]},
                },
                "color": {
                    "field": "which",
                    "type": "nominal",
                    "scale": {"domain": ["this", "other"], "range": [ACCENT, DEPTH[1]]},
                    "legend": None,
                },
            },
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 12, "color": LABEL},
            "encoding": {
                "x": {"field": "value", "type": "quantitative"},
                "text": {"field": "number", "type": "nominal"},
            },
        },
    ],
}


# A click anywhere in a bar's row is one on the bar, which may be a hair's breadth.
_PICKED: Spec = {
    "mark": {"type": "bar", "opacity": 0, "cursor": "pointer"},
    "encoding": {"x": {"datum": 0}, "x2": {"datum": 1.12}},
    "params": [{"name": "picked", "select": {"type": "point", "fields": ["token_id"]}}],
}


def bars(frame: pd.DataFrame, title: str, reading: str, *, picks: bool = False) -> Chart:
    """Next tokens as horizontal bars. Columns: label, order, value, logprob, chosen (bool).

    `picks`: a click in a bar's row selects it, by its column token_id.
    """
    height = 90 + max(12, 32 - len(frame) // 3) * len(frame)
    frame = frame.assign(number=frame["value"].map(display_percent))
    spec = {**_BARS, "title": title}
    if picks:
        spec["layer"] = [*_BARS["layer"], _PICKED]
    return Chart(frame, spec, reading, height)


_OUTLIERS: Spec = {
    **BASE,
    "title": "Dimensions with the largest activations",
    "mark": {"type": "bar", "cornerRadiusEnd": 2},
    "encoding": {
        "x": {
            "field": "value",
            "type": "quantitative",
            "title": "Largest activation",
            "axis": {"tickCount": 7},
            "scale": {"nice": False, "padding": 16},  # else the last number is cut
        },
        "y": {
            "field": "where",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"ticks": False, "domain": False, "labelFontSize": 12, "labelLimit": 260},
        },
        "color": depth(),
        "tooltip": [
            tip("dim", "Dimension", "d"),
            tip("value", "Largest activation", ".4g"),
            tip("layer", "Layer", "d"),
            tip("label", "Token"),
            tip("share", "Share of the state's squared norm", ".1%"),
        ],
    },
}


@cache
def _outliers(n_layers: int) -> Spec:
    """With colours for layers 0 to L, though only some of them have bars."""
    colour = depth(scale=scale_of(DEPTH, domain=[0, n_layers]))
    return {**_OUTLIERS, "encoding": {**_OUTLIERS["encoding"], "color": colour}}


def outliers(frame: pd.DataFrame, n_layers: int, reading: str) -> Chart:
    """Outlier dimensions as bars. Columns: dim, layer, position, value, share, label."""
    where = [f"dim {row.dim}, layer {row.layer}, token {row.label}" for row in frame.itertuples()]
    spec = _outliers(n_layers)
    return Chart(frame.assign(where=where), spec, reading, 110 + 26 * len(frame))
