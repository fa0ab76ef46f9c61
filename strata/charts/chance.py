"""A number by layer beside what chance gives."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from strata.charts.common import BASE, LAYER_AXIS, MUTED, Chart, Spec, depth, tip
from strata.charts.conditions import value_axis


def beside_chance(
    frame: pd.DataFrame,
    title: str,
    noun: str | Sequence[str],
    reading: str,
    *,
    best_first: bool = False,
    points: str = "Points: this run",
) -> Chart:
    """A number by layer, in a band that holds 90% of what chance gave, with its middle dashed;
    `noun` names the number at its axis, which goes down where the least is `best_first`; `points`
    says what they are of. Before anything is drawn the band is missing. Of a single row, which is
    no number by layer, the band is a bar.

    Columns: layer, value, low, middle, high.
    """
    values = frame[["value", "low", "middle", "high"]].to_numpy(float).ravel()
    y = value_axis(values, noun, best_first=best_first)
    single, drawn = len(frame) == 1, bool(frame["middle"].notna().any())  # else it has no ends
    mark: Spec = {"type": "bar", "width": 60} if single else {"type": "area"}
    band: Spec = {
        "mark": {**mark, "color": MUTED, "opacity": 0.3},
        "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}},
    }
    line: Spec = {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.5, "color": MUTED}
    tick: Spec = {"type": "tick", "width": 60, "thickness": 2, "color": MUTED}
    middle: Spec = {
        "mark": tick if single else line,
        "encoding": {"y": {"field": "middle", **y}},
    }
    told = [tip("low", "Chance, from", ".5g"), tip("middle", "median", ".5g")]
    dots: Spec = {
        "mark": {"type": "point", "filled": True, "size": 50, "opacity": 1},
        "encoding": {
            "y": {"field": "value", **y},
            "color": depth(),
            "tooltip": [
                *([] if single else [tip("layer", "Layer", "d")]),
                tip("value", "Value", ".5g"),
                *told,
                tip("high", "to", ".5g"),
            ],
        },
    }
    own: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.5, "color": MUTED},
        "encoding": {"y": {"field": "value", **y}},
    }
    x = {"field": "layer", "type": "ordinal", "axis": None} if single else LAYER_AXIS
    titled = {
        "text": title,
        "subtitle": f"{points}. Grey: 90% of the draws; dashed, their median",
    }
    spec = {
        **BASE,
        "title": titled,
        "encoding": {"x": x},
        "layer": [*([band, middle] if drawn else []), *([] if single else [own]), dots],
    }
    return Chart(frame, spec, reading, 320)
