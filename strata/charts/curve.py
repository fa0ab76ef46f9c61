"""Curves: one number by layer."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, LAYER_AXIS, MUTED, Chart, Spec, depth, tip

_SHORT = "format(datum.value, abs(datum.value) < 1 ? '~g' : '~s')"  # 24k, but 0.2 and not 200m
_BY_LAYER: Spec = {
    **BASE,
    "encoding": {"x": LAYER_AXIS},
    "layer": [
        {
            "mark": {"type": "line", "color": MUTED, "strokeWidth": 1.5},
            "encoding": {"y": {"field": "value", "type": "quantitative"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
            "encoding": {
                "y": {
                    "field": "value",
                    "type": "quantitative",
                    "title": None,
                    "axis": {"tickCount": 3, "labelExpr": _SHORT},
                    "scale": {"nice": 3},
                },
                "color": depth(),
                "tooltip": [tip("layer", "Layer", "d"), tip("value", "Value", ".5g")],
            },
        },
    ],
}


_BY_LAYER_ABOVE: Spec = {  # one of several that stand above each other and share the axis
    **_BY_LAYER,
    "encoding": {"x": {**LAYER_AXIS, "title": None}},
}


def by_layer(frame: pd.DataFrame, title: str, *, last: bool = True) -> Chart:
    """One number by layer, as a line with points in the depth colours. Columns: layer, value.

    Of several above each other only the `last` names the axis.
    """
    spec = _BY_LAYER if last else _BY_LAYER_ABOVE
    first, final = (
        f"{row.value:.4g} at layer {row.layer}" for row in frame.iloc[[0, -1]].itertuples()
    )
    return Chart(frame, {**spec, "title": title}, f"From {first} to {final}.", 165 if last else 135)
