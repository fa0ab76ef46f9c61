"""Forms of the patch map: a colour for each cell of layers and tokens, estimate against truth, and
the effects of two cells."""

from __future__ import annotations

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
    TOKEN_AXIS,
    Chart,
    Spec,
    depth,
    scale_of,
    tip,
)

CHOSEN = "cell"
_INK = "#1f2330"  # with a white edge it shows on any ground
FARTHEST = 2.0  # of a share, which colours tell apart: what is beyond has the end colour
_NEARLY = 1.1  # a share of less than this has the colour of 1
_FEW = 20  # tokens: so many names stand beside each other
_ROWS = {"layer": "Layer (0 = embedding)", "head": "Attention head"}
_TIPS = [
    tip("label", "Token"),
    tip("share", "Share", ".3f"),
    tip("value", "Logits", ".4f"),
    tip("kl", "KL (nats)", ".4f"),
]


def _rows(name: str) -> Spec:
    return {
        "field": name,
        "type": "ordinal",
        "sort": "descending",
        "title": _ROWS[name],
        "axis": {"labelOverlap": True, "ticks": False},
        "scale": NO_GAPS,
    }


def patch_map(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    quantity: str,
    legend: str,
    *,
    rows: str = "layer",
    ends: tuple[float, float] | None = None,
    alike: pd.Series | None = None,
    height: int = 640,
    picks: bool = True,
) -> Chart:
    """A colour for each row (a layer or a head) and token: "share", "value" or "kl". Columns:
    label, position, that of `rows`, value, share, matters (False: a cell that can change nothing,
    which has a dot and no colour), mark (the number of a chosen cell, a space to mark it without
    one, else ""), perhaps kl.

    `ends`: the values of both runs, which the scale of "value" reaches; `alike`: values of several
    maps that are to have the same colours; `picks`: a click selects a cell, by its row and
    position.
    """
    places = {"x": {**TOKEN_AXIS, "scale": NO_GAPS}, "y": _rows(rows)}
    few = frame["label"].nunique() <= _FEW
    axis = {**TOKEN_AXIS["axis"], "labelLimit": 150, "labelOverlap": not few}
    places["x"] = {**places["x"], "axis": axis}
    values = frame[quantity] if alike is None else alike
    scale, marks = _scale(values, quantity, ends)
    beyond = quantity == "share" and bool((values.abs() > FARTHEST).any())
    said = [legend, f"beyond ±{FARTHEST:g}: end colours"] if beyond else legend
    colour = {
        "field": quantity,
        "type": "quantitative",
        "scale": scale,
        "legend": {
            "title": said,
            "orient": "right",
            "values": marks,
            "format": ".3~g",
            "gradientLength": min(300, height // 2),
        },
    }
    tips = [each for each in (tip(rows, _ROWS[rows], "d"), *_TIPS) if each["field"] in frame]
    cell: Spec = {
        "transform": [{"filter": "datum.matters && isValid(datum." + quantity + ")"}],
        "mark": {
            "type": "rect",
            "cursor": "pointer" if picks else "default",
            "width": {"band": 1.01},  # overlaps, which closes the seams
            "height": {"band": 1.05},
        },
        "encoding": {**places, "color": colour, "tooltip": tips},
    }
    if picks:
        select = {"type": "point", "fields": [rows, "position"], "toggle": False}
        cell["params"] = [{"name": CHOSEN, "select": select}]
    still: Spec = {  # what can change nothing
        "transform": [{"filter": "!datum.matters"}],
        "mark": {"type": "point", "filled": True, "size": 7, "color": MUTED, "opacity": 0.7},
        "encoding": places,
    }
    outline = {"type": "rect", "fillOpacity": 0, "stroke": "#ffffff", "strokeWidth": 5}
    inner = {**outline, "stroke": _INK, "strokeWidth": 2.5}
    chosen = [{"filter": "datum.mark != ''"}]
    number = {"type": "text", "fontSize": 12, "fontWeight": "bold", "color": _INK}
    halo = {**number, "stroke": "#ffffff", "strokeWidth": 4}
    text = {**places, "text": {"field": "mark", "type": "nominal"}}
    layers = [
        cell,
        still,
        {"transform": chosen, "mark": outline, "encoding": places},
        {"transform": chosen, "mark": inner, "encoding": places},
        {"transform": chosen, "mark": halo, "encoding": text},
        {"transform": chosen, "mark": number, "encoding": text},
    ]
    return Chart(frame, {**BASE, "title": title, "layer": layers}, reading, height)


def _scale(
    values: pd.Series, quantity: str, ends: tuple[float, float] | None
) -> tuple[Spec, list[float]]:
    """A scale of colours for such values, and what its legend marks."""
    known = values.dropna()
    least, most = (0.0, 1.0) if known.empty else (float(known.min()), float(known.max()))
    if quantity == "kl":
        most = most or 1.0
        return {"scheme": MAGNITUDE, "domain": [0, most]}, [0, most / 2, most]
    if quantity == "share":
        far = min(FARTHEST, max(-least, most))
        far = far if far > _NEARLY else 1.0
        marks = sorted({-far, 0.0, 1.0, far})
        return scale_of(SIGNED, domain=[-far, far], clamp=True), marks
    both = [least, most, *(ends or ())]
    if min(both) < 0 < max(both):  # grey where both words are as likely
        far = max(map(abs, both))
        return scale_of(SIGNED, domain=[-far, far]), [-far, 0, far]
    low, high = min(both), max(both)
    high = high if high > low else low + 1
    return {"scheme": MAGNITUDE, "domain": [low, high], "zero": False}, [low, high]


_AXIS: Spec = {"type": "quantitative", "axis": {"grid": True, "tickCount": 6}}


def against_exact(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """The gradient's estimate of each cell's effect over the exact one, in logits, with the line on
    which both are the same. Columns: label, layer, exact, estimate, name, failed (0 for the
    cell where it fails most, 1 for the next; missing for those that are not named)."""
    both = frame[["exact", "estimate"]]
    low, high = min(0.0, float(both.min().min())), max(0.0, float(both.max().max()))
    span = (high - low) or 1.0
    room = 0.06 * span
    frame = _named(frame, span)
    domain = {"domain": [low - room, high + room], "nice": False, "zero": False}
    x = {**_AXIS, "field": "exact", "title": "Exact effect (logits)", "scale": domain}
    y = {**_AXIS, "field": "estimate", "title": "Estimated effect (logits)", "scale": domain}
    tips = [
        tip("label", "Token"),
        tip("layer", "Layer", "d"),
        tip("exact", "Exact effect (logits)", "+.3f"),
        tip("estimate", "Estimated effect (logits)", "+.3f"),
    ]
    same = {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL}
    line: Spec = {
        "data": {"values": [{"from": low - room, "to": high + room}]},
        "mark": same,
        "encoding": {
            "x": {"field": "from", "type": "quantitative", "scale": domain},
            "y": {"field": "from", "type": "quantitative", "scale": domain},
            "x2": {"field": "to"},
            "y2": {"field": "to"},
        },
    }
    point: Spec = {
        "mark": {"type": "point", "filled": True, "size": 46, "opacity": 0.85},
        "encoding": {"x": x, "y": y, "color": depth(legend={"title": "Layer"}), "tooltip": tips},
    }
    beside: Spec = {"type": "text", "align": "left", "dx": 8, "fontSize": 11, "color": LABEL}
    named: list[Spec] = [  # towards the middle: at the right edge they would lie over the legend
        {
            "transform": [{"filter": f"datum.name != '' && datum.exact {half}"}],
            "mark": mark,
            "encoding": {"x": x, "y": y, "text": {"field": "name", "type": "nominal"}},
        }
        for half, mark in (
            (f"<= {(low + high) / 2}", beside),
            (f"> {(low + high) / 2}", {**beside, "align": "right", "dx": -8}),
        )
    ]
    spec = {**BASE, "title": title, "layer": [line, point, *named]}
    return Chart(frame, spec, reading, 480)


def _named(frame: pd.DataFrame, span: float) -> pd.DataFrame:
    """Names of cells that fail, the worst first, but for those that would lie over another."""
    kept: list[tuple[float, float]] = []
    names = pd.Series("", index=frame.index)
    for row in frame[frame["failed"].notna()].sort_values("failed").itertuples():
        at = float(row.exact), float(row.estimate)
        if all(abs(at[0] - x) > 0.3 * span or abs(at[1] - y) > 0.05 * span for x, y in kept):
            kept.append(at)
            names[row.Index] = row.name
    return frame.assign(name=names)


_KINDS = {"alone": DEPTH[2], "sum": MUTED, "together": ACCENT}


def effects(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Effects in logits as bars from 0. Columns: label, order, effect, kind ("alone", "sum" or
    "together")."""
    frame = frame.assign(number=frame["effect"].map(lambda x: f"{x:+z.2f}".replace("-", "−")))
    least, most = min(0.0, float(frame["effect"].min())), max(0.0, float(frame["effect"].max()))
    room = 0.4 * ((most - least) or 1.0)  # of the numbers, in a narrow column too
    domain = [least - room * (least < 0), most + room * (most > 0 or least == 0)]
    x = {
        "field": "effect",
        "type": "quantitative",
        "title": "Effect (logits)",
        "scale": {"domain": domain, "nice": False},
        "axis": {"tickCount": 4},
    }
    colours = {"domain": list(_KINDS), "range": list(_KINDS.values())}
    bar: Spec = {
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": x,
            "y": NAMED_ROWS,
            "color": {"field": "kind", "type": "nominal", "scale": colours, "legend": None},
            "tooltip": [tip("label", "Cell"), tip("effect", "Effect (logits)", "+.4f")],
        },
    }
    beside: Spec = {"type": "text", "fontSize": 12, "color": LABEL, "dx": 4, "align": "left"}
    texts = [
        {
            "transform": [{"filter": f"datum.effect {way} 0"}],
            "mark": look,
            "encoding": {"x": x, "y": NAMED_ROWS, "text": {"field": "number", "type": "nominal"}},
        }
        for way, look in ((">=", beside), ("<", {**beside, "dx": -4, "align": "right"}))
    ]
    spec = {**BASE, "title": title, "layer": [bar, *texts]}
    return Chart(frame, spec, reading, 110 + 40 * len(frame))
