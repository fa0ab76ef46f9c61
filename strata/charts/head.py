"""Forms of attention heads: who reads whom, all heads of a block small, a colour for each head of
the model, what heads read over what they write, and what changing one does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from strata.charts.common import (
    ACCENT,
    BASE,
    DEPTH,
    LABEL,
    MAGNITUDE,
    MUTED,
    NAMED_ROWS,
    NO_GAPS,
    SIGNED,
    Chart,
    Spec,
    depth,
    scale_of,
    tip,
)

PICKED = "picked"
_INK = "#1f2330"  # with a white edge it shows on any ground
_THIN = 48  # tokens: of more the rows of a pattern are thin
_CANVAS = {"embedOptions": {"renderer": "canvas"}}
_SHARE = "Attention weight"
_ABOVE: Spec = {"orient": "top", "gradientLength": 160}  # leaves the width to the figure
# Most weights are small, and the few large ones would leave them all one colour.
_ROOT: Spec = {"scheme": MAGNITUDE, "type": "pow", "exponent": 0.5}


def _tokens(field: str, title: str, n_tokens: int, angle: int) -> Spec:
    return {
        "field": field,
        "type": "ordinal",
        "title": title,
        "axis": {
            "labelExpr": "labels[datum.value]",
            "labelAngle": angle,
            "labelOverlap": True,
            "labelLimit": 90,
            "ticks": False,
            "domain": False,
            "grid": False,
        },
        "scale": {**NO_GAPS, "domain": list(range(n_tokens))},
    }


def pattern(
    frame: pd.DataFrame, labels: list[str], title: str, reading: str, *, chosen: int
) -> Chart:
    """Who reads whom in one head: a colour for each token that reads (a row) and each that is read
    (a column), the row of the token `chosen` outlined, or pointed at where it is thin; a click
    selects a row. Columns: query, position (of the token that is read), weight. `labels`: one for
    each position."""
    n_tokens = len(labels)
    most = float(frame["weight"].max()) or 1.0
    x = _tokens("position", "Token that is read", n_tokens, -60)
    y = _tokens("query", "Token that reads", n_tokens, 0)
    cell = {"band": 1 + n_tokens / 700}  # overlaps, which closes the seams
    cells: Spec = {
        "mark": {"type": "rect", "cursor": "pointer", "width": cell, "height": cell},
        "transform": [
            {"calculate": "labels[datum.query]", "as": "reader"},
            {"calculate": "labels[datum.position]", "as": "label"},
        ],
        "params": [{"name": PICKED, "select": {"type": "point", "fields": ["query"]}}],
        "encoding": {
            "x": x,
            "y": y,
            "color": {
                "field": "weight",
                "type": "quantitative",
                "scale": {**_ROOT, "domain": [0, most]},
                "legend": {
                    "title": _SHARE,
                    "format": ".0%",
                    **_ABOVE,
                    "values": [0, most / 10, 0.4 * most, most],
                },
            },
            "tooltip": [
                tip("reader", "Token that reads"),
                tip("label", "Token that is read"),
                tip("weight", _SHARE, ".1%"),
            ],
        },
    }
    row: Spec = {
        "data": {"values": [{"query": chosen}]},
        "encoding": {"y": y, "x": {"value": 0}, "x2": {"value": "width"}},
    }
    marks = [{**row, "mark": each} for each in _outlined(3.5, 1.5)]
    if n_tokens > _THIN:  # an outline would cover it
        end = {"data": {"values": [{"query": chosen, "position": chosen}]}}
        arrow = {"type": "point", "shape": "triangle-left", "filled": True, "size": 90}
        place = {"x": {**x, "bandPosition": 1}, "y": y}
        marks = [{**end, "mark": {**arrow, "color": LABEL, "xOffset": 8}, "encoding": place}]
    spec = {
        **BASE,
        "title": title,
        "usermeta": _CANVAS,
        "params": [{"name": "labels", "value": labels}],
        "layer": [cells, *marks],
    }
    return Chart(frame, spec, reading, 210 + min(430, max(240, 22 * n_tokens)))


def _outlined(wide: float, narrow: float) -> list[Spec]:
    """A white edge and a dark line in it, which show on any colour."""
    outline = {"type": "rect", "fillOpacity": 0, "stroke": "#ffffff", "strokeWidth": wide}
    return [outline, {**outline, "stroke": _INK, "strokeWidth": narrow}]


_GAP, _NAME = 0.12, 0.2  # of a tile: between tiles, and above each for its name


def sheet(frame: pd.DataFrame, title: str, reading: str, *, chosen: int, columns: int) -> Chart:
    """The patterns of several heads as tiles, so many beside each other, the one of head `chosen`
    outlined; a click selects a head. Columns: head, query, key, weight; queries and keys count
    steps, which are one or more tokens each."""
    heads = sorted(frame["head"].unique().tolist())
    n_steps = int(frame["query"].max()) + 1
    n_rows = math.ceil(len(heads) / columns)
    left = {head: (i % columns) * (1 + _GAP) for i, head in enumerate(heads)}
    top = {head: (i // columns) * (1 + _NAME) + _NAME for i, head in enumerate(heads)}
    x, y = frame["head"].map(left), frame["head"].map(top)
    seam = 1 + n_steps / 250  # overlaps, which closes the seams
    cells = frame.assign(
        x=(x + frame["key"] / n_steps).astype("float32"),
        x2=(x + (frame["key"] + seam) / n_steps).astype("float32"),
        y=(y + frame["query"] / n_steps).astype("float32"),
        y2=(y + (frame["query"] + seam) / n_steps).astype("float32"),
    )[["head", "weight", "x", "x2", "y", "y2"]]
    ends = {"domain": [0, columns * (1 + _GAP) - _GAP], "nice": False}
    down = {"domain": [0, n_rows * (1 + _NAME)], "nice": False, "reverse": True}
    where: Spec = {
        "x": {"field": "x", "type": "quantitative", "axis": None, "scale": ends},
        "x2": {"field": "x2"},
        "y": {"field": "y", "type": "quantitative", "axis": None, "scale": down},
        "y2": {"field": "y2"},
    }
    colour = {
        "field": "weight",
        "type": "quantitative",
        "scale": {**_ROOT, "domain": [0, 1]},
        "legend": None,
    }
    tiles = [
        {"head": h, "x": left[h], "x2": left[h] + 1, "y": top[h], "y2": top[h] + 1} for h in heads
    ]
    names = [{"x": left[h], "y": top[h] - 0.03, "name": f"Head {h}"} for h in heads]
    picks = [{"name": PICKED, "select": {"type": "point", "fields": ["head"]}}]
    told = [tip("head", "Attention head", "d"), tip("weight", _SHARE, ".1%")]
    text = {"type": "text", "align": "left", "baseline": "bottom", "fontSize": 12, "color": LABEL}
    marked = {"values": [each for each in tiles if each["head"] == chosen]}
    tile: Spec = {
        "mark": {"type": "rect", "cursor": "pointer"},
        "params": picks,
        "encoding": {**where, "color": colour, "tooltip": told},
    }
    spec = {
        **BASE,
        "title": title,
        "usermeta": _CANVAS,
        "layer": [
            tile,
            *({"data": marked, "mark": mark, "encoding": where} for mark in _outlined(5, 2.5)),
            {
                "data": {"values": names},
                "mark": text,
                "encoding": {
                    "x": where["x"],
                    "y": where["y"],
                    "text": {"field": "name", "type": "nominal"},
                },
            },
        ],
    }
    return Chart(cells, spec, reading, 60 + 118 * n_rows)


_QUANTITIES = {"share": ".0%", "logit": "+.3f", "norm": ".3~g"}


def head_map(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    quantity: str,
    legend: str,
    *,
    chosen: tuple[int, int],
) -> Chart:
    """A colour for each head of the model, blocks from left to right: "share" (0 to 1), "logit"
    (grey at 0) or "norm". The head `chosen`, (block, head), is outlined; a click selects one.
    Columns: block, head, those of the quantities that are known."""
    values = frame[quantity].dropna()
    most = float(values.abs().max()) if len(values) else 0.0
    most = most or 1.0
    scales: dict[str, tuple[Spec, list[float]]] = {
        "share": ({"scheme": MAGNITUDE, "domain": [0, 1]}, [0, 0.5, 1]),
        "logit": (scale_of(SIGNED, domain=[-most, most]), [-most, 0, most]),
        "norm": ({"scheme": MAGNITUDE, "domain": [0, most]}, [0, most / 2, most]),
    }
    scale, marks = scales[quantity]
    n_heads = int(frame["head"].nunique())
    axis = {"labelAngle": 0, "labelOverlap": True, "ticks": False}
    x = {"field": "block", "type": "ordinal", "title": "Block", "axis": axis, "scale": NO_GAPS}
    y = {**x, "field": "head", "title": "Attention head"}
    number = ".0%" if quantity == "share" else ".2~f"
    known = {"share": "Share that the sinks get", "logit": "Added to the logit", "norm": "Norm"}
    told = [tip("block", "Block", "d"), tip("head", "Attention head", "d")]
    told += [tip(name, known[name], _QUANTITIES[name]) for name in known if name in frame]
    height = 26 if n_heads <= 16 else 15
    cells: Spec = {
        "mark": {
            "type": "rect",
            "cursor": "pointer",
            "width": {"band": 1.06},  # overlaps, which closes the seams
            "height": {"band": 1.04},
        },
        "params": [{"name": PICKED, "select": {"type": "point", "fields": ["block", "head"]}}],
        "encoding": {
            "x": x,
            "y": y,
            "color": {
                "field": quantity,
                "type": "quantitative",
                "scale": scale,
                "legend": {
                    "title": legend,
                    **_ABOVE,
                    "values": marks,
                    "format": number,
                },
            },
            "tooltip": told,
        },
    }
    here: Spec = {
        "data": {"values": [{"block": chosen[0], "head": chosen[1]}]},
        "encoding": {"x": x, "y": y},
    }
    layers = [cells, *({**here, "mark": mark} for mark in _outlined(5, 2.5))]
    tall = max(200, 180 + height * n_heads)
    return Chart(frame, {**BASE, "title": title, "layer": layers}, reading, tall)


_WEIGHT: Spec = {
    "field": "weight",
    "type": "quantitative",
    "title": _SHARE,
    "scale": {"domain": [0, 1], "nice": False},
    "axis": {"format": ".0%", "tickCount": 5},
}


_TIPS = {
    "logit": tip("logit", "Added to the logit", "+.3f"),
    "part": tip("part", "Share of what it writes", ".1%"),
}


def over_weight(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    y: str,
    *,
    x_title: str,
    y_title: str | list[str],
) -> Chart:
    """Each head as a point over how much it reads of something: "logit", what it writes towards the
    target, with a dashed line at 0; or "part", how much of what it writes comes from there, with
    one where that is as much. A click selects a head. Columns: block, head, weight, that of `y`,
    name (beside the point, "" for none), chosen (bool), perhaps label (the token that is read)."""
    x_axis = {**_WEIGHT, "title": x_title}
    y_axis: Spec = {
        "field": y,
        "type": "quantitative",
        "title": y_title,
        "axis": {"tickCount": 6},
    }
    ends = [{"weight": 0, "logit": 0}, {"weight": 1, "logit": 0}]
    if y == "logit":  # told, since Vega complains of a layer without rows whose ends it looks for
        low, high = (float(f([0.0, *frame[y]])) for f in (np.min, np.max))
        y_axis["scale"] = {"domain": [low, high if high > low else low + 1], "nice": True}
    if y == "part":
        y_axis |= {"scale": _WEIGHT["scale"], "axis": _WEIGHT["axis"]}
        ends = [{"weight": 0, "part": 0}, {"weight": 1, "part": 1}]
    last = max(1, int(frame["block"].max())) if len(frame) else 1
    colours = scale_of(DEPTH, domain=[0, last])
    colour = depth(field="block", scale=colours, legend={"title": "Block", "format": "d", **_ABOVE})
    told = [tip("block", "Block", "d"), tip("head", "Attention head", "d")]
    told += [tip("label", "Token that is read")] * ("label" in frame)
    told += [tip("weight", _SHARE, ".1%"), _TIPS[y]]
    both: Spec = {"x": x_axis, "y": y_axis}
    line = {"type": "line", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL}
    rule: Spec = {"data": {"values": ends}, "mark": line, "encoding": both}
    point: Spec = {
        "mark": {"type": "point", "filled": True, "opacity": 0.9, "cursor": "pointer"},
        "params": [{"name": PICKED, "select": {"type": "point", "fields": ["block", "head"]}}],
        "encoding": {
            **both,
            "color": colour,
            "size": {"condition": {"test": "datum.chosen", "value": 190}, "value": 55},
            "tooltip": told,
        },
    }
    ring: Spec = {
        "transform": [{"filter": "datum.chosen"}],
        "mark": {"type": "point", "filled": False, "size": 190, "strokeWidth": 2.5, "color": LABEL},
        "encoding": both,
    }
    text: Spec = {"type": "text", "fontSize": 11, "color": LABEL}
    named: list[Spec] = [
        {
            "transform": [{"filter": f"datum.name != '' && datum.weight {way} 0.6"}],
            "mark": {**text, "align": side, "dx": off},
            "encoding": {**both, "text": {"field": "name", "type": "nominal"}},
        }
        for way, side, off in (("<", "left", 9), (">=", "right", -9))
    ]
    spec = {**BASE, "title": title, "layer": [rule, point, ring, *named]}
    return Chart(frame, spec, reading, 450)


def named_apart(frame: pd.DataFrame, wanted: pd.Series, span: float) -> pd.DataFrame:
    """With `name`, "23.4" for head 4 of block 23, where `wanted` is True, but for names that would
    lie over another: the largest effects come first."""
    kept: list[tuple[float, float]] = []
    names = pd.Series("", index=frame.index)
    order = frame["logit"].abs().sort_values(ascending=False).index
    for i in order[wanted.loc[order].to_numpy()]:
        at = float(frame.at[i, "weight"]), float(frame.at[i, "logit"])
        if all(abs(at[0] - a) > 0.12 or abs(at[1] - b) > 0.06 * span for a, b in kept):
            kept.append(at)
            names[i] = f"{frame.at[i, 'block']}.{frame.at[i, 'head']}"
    return frame.assign(name=names)


_KINDS = {"head": ACCENT, "other": DEPTH[1], "noise": MUTED}


def changed(
    frame: pd.DataFrame, title: str, reading: str, axis: str | list[str], *, clean: float
) -> Chart:
    """The target in each edited run, a row of points for each kind of edit, with the median of each
    as a bar and the clean run as a dashed line. Columns: label (of the row), order, kind ("head",
    "other" or "noise"), value, name (of the run). `axis`: its title, with its unit."""
    low, high = (float(f([*frame["value"], clean])) for f in (np.min, np.max))
    room = 0.12 * ((high - low) or 1.0)
    x: dict[str, Any] = {
        "field": "value",
        "type": "quantitative",
        "title": axis,
        "scale": {"domain": [low - room, high + room], "nice": False, "zero": False},
        "axis": {"tickCount": 6},
    }
    colour = {
        "field": "kind",
        "type": "nominal",
        "scale": {"domain": list(_KINDS), "range": list(_KINDS.values())},
        "legend": None,
    }
    line = {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL}
    here: Spec = {"data": {"values": [{"value": clean, "clean": "Clean"}]}}
    rule: Spec = {**here, "mark": line, "encoding": {"x": x}}
    text = {"type": "text", "align": "right", "dx": -5, "y": 8, "fontSize": 12, "color": LABEL}
    named = {**here, "mark": text, "encoding": {"x": x, "text": {"field": "clean"}}}
    point: Spec = {
        "mark": {"type": "point", "filled": True, "size": 90, "opacity": 0.8},
        "encoding": {
            "x": x,
            "y": NAMED_ROWS,
            "color": colour,
            "tooltip": [tip("name", "Edit"), tip("value", "Nats", ".4f")],
        },
    }
    middle: Spec = {
        "mark": {"type": "tick", "thickness": 3, "size": 30},
        "encoding": {"x": {**x, "aggregate": "median"}, "y": NAMED_ROWS, "color": colour},
    }
    spec = {**BASE, "title": title, "layer": [rule, middle, point, named]}
    return Chart(frame, spec, reading, 130 + 62 * int(frame["label"].nunique()))
