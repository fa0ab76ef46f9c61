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
                    "axis": {"tickCount": 4, "labelExpr": _SHORT},
                    "scale": {"nice": 4},
                },
                "color": depth(),
                "tooltip": [tip("layer", "Layer", "d"), tip("value", "Value", ".5g")],
            },
        },
    ],
}


def by_layer(frame: pd.DataFrame, title: str, noun: str) -> Chart:
    """One number by layer, as a line with points in the depth colours; `noun` names it at its axis.
    Columns: layer, value."""
    line, points = _BY_LAYER["layer"]
    encoding = points["encoding"]
    named = {**points, "encoding": {**encoding, "y": {**encoding["y"], "title": noun}}}
    first, final = (
        f"{row.value:.4g} at layer {row.layer}" for row in frame.iloc[[0, -1]].itertuples()
    )
    spec = {**_BY_LAYER, "title": title, "layer": [line, named]}
    # A name along the axis that is longer than the axis takes the title's place when Vega lays the
    # figure out anew.
    return Chart(frame, spec, f"From {first} to {final}.", 185 if len(noun) <= 12 else 205)
