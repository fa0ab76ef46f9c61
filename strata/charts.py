"""A handful of chart forms: a table in, a chart out. Each form's Vega-Lite spec is built once.

Axes of tokens carry the position in front of the token ("3 ·is"): equal labels would merge and
hide data. Colours mean the same on every page: `DEPTH` is the layer (violet at the embedding,
amber at the last block; both ends keep a contrast of 3 to 1 on light and on dark ground),
`MAGNITUDE` is a size, `SIGNED` has its neutral point at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

Spec = dict[str, Any]

DEPTH = ("#7557e0", "#4f79dd", "#2b93b0", "#5f9472", "#9a9138", "#c4850c")
MAGNITUDE = "viridis"
SIGNED = ("#3b6fd4", "#9a9a9a", "#d0761b")
ACCENT = "#d0761b"  # what was chosen
MUTED = "#8a8f98"  # what is there for comparison
LABEL = "#7b818c"  # text beside a mark: legible on light and on dark ground


@dataclass(frozen=True)
class Chart:
    """What a page draws: rows, a Vega-Lite spec without data, and what the figure says in words."""

    frame: pd.DataFrame
    spec: Spec
    reading: str  # one sentence computed from the rows
    height: int

    @property
    def alt(self) -> str:
        """Words for those who cannot see the figure."""
        return f"{self.spec['title']}. {self.reading}"


def _scale_of(colours: tuple[str, ...], **more: Any) -> Spec:
    return {"scheme": {"name": list(colours)}, **more}


def _depth(**more: Any) -> Spec:
    return {
        "field": "layer",
        "type": "quantitative",
        "scale": _scale_of(DEPTH),
        "legend": None,
        **more,
    }


def _tip(field: str, title: str, number: str = "") -> Spec:
    kind = {"type": "quantitative", "format": number} if number else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


_LAYER_AXIS: Spec = {
    "field": "layer",
    "type": "quantitative",
    "title": "Layer (0 = embedding)",
    "axis": {"tickMinStep": 1, "grid": False, "format": "d"},
    "scale": {"nice": False, "padding": 8},
}
_BASE: Spec = {"width": "container", "background": "transparent"}

_BARS: Spec = {
    **_BASE,
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
                "ticks": False,
                "domain": False,
            },
        },
        "tooltip": [
            _tip("label", "Next token"),
            _tip("order", "Rank", "d"),
            _tip("value", "Probability", ".4f"),
            _tip("logprob", "Log-probability (nats)", ".3f"),
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
                "text": {"field": "value", "type": "quantitative", "format": ".1%"},
            },
        },
    ],
}


def bars(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Next tokens as horizontal bars. Columns: label, order, value, logprob, chosen (bool)."""
    height = 90 + max(12, 32 - len(frame) // 3) * len(frame)
    return Chart(frame, {**_BARS, "title": title}, reading, height)


_STRIP: Spec = {
    **_BASE,
    "mark": {"type": "point", "filled": True, "size": 18, "opacity": 0.55},
    "encoding": {
        "x": {**_LAYER_AXIS, "field": "x"},
        "y": {"field": "value", "type": "quantitative", "title": "Activation value"},
        "color": _depth(),
        "tooltip": [
            _tip("layer", "Layer", "d"),
            _tip("dim", "Dimension", "d"),
            _tip("value", "Activation", ".4f"),
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
    return Chart(frame, spec, reading, 560)


_BY_LAYER: Spec = {
    **_BASE,
    "encoding": {"x": _LAYER_AXIS},
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
                    "axis": {"tickCount": 3, "format": "~s"},
                    "scale": {"nice": 3},
                },
                "color": _depth(),
                "tooltip": [_tip("layer", "Layer", "d"), _tip("value", "Value", ".5g")],
            },
        },
    ],
}


