"""Curves: one number by layer, or several beside each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from strata.charts.common import ACCENT, BASE, DEPTH, LAYER_AXIS, MUTED, Chart, Spec, depth, tip
from strata.charts.direct import names, with_names

_APART = 0.1  # heights of the axis that the name of a line takes
_LINES = (DEPTH[1], ACCENT, "#2a9d8f", "#b5489a", "#7557e0", "#9a9138")
_DECADES = [1, 2, 3, 5, *(a * 10**b for b in (1, 2, 3, 4) for a in (1, 3))]

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


_POWERS = [10.0**b for b in range(-6, 7)]


def lines(
    frame: pd.DataFrame,
    title: str,
    noun: str,
    reading: str,
    *,
    x: tuple[str, str] = ("layer", ""),
    log: bool = False,
    muted: Sequence[str] = (),
) -> Chart:
    """Several numbers by layer, each a line with its name at its end; `noun` names them at their
    axis. Columns: layer, name, value; rows without a value are left out.

    `x`: another column than the layer, with the name of its axis, which is then logarithmic. `log`:
    so is the axis of the values. `muted`: lines that are there for comparison, dashed.
    """
    rows = frame.dropna(subset="value").reset_index(drop=True)
    column, called = x
    order = list(dict.fromkeys(rows["name"]))
    rows = rows.assign(layer=rows[column])
    low, high = float(rows["value"].min()), float(rows["value"].max())
    low = low if log else min(low, 0.0)
    by = (np.log, np.exp) if log else None
    last = rows.loc[rows.groupby("name")["layer"].idxmax()]  # where each line ends
    named = with_names(last.assign(layer=0), "value", (low, high), apart=_APART, by=by)
    rows = rows.assign(name_y=named["name_y"])
    coloured = [name for name in order if name not in muted]
    ticks = _DECADES if low > 0.9 and high / low < 2_000 else _POWERS
    colours = {name: _LINES[i % len(_LINES)] for i, name in enumerate(coloured)}
    domain = {"domain": order, "range": [colours.get(name, MUTED) for name in order]}
    dashes = {"domain": order, "range": [[4, 3] if name in muted else [1, 0] for name in order]}
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": noun,
        "axis": {"values": ticks, "labelExpr": _SHORT} if log else {"tickCount": 4},
        "scale": {"type": "log", "nice": False} if log else {"zero": True},
    }
    colour: Spec = {"field": "name", "type": "nominal", "scale": domain, "legend": None}
    across = LAYER_AXIS
    if called:
        scale = {"type": "log", "nice": False}
        axis = {"values": _DECADES, "labelExpr": _SHORT, "grid": False}
        across = {"field": "layer", "type": "quantitative", "title": called}
        across |= {"scale": scale, "axis": axis}
    number = ".4g" if called else "d"
    told = [
        tip("name", "What"),
        tip("layer", called or "Layer", number),
        tip("value", "Value", ".4g"),
    ]
    drawn: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 1.8},
            "encoding": {
                "strokeDash": {"field": "name", "type": "nominal", "scale": dashes, "legend": None}
            },
        },
        {"mark": {"type": "point", "filled": True, "size": 34, "opacity": 1}},
    ]
    for layer in drawn:
        layer["encoding"] = {
            "x": across,
            "y": y,
            "color": colour,
            "tooltip": told,
            **layer.get("encoding", {}),
        }
    ends = names("name", y, colour)
    drawn += [{**each, "encoding": {"x": across, **each["encoding"]}} for each in ends]
    return Chart(rows, {**BASE, "title": title, "layer": drawn}, reading, 280)
