"""The laminar profile: all pairs of a prompt's tokens along the layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from strata.charts.common import BASE, LABEL, LAYER_AXIS, MUTED, Chart, Spec, depth, tip

INK, HALO = "#1f2330", "#ffffff"  # a line with a halo shows on any ground and over any points
WRONG = "#d3323f"
CHOSEN = "chosen"
GAP = 2  # columns from the last layer to the final norm: what lies apart is another space


@dataclass(frozen=True)
class Axes:
    """What profiles side by side share: the range of cosines, and the layers 0 to L."""

    low: float
    high: float
    n_layers: int


def laminar_axes(*frames: pd.DataFrame) -> Axes:
    """Axes that hold these points and statistics, the band of random vectors included."""
    names = ("cosine", "minimum", "maximum", "random_low", "random_high")
    values = np.concatenate([f[n].to_numpy(float) for f in frames for n in names if n in f])
    low, high = np.nanmin(values), np.nanmax(values)
    room = 0.03 * (high - low)
    n_layers = max(int(frame["layer"].max()) for frame in frames)
    return Axes(float(low - room), float(high + room), n_layers)


def _line(mark: str, colour: str, width: float, opacity: float, *fields: str) -> Spec:
    """A mark of `statistics` over the points: of one field, or from one to another."""
    encoding: Spec = {"y": {"field": fields[0]}}
    if len(fields) > 1:
        encoding["y2"] = {"field": fields[1]}
    look = {"type": mark, "color": colour, "strokeWidth": width, "opacity": opacity}
    return {"mark": look, "encoding": encoding}


_TIPS = [
    tip("label_a", "Token"),
    tip("label_b", "Other token"),
    tip("layer", "Layer", "d"),
    tip("where", "State"),
    tip("cosine", "Cosine", ".4f"),
]
_BAND: Spec = {
    "mark": {"type": "rect", "color": MUTED, "opacity": 0.28},
    "encoding": {"x": None, "y": {"field": "random_low"}, "y2": {"field": "random_high"}},
}
_PAIRS: Spec = {
    "name": "pairs",
    "mark": {"type": "point", "filled": True, "cursor": "pointer"},
    "params": [
        {
            "name": CHOSEN,
            "select": {
                "type": "point",
                "fields": ["layer", "normed", "position_a", "position_b"],
                "toggle": False,
            },
        }
    ],
    "transform": [{"filter": "datum.kind == 'pair'"}],
    "encoding": {
        "y": {"field": "cosine"},
        "color": {**depth(), "condition": {"test": "datum.normed", "value": MUTED}},
        "shape": {"condition": {"test": "datum.normed", "value": "diamond"}, "value": "circle"},
        "tooltip": _TIPS,
    },
}
_BARS = [_line("rule", HALO, 6, 0.8, "q25", "q75"), _line("rule", INK, 3, 0.8, "q25", "q75")]
_MEDIAN = [_line("line", HALO, 5, 0.8, "median"), _line("line", INK, 2, 1, "median")]
_MEDIANS: Spec = {
    "mark": {"type": "point", "fill": HALO, "stroke": INK, "size": 44, "opacity": 1},
    "encoding": {"y": {"field": "median"}},
}
_CHOSEN: Spec = {
    "transform": [{"filter": {"param": CHOSEN, "empty": False}}],
    "mark": {"type": "point", "fill": INK, "stroke": HALO, "size": 170, "strokeWidth": 2.5},
    "encoding": {"y": {"field": "cosine"}, "opacity": {"value": 1}},
}
_MISTAKES: Spec = {
    "transform": [{"filter": "datum.kind != 'pair'"}],
    "mark": {"type": "point", "filled": False, "color": WRONG, "strokeWidth": 2.5, "opacity": 1},
    "encoding": {
        "y": {"field": "cosine"},
        "shape": {
            "condition": {"test": "datum.kind == 'invented'", "value": "cross"},
            "value": "circle",
        },
        "size": {"value": 110},
        "tooltip": [tip("kind", "The shortcut's mistake"), *_TIPS],
    },
}
_PROFILE: Spec = {
    **BASE,
    "transform": [
        {"calculate": "labels[datum.position_a]", "as": "label_a"},
        {"calculate": "labels[datum.position_b]", "as": "label_b"},
        {"calculate": "datum.normed ? 'after the final norm' : 'raw'", "as": "where"},
    ],
}


def laminar_profile(
    points: pd.DataFrame,
    statistics: pd.DataFrame,
    title: str,
    reading: str,
    labels: Sequence[str],
    axes: Axes,
) -> Chart:
    """All pairs along the layers, with median, middle half and what chance would give.

    Columns of `points`: layer, normed, position_a, position_b, cosine, jitter, kind ("pair",
    "invented", "lost"). Of `statistics`: layer, normed, q25, median, q75, random_low, random_high.
    `labels` has one for each position. A click chooses a pair.
    """
    last = int(statistics["layer"].max())
    numbers = statistics.assign(x=statistics["layer"] + GAP * statistics["normed"])
    numbers = numbers[["x", "q25", "median", "q75"]].dropna()
    band, columns, line = (
        {"data": {"values": frame.to_dict("records")}}
        for frame in (
            statistics[["random_low", "random_high"]].iloc[:1],
            numbers,
            numbers[numbers["x"] <= last],
        )
    )
    few, many = len(points) < 60 * len(statistics), len(points) > 2_000
    look = {"size": 48 if few else 30, "opacity": 0.85 if few else 0.45}
    spec = {
        **_PROFILE,
        "title": _title(title, mistaken=bool((points["kind"] != "pair").any())),
        "params": [{"name": "labels", "value": list(labels)}],
        "encoding": _axes(last, axes),
        "layer": [
            {**_BAND, **band},
            {**_PAIRS, "mark": {**_PAIRS["mark"], **look}},
            *({**bar, **columns} for bar in _BARS),
            *({**median, **line} for median in _MEDIAN),
            {**_MEDIANS, **columns},
            _MISTAKES,
            _CHOSEN,
        ],
        **({"usermeta": {"embedOptions": {"renderer": "canvas"}}} if many else {}),
    }
    x = points["layer"] + GAP * points["normed"] + points["jitter"]
    return Chart(points.assign(x=x), spec, reading, 560)


def _title(title: str, *, mistaken: bool) -> Spec:
    lines = [
        "Points: pairs of tokens; far right: after the final norm",
        "Line and bars: median and middle half of all pairs",
        "Grey band: 95% of pairs of random vectors",
    ]
    if mistaken:  # as many lines as beside it, so that the axes stand at one height
        lines[2] = "Red: the cross is no pair, the ring a pair that was dropped"
    return {"text": title, "subtitle": lines, "subtitleColor": LABEL, "subtitleFontSize": 12}


def _axes(last: int, axes: Axes) -> Spec:
    """The axes that all marks share; the final norm stands apart, beyond the last layer."""
    step = next((step for step in (1, 2, 5, 10) if last <= 12 * step), 20)
    axis = {
        **LAYER_AXIS["axis"],
        "values": [*range(0, last + 1, step), last + GAP],
        "labelExpr": f"datum.value > {last} ? 'norm' : datum.value",
        "labelOverlap": True,
    }
    x = {"domain": [-0.5, axes.n_layers + GAP + 0.5], "nice": False}
    y = {"domain": [axes.low, axes.high], "nice": False}
    return {
        "x": {**LAYER_AXIS, "field": "x", "axis": axis, "scale": x},
        # As many for two beside each other, whose titles may leave one less room.
        "y": {
            "type": "quantitative",
            "title": "Cosine similarity",
            "scale": y,
            "axis": {"tickCount": 8},
        },
    }
