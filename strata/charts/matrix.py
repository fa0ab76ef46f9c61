"""Matrices: a colour for each cell."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, MAGNITUDE, NO_GAPS, TOKEN_AXIS, Chart, Spec, tip

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
