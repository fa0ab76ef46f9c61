"""A learner's guess over a figure: a line where a layer or value was guessed, a drawn curve, or the
bar of a guessed token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from strata.charts.common import LABEL, Chart, Spec
from strata.charts.titled import BETWEEN
from strata.display.tokens import display_percent, distinct

GUESS = "#c2185b"


@dataclass(frozen=True)
class GuessedToken:
    """A guessed next token: its id, how it is shown, how many tokens are likelier (0 is best), and
    its probability."""

    token_id: int
    label: str
    rank: int
    prob: float


@dataclass(frozen=True)
class Guess:
    """Where a guess lies on the figure of that key: a value on an axis, a band (two values), a
    curve of (layer, value) points, a next token among bars, or the position of a token in a column
    of cells."""

    figure: str
    axis: str
    values: tuple[float, ...] = ()
    points: tuple[tuple[int, float], ...] = ()
    token: GuessedToken | None = None
    position: int | None = None


def with_guess(chart: Chart, guess: Guess) -> Chart:
    """The chart with the guess over it, in a colour of its own, named in the subtitle. A token that
    is not among the bars gets one; a figure without bars of tokens, or without cells of the
    position, stays as it is."""
    if (
        guess.position is not None
        and not (chart.frame.get("position", pd.Series()) == guess.position).any()
    ):
        return chart
    if guess.token is not None:
        if "token_id" not in chart.frame:
            return chart
        chart = _with_bar(chart, guess.token)
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
    layers = _below_numbers(spec["layer"], marks)
    title = spec.get("title")
    text = title if isinstance(title, str) else (title or {}).get("text", "")
    more = title if isinstance(title, dict) else {}
    lines = more.get("subtitle", [])
    lines = [lines] if isinstance(lines, str) else list(lines)
    spec["title"] = {
        "subtitleColor": LABEL,
        **more,
        "text": text,
        "subtitle": [BETWEEN.join(["Your guess is in magenta", *_named(guess)]), *lines],
    }
    return replace(chart, spec={**spec, "layer": layers})


def _below_numbers(layers: Sequence[Spec], marks: Sequence[Spec]) -> list[Spec]:
    """The layers with these marks over them, but below what is written beside the figure's own
    marks: a close guess goes right through it. The figure's ground lies between."""
    first = next((n for n, each in enumerate(layers) if _is_text(each)), len(layers))
    ground = [
        {**each, "mark": {**each["mark"], "stroke": {"expr": "background"}, "strokeWidth": 5}}
        for each in layers
        if _is_text(each)
    ]
    return [*layers[:first], *marks, *ground, *layers[first:]]


def _is_text(layer: Spec) -> bool:
    return isinstance(mark := layer.get("mark"), dict) and mark.get("type") == "text"


def _named(guess: Guess) -> list[str]:
    """A guessed token in words."""
    token = guess.token
    if token is None:
        return []
    return [
        f"“{token.label}”, {display_percent(token.prob, 2)}",
        "no token is likelier" if not token.rank else f"after {token.rank:,} likelier",
    ]


def _with_bar(chart: Chart, token: GuessedToken) -> Chart:
    """The chart of bars with one for this token, below the others unless it is among them, and dots
    where tokens lie between. Columns: token_id, label, order."""
    frame = chart.frame
    if token.token_id in set(frame["token_id"]):
        return chart
    facts = {
        "token_id": token.token_id,
        "label": distinct([*frame["label"], token.label])[-1],
        "order": max(token.rank, len(frame)),
        "rank": token.rank,
        "value": token.prob,
        "prob": token.prob,
        "number": display_percent(token.prob),
        "logprob": math.log(token.prob) if token.prob else -math.inf,
        "chosen": False,
    }
    gap = {"token_id": -1, "label": "⋮", "order": len(frame) - 0.5, "number": "", "chosen": False}
    rows = [gap, facts] if token.rank > len(frame) else [facts]
    row = {name: [each.get(name) for each in rows] for name in frame.columns}
    added = pd.DataFrame(row).astype(
        {n: kind for n, kind in frame.dtypes.items() if n != "order" and None not in row[str(n)]}
    )
    room = (chart.height - 90) // max(1, len(frame)) * len(rows)  # of a bar
    frame = pd.concat([frame, added], ignore_index=True)
    return replace(chart, frame=frame, height=chart.height + room)


def _first_encodings(spec: Spec, shared: Spec) -> Spec:
    """The x and y that the figure's marks have, from the first that has them."""
    found: Spec = {}
    for channel in ("x", "y"):
        candidates = [shared, *(layer.get("encoding", {}) for layer in spec["layer"])]
        found[channel] = next((e[channel] for e in candidates if e.get(channel)), {})
    return found


def _marks(guess: Guess, axes: Spec) -> list[Spec]:
    if guess.position is not None:
        cell = {"type": "rect", "fillOpacity": 0, "stroke": GUESS, "strokeWidth": 2}
        only = {"filter": {"field": "position", "equal": guess.position}}
        return [{"transform": [only], "mark": cell, "encoding": axes}]
    if guess.token is not None:
        bar = {"type": "bar", "fillOpacity": 0, "stroke": GUESS, "strokeWidth": 3}
        only = {"filter": {"field": "token_id", "equal": guess.token.token_id}}
        return [{"transform": [only], "mark": bar, "encoding": axes}]
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
