"""Matrices: a colour for each cell."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import (
    BASE,
    MAGNITUDE,
    NO_GAPS,
    SIGNED,
    TOKEN_AXIS,
    Chart,
    Spec,
    scale_of,
    tip,
)

_HEATMAP: Spec = {
    **BASE,
    "mark": "rect",
    "encoding": {
        "x": {**TOKEN_AXIS, "scale": NO_GAPS},
        "y": {
            "field": "layer",
            "type": "ordinal",
            "sort": "descending",
            "title": "Layer (0 = embedding)",
            "axis": {"labelOverlap": True, "ticks": False},
            "scale": NO_GAPS,
        },
        "tooltip": [
            tip("label", "Token"),
            tip("layer", "Layer", "d"),
            tip("value", "Value", ".5g"),
        ],
    },
}
_SHORT = "format(datum.value, abs(datum.value) < 1 ? '.1~g' : '~s')"  # 24k, but never 100m


def heatmap(
    frame: pd.DataFrame, title: str, reading: str, *, legend: str, log: bool = False
) -> Chart:
    """A size for each layer and token. Columns: label, position, layer, value.

    A logarithmic colour scale keeps both a sink of 24,000 and states of 50 legible.
    """
    scale: Spec = {"scheme": MAGNITUDE, **({"type": "log"} if log else {"zero": False})}
    colour = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "legend": {"title": legend, "labelExpr": _SHORT, "orient": "right"},
    }
    spec = {
        **_HEATMAP,
        "title": title,
        "encoding": {**_HEATMAP["encoding"], "color": colour},
    }
    return Chart(frame, spec, reading, 170 + 14 * int(frame["layer"].nunique()))


def _layers(field: str, title: str, **more: object) -> Spec:
    axis = {"labelOverlap": True, "ticks": False, "labelAngle": 0}
    return {
        "field": field,
        "type": "ordinal",
        "title": title,
        "axis": axis,
        "scale": NO_GAPS,
        **more,
    }


_PAIRS: Spec = {
    **BASE,
    "encoding": {
        "x": _layers("layer_a", "Layer"),
        "y": _layers("layer_b", "Layer", sort="descending"),
        "tooltip": [
            tip("layer_a", "Layer", "d"),
            tip("layer_b", "Other layer", "d"),
            tip("value", "Value", ".3f"),
        ],
    },
}


def layer_pairs(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    *,
    legend: str,
    domain: tuple[float, float],
    signed: bool = False,
) -> Chart:
    """A number for each two layers, in colours that go over `domain`; `signed`: neutral at 0, as
    far as the largest goes. Columns: layer_a, layer_b, value."""
    scale: Spec = {"scheme": MAGNITUDE, "domain": list(domain)}
    if signed:
        most = max(float(frame["value"].abs().max()), 0.01)
        scale = scale_of(SIGNED, domain=[-most, most])
    colour = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "legend": {"title": legend, "orient": "bottom", "gradientLength": 160, "tickCount": 4},
    }
    encoding = {**_PAIRS["encoding"], "color": colour}
    cell = {"band": 1 + frame["layer_a"].nunique() / 250}  # overlaps, which closes the seams
    mark = {"type": "rect", "width": cell, "height": cell}
    spec = {**_PAIRS, "title": title, "mark": mark, "encoding": encoding}
    return Chart(frame, spec, reading, 400)
