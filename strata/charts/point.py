"""Points: every value along its layer, or two values for each token."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import (
    ACCENT,
    BASE,
    DEPTH,
    LAYER_AXIS,
    TOKEN_AXIS,
    Chart,
    Spec,
    depth,
    tip,
)

_STRIP: Spec = {
    **BASE,
    "mark": {"type": "point", "filled": True, "size": 18, "opacity": 0.55},
    "encoding": {
        "x": {**LAYER_AXIS, "field": "x"},
        "y": {"field": "value", "type": "quantitative", "title": "Activation value"},
        "color": depth(),
        "tooltip": [
            tip("layer", "Layer", "d"),
            tip("dim", "Dimension", "d"),
            tip("value", "Activation", ".4f"),
        ],
    },
}


def strip(frame: pd.DataFrame, title: str, reading: str, *, symlog: bool = False) -> Chart:
    """Every value as a point, jittered along its layer. Columns: x, layer, dim, value."""
    spec = {**_STRIP, "title": title}
    if symlog:
        encoding = _STRIP["encoding"]
        y = {
            **encoding["y"],
            "title": "Activation value (linear near 0, logarithmic beyond)",
            "scale": {"type": "symlog", "constant": 1},
            "axis": {"values": [s * 10**p for p in range(6) for s in (1, -1)] + [0]},
        }
        spec["encoding"] = {**encoding, "y": y}
    return Chart(frame, spec, reading, 640)


_SCATTER: Spec = {
    **BASE,
    "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.8, "color": DEPTH[1]},
}


def scatter(frame: pd.DataFrame, title: str, x: str, y: str, reading: str) -> Chart:
    """Two numbers of each token, as a point; `x` and `y` name them at their axes. Columns: label,
    x, y."""
    axes = {
        field: {
            "field": field,
            "type": "quantitative",
            "title": noun,
            "scale": {"zero": False},
            "axis": {"tickCount": 5},
        }
        for field, noun in (("x", x), ("y", y))
    }
    told = [tip("label", "Token"), tip("x", x, ".4g"), tip("y", y, ".4g")]
    spec = {**_SCATTER, "title": title, "encoding": {**axes, "tooltip": told}}
    return Chart(frame, spec, reading, 310)


_PAIRED: Spec = {
    **BASE,
    "title": "Norm of the last state, before and after the final norm",
    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.95},
    "transform": [
        {"fold": ["norm_before", "norm_after"], "as": ["kind", "value"]},
        {"calculate": "datum.kind == 'norm_before' ? 'before' : 'after'", "as": "which"},
    ],
    "encoding": {
        "x": {**TOKEN_AXIS, "axis": {**TOKEN_AXIS["axis"], "grid": True}},
        "y": {
            "field": "value",
            "type": "quantitative",
            "title": "Norm of the state (logarithmic)",
            "scale": {"type": "log", "nice": True},
            "axis": {"format": "~s", "values": [10.0**power for power in range(-2, 7)]},
        },
        "color": {
            "field": "which",
            "type": "nominal",
            "title": None,
            "scale": {"domain": ["before", "after"], "range": [DEPTH[0], ACCENT]},
            "legend": {"orient": "top"},
        },
        "shape": {"field": "which", "type": "nominal", "scale": {"domain": ["before", "after"]}},
        "tooltip": [
            tip("label", "Token"),
            tip("which", "State"),
            tip("value", "Norm", ".4g"),
            tip("cosine", "Cosine of the two", ".3f"),
        ],
    },
}


def before_and_after(frame: pd.DataFrame, reading: str) -> Chart:
    """Norms before and after the final norm. Columns: label, position, norm_before, norm_after,
    cosine."""
    return Chart(frame, _PAIRED, reading, 420)
