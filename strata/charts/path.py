"""Paths: how tokens travel over a map of states, layer by layer."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import BASE, DEPTH, LABEL, Chart, Spec, depth, scale_of, tip

_PLAYED = {"filter": "datum.layer <= upto"}
_FADED = {"condition": {"param": "hover", "value": 0.95}, "value": 0.12}
_SORT = [{"field": "layer"}]
_NEXT: Spec = {  # where the next layer is
    "window": [{"op": "lead", "field": name, "as": f"{name}2"} for name in ("x", "y")],
    "groupby": ["path"],
    "sort": _SORT,
}
_HOVER: Spec = {
    "name": "hover",
    "select": {"type": "point", "fields": ["path"], "on": "pointerover", "clear": "pointerout"},
}


def paths(
    frame: pd.DataFrame,
    title: str,
    reading: str,
    *,
    n_layers: int,
    within: pd.DataFrame | None = None,
) -> Chart:
    """Each token's path in the depth colours, its name where it begins and ends, a slider that
    plays the layers. Columns: path (one for each), label, layer, x, y.

    `within` is the whole map (x, y), of which `frame` may hold a part: it sets the limits. The axes
    of such a map mean nothing, so there are none.
    """
    first, last = int(frame["layer"].min()), int(frame["layer"].max())
    colour = depth(
        scale=scale_of(DEPTH, domain=[0, n_layers]),
        legend={"title": "Layer", "orient": "bottom", "gradientLength": 220, "tickCount": 6},
    )
    spec = {
        **BASE,
        "title": title,
        "params": [
            {
                "name": "upto",
                "value": last,
                "bind": {
                    "input": "range",
                    "min": first,
                    "max": last,
                    "step": 1,
                    "name": "Play the layers: ",
                },
            }
        ],
        "encoding": _position(frame if within is None else within),
        "layer": [
            {
                "transform": [_NEXT, {"filter": "datum.layer < upto && isValid(datum.x2)"}],
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
                "transform": [_PLAYED],
                "mark": {"type": "point", "filled": True, "size": 30},
                "encoding": {
                    "color": colour,
                    "opacity": _FADED,
                    "tooltip": [tip("label", "Token"), tip("layer", "Layer", "d")],
                },
            },
            _names(f"datum.layer == {first}", "normal", -9),
            _names("datum.layer == upto", "bold", 9),
        ],
    }
    return Chart(frame, spec, reading, 540)


def _position(frame: pd.DataFrame) -> Spec:
    """Positions without axes, with room for the names at the edges."""
    encoding: Spec = {}
    for name, room in (("x", 0.08), ("y", 0.05)):
        low, high = float(frame[name].min()), float(frame[name].max())
        edge = room * (high - low or 1.0)
        scale = {"domain": [low - edge, high + edge], "nice": False, "zero": False}
        encoding[name] = {"field": name, "type": "quantitative", "axis": None, "scale": scale}
    return encoding


def _names(which: str, weight: str, below: int) -> Spec:
    return {
        "transform": [{"filter": which}],
        "mark": {
            "type": "text",
            "dy": below,
            "fontSize": 12,
            "fontWeight": weight,
            "color": LABEL,
            "tooltip": False,
        },
        "encoding": {"text": {"field": "label"}, "opacity": _FADED},
    }
