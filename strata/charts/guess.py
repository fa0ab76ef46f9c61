"""A learner's guess over a figure: a line where a layer or value was guessed, or a drawn curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from strata.charts.common import LABEL, Chart, Spec

GUESS = "#c2185b"


@dataclass(frozen=True)
class Guess:
    """Where a guess lies on the figure of that key: a value on an axis, a band (two values), or a
    curve of (layer, value) points."""

    figure: str
    axis: str
    values: tuple[float, ...] = ()
    points: tuple[tuple[int, float], ...] = ()


def with_guess(chart: Chart, guess: Guess) -> Chart:
    """The chart with the guess over it, in a colour of its own, named in the subtitle."""
    spec = dict(chart.spec)
    if "layer" not in spec:  # a single view becomes the first of several
        single: Spec = {
            name: spec.pop(name) for name in ("mark", "encoding", "transform") if name in spec
        }
        params = spec.pop("params", [])
        single["params"] = [param for param in params if "select" in param]
        spec["params"] = [param for param in params if "select" not in param]
        spec["layer"] = [single]
        shared: Spec = single.get("encoding", {})
    else:
        shared = spec.get("encoding", {})
    of_the_marks = {channel: None for channel in shared if channel not in ("x", "y")}
    marks = _marks(guess, _first_encodings(spec, shared))
    marks = [{**mark, "encoding": {**of_the_marks, **mark["encoding"]}} for mark in marks]
    layers = [*spec["layer"], *marks]
    title = spec.get("title")
    text = title if isinstance(title, str) else (title or {}).get("text", "")
    more = title if isinstance(title, dict) else {}
    lines = more.get("subtitle", [])
    lines = [lines] if isinstance(lines, str) else list(lines)
    spec["title"] = {
        "subtitleColor": LABEL,
        **more,
        "text": text,
        "subtitle": ["Your guess is in magenta", *lines],
    }
    return replace(chart, spec={**spec, "layer": layers})


def _first_encodings(spec: Spec, shared: Spec) -> Spec:
    """The x and y that the figure's marks have, from the first that has them."""
    found: Spec = {}
    for channel in ("x", "y"):
        candidates = [shared, *(layer.get("encoding", {}) for layer in spec["layer"])]
        found[channel] = next((e[channel] for e in candidates if e.get(channel)), {})
    return found


def _marks(guess: Guess, axes: Spec) -> list[Spec]:
    if guess.points:
        rows = [{"guess_x": layer, "guess_y": value} for layer, value in guess.points]
        drawn = {"x": _channel("x", axes, "guess_x"), "y": _channel("y", axes, "guess_y")}
        line = {"type": "line", "color": GUESS, "strokeWidth": 3, "strokeDash": [6, 4]}
        dots = {"type": "point", "color": GUESS, "filled": True, "size": 70, "opacity": 1}
        return [_layer(rows, line, drawn), _layer(rows, dots, drawn)]
    rows = [{"guess": value} for value in guess.values]
    other = "y" if guess.axis == "x" else "x"
    mark = {"type": "rule", "color": GUESS, "strokeWidth": 3, "strokeDash": [6, 4]}
    encoding: Spec = {guess.axis: _channel(guess.axis, axes, "guess"), other: None}
    return [_layer(rows, mark, encoding)]


def _channel(channel: str, axes: Spec, field: str) -> Spec:
    """The figure's own axis, of another field; so axes and titles stay as they are."""
    kept = {k: v for k, v in axes[channel].items() if k in ("title", "axis", "scale")}
    return {"type": "quantitative", **kept, "field": field}


def _layer(rows: Sequence[dict[str, Any]], mark: Spec, encoding: Spec) -> Spec:
    return {"data": {"values": list(rows)}, "mark": mark, "encoding": encoding}