_BY_LAYER_ABOVE: Spec = {  # one of several that stand above each other and share the axis
    **_BY_LAYER,
    "encoding": {"x": {**_LAYER_AXIS, "title": None}},
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


_BY_TOKEN: Spec = {
    "field": "label",
    "type": "ordinal",
    "sort": {"field": "position"},
    "title": "Token, with its position",
    "axis": {"labelAngle": -60, "labelLimit": 90, "labelOverlap": True, "grid": False},
}

_NO_GAPS: Spec = {"paddingInner": 0, "paddingOuter": 0}
_HEATMAP: Spec = {
    **_BASE,
    "mark": "rect",
    "encoding": {
        "x": {**_BY_TOKEN, "scale": _NO_GAPS},
        "y": {
            "field": "layer",
            "type": "ordinal",
            "sort": "descending",
            "title": "Layer (0 = embedding)",
            "axis": {"labelOverlap": True, "ticks": False},
            "scale": _NO_GAPS,
        },
        "tooltip": [
            _tip("label", "Token"),
            _tip("layer", "Layer", "d"),
            _tip("value", "Value", ".5g"),
        ],
    },
}


def heatmap(
    frame: pd.DataFrame, title: str, reading: str, *, legend: str, log: bool = False
) -> Chart:
    """A size for each layer and token. Columns: label, position, layer, value.

    A logarithmic colour scale keeps both a sink of 24,000 and states of 50 legible.
    """
    scale: Spec = {"scheme": MAGNITUDE, "zero": False}
    if log:
        scale["type"] = "log"
    colour = {
        "field": "value",
        "type": "quantitative",
        "scale": scale,
        "legend": {"title": legend, "format": "~s", "orient": "right"},
    }
    spec = {
        **_HEATMAP,
        "title": title,
        "encoding": {**_HEATMAP["encoding"], "color": colour},
    }
    return Chart(frame, spec, reading, 170 + 14 * int(frame["layer"].nunique()))


_PAIRED: Spec = {
    **_BASE,
    "title": "Norm of the last state, before and after the final norm",
    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.95},
    "transform": [
        {"fold": ["norm_before", "norm_after"], "as": ["kind", "value"]},
        {"calculate": "datum.kind == 'norm_before' ? 'before' : 'after'", "as": "which"},
    ],
    "encoding": {
        "x": {**_BY_TOKEN, "axis": {**_BY_TOKEN["axis"], "grid": True}},
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
            _tip("label", "Token"),
            _tip("which", "State"),
            _tip("value", "Norm", ".4g"),
            _tip("cosine", "Cosine of the two", ".3f"),
        ],
    },
}


def before_and_after(frame: pd.DataFrame, reading: str) -> Chart:
    """Norms before and after the final norm. Columns: label, position, norm_before, norm_after,
    cosine."""
    return Chart(frame, _PAIRED, reading, 420)


_OUTLIERS: Spec = {
    **_BASE,
    "title": "Dimensions with the largest activations",
    "mark": {"type": "bar", "cornerRadiusEnd": 2},
    "encoding": {
        "x": {
            "field": "value",
            "type": "quantitative",
            "title": "Largest activation",
            "axis": {"tickCount": 7},
        },
        "y": {
            "field": "where",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"ticks": False, "domain": False, "labelFontSize": 12, "labelLimit": 260},
        },
        "color": _depth(),
        "tooltip": [
            _tip("dim", "Dimension", "d"),
            _tip("value", "Largest activation", ".4g"),
            _tip("layer", "Layer", "d"),
            _tip("label", "Token"),
            _tip("share", "Share of the state's squared norm", ".1%"),
        ],
    },
}


@cache
def _outliers(n_layers: int) -> Spec:
    """With colours for layers 0 to L, though only some of them have bars."""
    colour = _depth(scale=_scale_of(DEPTH, domain=[0, n_layers]))
    return {**_OUTLIERS, "encoding": {**_OUTLIERS["encoding"], "color": colour}}


def outliers(frame: pd.DataFrame, n_layers: int, reading: str) -> Chart:
    """Outlier dimensions as bars. Columns: dim, layer, position, value, share, label."""
    where = [f"{row.dim} at layer {row.layer}, token {row.label}" for row in frame.itertuples()]
    spec = _outliers(n_layers)
    return Chart(frame.assign(where=where), spec, reading, 110 + 26 * len(frame))
