"""Paths: how tokens travel over a map of states, layer by layer."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, DEPTH, LABEL, MUTED, ROOM, Chart, Spec, depth, scale_of, tip
from strata.charts.titled import BETWEEN

_FADED = {"condition": {"param": "hover", "value": 0.95}, "value": 0.12}
_NEXT: Spec = {  # where the next layer is
    "window": [{"op": "lead", "field": name, "as": f"{name}2"} for name in ("x", "y")],
    "groupby": ["path"],
    "sort": [{"field": "layer"}],
}
_HOVER: Spec = {
    "name": "hover",
    "select": {"type": "point", "fields": ["path"], "on": "pointerover", "clear": "pointerout"},
}
_WIDE, _HIGH = 340, 320  # pixels of the smallest map drawn: names that do not meet here never do
_FEW = 6  # paths: of more only the ends are named, since twice as many names would hide the paths
_LETTER, _LINE = 7.2, 15  # pixels of a letter's width and of a line of text
# Where a name may stand: how it is aligned, and how far right and down of its point; best first.
_PLACES = (
    *(("left", 8, 0), ("right", -8, 0)),
    *(
        (align, right_of, below)
        for far in (16, 32, 46)
        for align, right_of in (("center", 0), ("left", 8), ("right", -8))
        for below in (far, -far)
    ),
)
_GROUND = {"expr": "background"}  # behind a name, so that it can be read over paths
_ABOUT = (
    "Only nearness counts: axes have no unit",
    "a name is bold where its token ends, plain where it begins",
)
_ATTACHED = 20  # pixels: a name further away has a thread to its point


def paths(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    *,
    n_layers: int,
    within: pd.DataFrame | None = None,
) -> Chart:
    """Each token's path in the depth colours, its name, bold, where it ends and, of up to six
    paths, where it begins. Columns: path (one for each), label, layer, x, y.

    `within` (x, y) sets the limits where `frame` holds only the layers up to some. The axes of such
    a map mean nothing, so there are none. Names that would cover others, or stand far from
    their points, stay away, see `unnamed`; pointing at a path tells its name and fades the others.
    """
    few = frame["path"].nunique() <= _FEW
    limits = {
        name: _limits(frame if within is None else within, name, room)
        for name, room in (("x", 0.08), ("y", 0.08))
    }
    colour = depth(
        scale=scale_of(DEPTH, domain=[0, n_layers]),
        legend={
            "title": "Layer",
            "orient": "bottom",
            "gradientLength": 220,
            "tickCount": 6,
            "columns": {
                "expr": f"{ROOM} < 410 ? 4 : 8"
            },  # one row would lose its end, the last layer
        },
    )
    names = "isValid(datum.name_y)"
    spec = {
        **BASE,
        "title": {"text": title, "subtitle": BETWEEN.join(_ABOUT[: 1 + few])},
        "encoding": {
            name: {
                "field": name,
                "type": "quantitative",
                "axis": None,
                "scale": {"domain": list(limits[name]), "nice": False, "zero": False},
            }
            for name in ("x", "y")
        },
        "layer": [
            {
                "transform": [_NEXT, {"filter": "isValid(datum.x2)"}],
                "mark": {"type": "rule", "strokeWidth": 2, "strokeCap": "round"},
                "encoding": {
                    "x2": {"field": "x2"},
                    "y2": {"field": "y2"},
                    "color": colour,
                    "opacity": _FADED,
                },
            },
            {
                "params": [_HOVER],
                "mark": {"type": "point", "filled": True, "size": 30},
                "encoding": {
                    "color": colour,
                    "opacity": _FADED,
                    "tooltip": [tip("label", "Token"), tip("layer", "Layer", "d")],
                },
            },
            {
                "transform": [{"filter": f"{names} && datum.thread"}],
                "mark": {"type": "rule", "color": MUTED, "strokeWidth": 1},
                "encoding": {"y2": {"field": "name_y"}, "opacity": _FADED},
            },
            _names(names, {"strokeWidth": 3, "stroke": _GROUND, "strokeJoin": "round"}),
            _names(f"{names} && !datum.end", {}),
            _names(f"{names} && datum.end", {"fontWeight": "bold"}),
        ],
    }
    return Chart(_named(frame, limits), spec, reading, 490)


def _names(which: str, more: Spec) -> Spec:
    mark = {
        "type": "text",
        "fontSize": 12,
        "color": LABEL,
        "tooltip": False,
        **{name: {"expr": f"datum.{name}"} for name in ("align", "dx")},
        **more,
    }
    return {
        "transform": [{"filter": which}],
        "mark": mark,
        "encoding": {
            "y": {"field": "name_y", "type": "quantitative"},
            "text": {"field": "label"},
            "opacity": _FADED,
        },
    }


def _limits(frame: pd.DataFrame, name: str, room: float) -> tuple[float, float]:
    """The range of a coordinate, with room for the names at the edges."""
    low, high = float(frame[name].min()), float(frame[name].max())
    edge = room * (high - low or 1.0)
    return low - edge, high + edge


def _named(frame: pd.DataFrame, limits: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """With end (is this where the path ends?), name_y (how high its name stands; missing where
    there is none), align and dx (how it stands beside its point) and thread (does it need one?).
    Ends come before beginnings."""
    (left, right), (low, high) = limits["x"], limits["y"]
    frame = frame.reset_index(drop=True)
    end = frame["layer"] == frame["layer"].max()
    named = frame.assign(end=end, name_y=float("nan"), align="center", dx=0, thread=False)
    few = named["path"].nunique() <= _FEW
    begin = named[(named["layer"] == named["layer"].min()) & ~end & few]
    taken: list[tuple[float, float, float]] = []  # middle and half width, in pixels
    for row in [*named[end].itertuples(), *begin.itertuples()]:
        x = (row.x - left) / (right - left) * _WIDE
        y = (high - row.y) / (high - low) * _HIGH
        half = len(row.label) * _LETTER / 2
        for align, right_of, below in _PLACES:
            at = x + right_of + {"left": half, "right": -half}.get(align, 0)
            there = y + below
            met = any(
                abs(there - v) < _LINE and abs(at - u) < half + other for u, v, other in taken
            )
            inside = half <= at <= _WIDE - half and _LINE / 2 < there < _HIGH - _LINE / 2
            if inside and not met:
                taken.append((at, there, half))
                height = high - there / _HIGH * (high - low)
                where = height, align, right_of, abs(below) > _ATTACHED
                named.loc[row.Index, ["name_y", "align", "dx", "thread"]] = where
                break
    return named


def unnamed(chart: Chart) -> tuple[int, int]:
    """How many paths of a map of `paths` have no name on it, and how many there are."""
    named = chart.frame.loc[chart.frame["name_y"].notna(), "path"].nunique()
    return chart.frame["path"].nunique() - named, chart.frame["path"].nunique()
