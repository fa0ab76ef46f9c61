"""A learner's guess over a figure: a line where a layer or value was guessed, a drawn curve, the
bar of a guessed token, or those of the figure's own marks that were guessed."""

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
Ranges = dict[str, tuple[float, float]]  # by column, ends included


@dataclass(frozen=True)
class GuessedToken:
    """A guessed next token: its id, how it is shown, how many tokens are likelier (0 is best), and
    its probability. `begins`: the guessed word, shown, where that is several tokens and this is its
    first."""

    token_id: int
    label: str
    rank: int
    prob: float
    begins: str = ""


@dataclass(frozen=True)
class Guess:
    """Where a guess lies on the figure of that key: a value on an axis, a band (two values), how
    many of the first bars (the axis "count"), a curve of (layer, value) points, a next token among
    bars, or a token of the prompt by its position. `at` is the position that was asked about."""

    figure: str
    axis: str
    values: tuple[float, ...] = ()
    points: tuple[tuple[int, float], ...] = ()
    token: GuessedToken | None = None
    position: int | None = None
    at: int | None = None


def with_guess(chart: Chart, guess: Guess) -> Chart:
    """The chart with the guess over it, in a colour of its own, named in the subtitle. A token that
    is not among the bars gets one; a figure without bars of tokens, or without marks of what was
    guessed, stays as it is."""
    if guess.token is not None and "token_id" in chart.frame:
        chart = _with_bar(chart, guess.token)
    outlined = _outlined(chart, guess)
    if outlined is not None and not _are(chart.frame, outlined).any():
        return chart
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
    axes = _first_encodings(spec, shared)
    marks = _marks(guess, axes) if outlined is None else _around(outlined, axes, spec["layer"])
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
    """A guessed token, or how many, in words."""
    if guess.axis == "count":
        return [f"the first {guess.values[0]:.0f}"]
    token = guess.token
    if token is None:
        return []
    return [
        f"“{token.label}”{f' of “{token.begins}”' * bool(token.begins)}, "
        f"{display_percent(token.prob, 2)}",
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


def _outlined(chart: Chart, guess: Guess) -> Ranges | None:
    """By which columns, and from what to what, a guess names marks that the figure has already;
    None where it is drawn as marks of its own."""
    if guess.token is not None:
        return {"token_id": (guess.token.token_id, guess.token.token_id)}
    if guess.axis == "count":
        return {"order": (0, guess.values[0] - 1)}
    if guess.position is not None and {"a", "b"} <= set(chart.frame):  # a matrix of tokens
        asked = (-1, -1) if guess.at is None else (guess.at, guess.at)
        return {"a": asked, "b": (guess.position, guess.position)}
    if guess.position is not None:
        return {"position": (guess.position, guess.position)}
    if guess.values and guess.axis == "y" and _has_layers_as_rows(chart):
        layers: Ranges = {"layer": (min(guess.values), max(guess.values))}
        return layers if guess.at is None else {**layers, "position": (guess.at, guess.at)}
    return None


def _has_layers_as_rows(chart: Chart) -> bool:
    row = chart.spec.get("encoding", {}).get("y", {})
    return row.get("field") == "layer" and row.get("type") == "ordinal"


def _are(frame: pd.DataFrame, ranges: Ranges) -> pd.Series:
    """Which rows are in all of these ranges."""
    found = pd.Series(True, frame.index)
    for name, (low, high) in ranges.items():
        found &= frame[name].between(low, high) if name in frame else False
    return found


def _around(ranges: Ranges, axes: Spec, layers: Sequence[Spec]) -> list[Spec]:
    """An outline of each of the figure's marks in these ranges."""
    only = [{"filter": {"field": name, "range": [*ends]}} for name, ends in ranges.items()]
    first = layers[0].get("mark")
    bar = (first if isinstance(first, str) else (first or {}).get("type")) == "bar"
    mark = {"type": "bar" if bar else "rect", "fillOpacity": 0, "stroke": GUESS}
    mark["strokeWidth"] = 3 if bar else 2
    return [{"transform": only, "mark": mark, "encoding": axes}]


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
