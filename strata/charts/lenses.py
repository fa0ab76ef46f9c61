"""Forms of several lenses beside each other: a number by layer or by token, with its interval, and
how far a lens has settled by the number of texts it was fitted on."""

from __future__ import annotations

from functools import cache

import pandas as pd

from strata.charts.common import (
    ACCENT,
    BASE,
    LABEL,
    LAYER_AXIS,
    MUTED,
    ROOM,
    SIGNED,
    TOKEN_AXIS,
    Chart,
    Spec,
    depth,
    tip,
)

# What each line is of, from the back to the front: its colour, its dashes, and its points' shape.
_LOOKS = {
    "random": (MUTED, [2, 3], "diamond"),
    "logit": (SIGNED[1], [7, 4], "square"),
    "jacobian": (ACCENT, [1, 0], "circle"),
}
_FEW = 24  # tokens: so many names stand beside each other
_ZERO: Spec = {
    "mark": {"type": "rule", "strokeWidth": 1, "color": LABEL, "opacity": 0.6},
    "encoding": {"y": {"datum": 0, "type": "quantitative"}},
}


@cache
def _compared(
    names: tuple[tuple[str, str], ...],
    axis: str | tuple[str, ...],
    by: str,
    places: int,
    spread: bool,
) -> Spec:
    names_of = dict(names)
    kinds = [kind for kind in _LOOKS if kind in names_of]
    looks = [_LOOKS[kind] for kind in kinds]
    shown = [names_of[kind] for kind in kinds]
    legend = {
        "title": None,
        "orient": "top",
        "columns": {"expr": f"{ROOM} < 350 ? 1 : {ROOM} < 490 ? 2 : 3"},
        "labelLimit": 0,
        "symbolSize": 80,
        "symbolOpacity": 1,
    }
    nominal: Spec = {"field": "name", "type": "nominal", "title": None}

    def channel(number: int) -> Spec:
        domain = {"domain": shown, "range": [look[number] for look in looks]}
        return {**nominal, "scale": domain, "legend": legend}

    probs = axis == "Probability"
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": axis if isinstance(axis, str) else list(axis),
        "axis": {"format": "~%", "tickCount": 5} if probs else {"tickCount": 6},
        "scale": {"domain": [0, 1]} if probs else {"zero": True, "nice": True},
    }
    x: Spec = LAYER_AXIS
    if by == "label":
        overlap = {"labelLimit": 130, "labelOverlap": places > _FEW}
        x = {**TOKEN_AXIS, "axis": {**TOKEN_AXIS["axis"], **overlap}}
    tips = [
        tip(by, "Layer" if by == "layer" else "Token", "d" if by == "layer" else ""),
        tip("name", "Read by"),
        tip("value", axis if isinstance(axis, str) else "Difference (nats)", ".4f"),
    ]
    with_ends = [*tips, tip("low", "Interval from", ".4f"), tip("high", "Interval to", ".4f")]
    colour = channel(0)
    ends = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    known = [{"filter": "isValid(datum.low) && isValid(datum.high)"}]
    interval: Spec = {
        "transform": known,
        "mark": {"type": "area", "opacity": 0.22}
        if by == "layer"
        else {"type": "rule", "strokeWidth": 5, "opacity": 0.35},
        "encoding": {**ends, "color": colour},
    }
    # Of each kind its own, since in a common legend dashes would break the symbols' outlines.
    lines: list[Spec] = [
        {
            "transform": [{"filter": {"field": "name", "equal": name}}],
            "mark": {"type": "line", "strokeWidth": 2.2, "strokeDash": _LOOKS[kind][1]},
            "encoding": {"y": y, "color": colour},
        }
        for kind, name in zip(kinds, shown, strict=True)
    ]
    points: list[Spec] = [
        {
            "transform": [{"filter": {"field": "name", "equal": name}}],
            "mark": {
                "type": "point",
                "filled": True,
                "size": 34 if by == "layer" else 60,
                "opacity": 1,
            },
            "encoding": {
                "y": y,
                "color": colour,
                "shape": channel(2),
                "tooltip": tips if kind == "logit" else with_ends,
            },
        }
        for kind, name in zip(kinds, shown, strict=True)
    ]
    lines = lines if by == "layer" else []
    intervals = [interval] if spread else []  # of no rows at all Vega complains
    return {
        **BASE,
        "encoding": {"x": x},
        "layer": [_ZERO, *intervals, *lines, *points],
    }


def compared(
    frame: pd.DataFrame, title: str, reading: str, axis: str | list[str], by: str = "layer"
) -> Chart:
    """One number by layer, or by token, as several lenses give it, each with its interval where it
    has one. Columns: kind ("jacobian", "logit", "random"), name (in the legend), layer or label and
    position, value, low, high (missing where there is no interval). `by`: "layer" or "label";
    `axis`: what the number is called, in lines the difference of two words."""
    names = tuple(dict.fromkeys(zip(frame["kind"], frame["name"], strict=True)))
    spread = bool((frame["low"].notna() & frame["high"].notna()).any())
    named = axis if isinstance(axis, str) else tuple(axis)
    spec = _compared(names, named, by, int(frame[by].nunique()), spread)
    return Chart(frame, {**spec, "title": title}, reading, 340)


_SETTLING: Spec = {
    **BASE,
    "encoding": {
        "x": {
            "field": "n_texts",
            "type": "quantitative",
            "title": "Number of texts",
            "scale": {"type": "log", "base": 2, "nice": False, "padding": 12},
            "axis": {"grid": False, "format": "d"},
        },
    },
}


def settling(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """How a fitted lens settles, a line a layer in the depth colours: by which share of its size J
    still changed, by the number of texts. Columns: layer, n_texts, change."""
    y: Spec = {
        "field": "change",
        "type": "quantitative",
        "title": "Change of J (share of its norm)",
        "scale": {"domainMin": 0, "nice": True},
        "axis": {"tickCount": 5},
    }
    colour = depth(
        legend={"title": "Layer", "orient": "right", "gradientLength": 160, "tickCount": 5}
    )
    tips = [
        tip("layer", "Layer", "d"),
        tip("n_texts", "Texts", "d"),
        tip("change", "Change", ".4f"),
    ]
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 1.6},
            "encoding": {"y": y, "color": colour, "detail": {"field": "layer"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "encoding": {"y": y, "color": colour, "tooltip": tips},
        },
    ]
    ticks = sorted(frame["n_texts"].unique().tolist())
    x = _SETTLING["encoding"]["x"]
    x = {**x, "axis": {**x["axis"], "values": ticks}}
    spec = {**_SETTLING, "encoding": {"x": x}, "layer": layers, "title": title}
    return Chart(frame, spec, reading, 280)
