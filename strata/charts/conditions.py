"""Conditions of a set of prompts, compared layer by layer: means with their intervals, and what
lies between two of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd

from strata.charts.common import ACCENT, BASE, LABEL, LAYER_AXIS, MUTED, ROOM, Chart, Spec, tip

# Apart for colour-blind eyes, on light and dark ground.
CONDITIONS = ("#d0761b", "#4f79dd", "#2a9d8f", "#b5489a", "#8a8f98", "#9a9138")
_WIDE = 10.0  # times as large as what is usual: from there on an axis is logarithmic beyond 1
_TICKS = [s * 10**n for n in range(6) for s in (1, -1)]


def value_axis(values: np.ndarray, title: str | Sequence[str], *, best_first: bool = False) -> Spec:
    """The vertical axis of these values: linear, or logarithmic where a few are far larger."""
    size = np.abs(values[np.isfinite(values)])
    scale: Spec = {"zero": False, "nice": 4}
    axis: Spec = {"tickCount": 5}
    if len(size) and size.max() > 20 and size.max() > _WIDE * np.median(size):
        scale = {"type": "symlog"}
        axis = {"values": [0, *_TICKS], "format": "~s", "labelOverlap": "greedy"}
    if best_first:
        scale = {**scale, "reverse": True}
    named = title if isinstance(title, str) else list(title)
    return {"type": "quantitative", "title": named, "scale": scale, "axis": axis}


@cache
def _colour(names: tuple[str, ...]) -> Spec:
    columns = {"expr": f"{ROOM} < 410 ? 1 : {len(names)}"}
    return {
        "field": "condition",
        "type": "nominal",
        "scale": {"domain": list(names), "range": list(CONDITIONS[: len(names)])},
        "legend": {
            "title": None,
            "orient": "top",
            "columns": columns,
            "labelLimit": 220,
            "symbolOpacity": 1,
            "symbolType": "stroke",
            "symbolStrokeWidth": 3,
        },
    }


def by_condition(
    means: pd.DataFrame,
    lines: pd.DataFrame | None,
    title: str,
    noun: str,
    reading: str,
    *,
    best_first: bool = False,
) -> Chart:
    """A number by layer as the mean of each condition, in a band that is its interval; `lines`:
    prompts as thin ones, which a click chooses, or dashed where they are followed. `noun` names the
    number at its axis, which goes down where the least is `best_first`.

    Columns of `means`: condition, layer, mean, low, high, n. Of `lines`: row, condition, layer,
    value, prompt (as it is shown), followed.
    """
    rows = means.rename(columns={"mean": "value"}).assign(kind="mean", row=-1, prompt="")
    if lines is not None:
        kinds = lines["followed"].map({True: "followed", False: "prompt"})
        lines = lines.drop(columns="followed").assign(kind=kinds)
        rows = pd.concat([rows, lines], ignore_index=True)
    y = value_axis(
        rows[["value", "low", "high"]].to_numpy(float).ravel(), noun, best_first=best_first
    )
    colour = _colour(tuple(dict.fromkeys(means["condition"])))
    mean, prompt, followed = (
        [{"filter": f"datum.kind == '{kind}'"}] for kind in ("mean", "prompt", "followed")
    )
    tips = [tip("condition", "Condition"), tip("layer", "Layer", "d")]
    band: Spec = {
        "transform": mean,
        "mark": {"type": "area", "opacity": 0.22},
        "encoding": {"y": {"field": "low", **y}, "y2": {"field": "high"}, "color": colour},
    }
    thin: Spec = {
        "transform": prompt,
        "params": [
            {"name": "chosen", "select": {"type": "point", "fields": ["row"], "toggle": False}}
        ],
        "mark": {"type": "line", "strokeWidth": 1.4, "opacity": 0.45, "cursor": "pointer"},
        "encoding": {
            "y": {"field": "value", **y},
            "color": colour,
            "detail": {"field": "row", "type": "nominal"},
            "tooltip": [tip("prompt", "Prompt"), *tips, tip("value", "Value", ".5g")],
        },
    }
    dashed: Spec = {
        "transform": followed,
        "mark": {"type": "line", "strokeWidth": 2.2, "strokeDash": [5, 3]},
        "encoding": thin["encoding"],
    }
    line: Spec = {
        "transform": mean,
        "mark": {"type": "line", "strokeWidth": 2.6, "point": {"size": 22, "opacity": 1}},
        "encoding": {
            "y": {"field": "value", **y},
            "color": colour,
            "tooltip": [
                *tips,
                tip("value", "Mean", ".5g"),
                tip("low", "From", ".5g"),
                tip("high", "to", ".5g"),
                tip("n", "Prompts", "d"),
            ],
        },
    }
    spec = {
        **BASE,
        "title": title,
        "encoding": {"x": LAYER_AXIS},
        "layer": [
            band,
            # The browser complains of a layer without rows.
            *([thin] if (rows["kind"] == "prompt").any() else []),
            line,
            *([dashed] if (rows["kind"] == "followed").any() else []),
        ],
    }
    return Chart(rows, spec, reading, 330)


def differences(
    frame: pd.DataFrame, title: str, noun: str, ends: str, reading: str, *, last: int | None = None
) -> Chart:
    """How far one condition is above another at each layer, with its interval; layers that stand
    out in colour. `noun` names the number, `ends` the two ("a less b"). `last`: the layer as far as
    which the axis goes, where the rows are of some layers only.

    Columns: layer, difference, low, high, p, p_layers, survives.
    """
    y = value_axis(frame[["difference", "low", "high"]].to_numpy(float).ravel(), [noun, ends])
    colour = {"condition": {"test": "datum.survives", "value": ACCENT}, "value": MUTED}
    zero: Spec = {
        "mark": {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL},
        "encoding": {"x": None, "y": {"datum": 0, "type": "quantitative"}},  # from end to end
    }
    x = LAYER_AXIS
    if last is not None:
        x = {**x, "scale": {**x["scale"], "domain": [0, last]}}
    spec = {
        **BASE,
        "title": title,
        "encoding": {"x": x},
        "layer": [
            zero,
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {
                    "y": {"field": "low", **y},
                    "y2": {"field": "high"},
                    "color": colour,
                },
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": {
                    "y": {"field": "difference", **y},
                    "color": colour,
                    "shape": {
                        "condition": {"test": "datum.survives", "value": "diamond"},
                        "value": "circle",
                    },
                    "tooltip": [
                        tip("layer", "Layer", "d"),
                        tip("difference", "Difference", "+.5g"),
                        tip("low", "From", "+.4g"),
                        tip("high", "to", "+.4g"),
                        tip("p", "p-value, this layer", ".4f"),
                        tip("p_layers", "p-value, any layer", ".4f"),
                    ],
                },
            },
        ],
    }
    return Chart(frame, spec, reading, 280)
