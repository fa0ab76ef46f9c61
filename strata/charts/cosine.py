"""Matrices of cosines, on one scale of colours that says its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import pandas as pd

from strata.charts.common import (
    BASE,
    MAGNITUDE,
    NO_GAPS,
    SIGNED,
    Chart,
    Spec,
    tip,
)

COLOURS = AUTOMATIC, FULL, BY_HAND = "Automatic", "−1 to 1", "By hand"


@dataclass(frozen=True)
class Colours:
    """From which to which cosine the colours go, and how that was chosen."""

    low: float
    high: float
    chosen: str

    def legend(self, cosines: pd.Series) -> str:
        """What the legend says above these cells, so that none is clipped silently."""
        text = f"Cosine ({self.chosen[0].lower()}{self.chosen[1:]}"
        if self.chosen != FULL:
            text += f", {self.low:g} to {self.high:g}".replace("-", "−")
        n_beyond = int(((cosines < self.low) | (cosines > self.high)).sum())
        if n_beyond:
            cells = "1 cell is" if n_beyond == 1 else f"{n_beyond:,} cells are"
            text += f"; {cells} beyond, in the end colours"
        return text + ")"

    @property
    def scale(self) -> Spec:
        """Neutral at zero where cosines may be negative, otherwise a scale for sizes."""
        if self.low >= 0:
            domain = [self.low, self.high]
            return {"scheme": MAGNITUDE, "domain": domain, "clamp": True, "zero": False}
        most = max(-self.low, self.high)
        places = np.linspace(-most, most, len(SIGNED))
        between = [place for place in places if self.low < place < self.high]
        stops = [self.low, *between, self.high]
        mixed = [
            np.interp(stops, places, channel) for channel in zip(*map(_rgb, SIGNED), strict=True)
        ]
        return {
            "domain": stops,
            "range": [f"rgb({r:.0f}, {g:.0f}, {b:.0f})" for r, g, b in zip(*mixed, strict=True)],
            "clamp": True,
        }


def colours(
    cosines: pd.Series, chosen: str = AUTOMATIC, by_hand: tuple[float, float] = (-1, 1)
) -> Colours:
    """Colours for these cosines: their own range (in hundredths), the full one, or one by hand."""
    low, high = (-1.0, 1.0) if chosen == FULL else by_hand
    if chosen == AUTOMATIC:
        least, most = (0, 1) if cosines.isna().all() else (cosines.min(), cosines.max())
        low, high = floor(least * 100 + 1e-9) / 100, ceil(most * 100 - 1e-9) / 100
    if low == high:  # a scale needs two ends
        low, high = max(-1.0, low - 0.01), min(1.0, high + 0.01)
    return Colours(low, high, chosen)


def _rgb(colour: str) -> list[int]:
    return [int(colour[at : at + 2], 16) for at in (1, 3, 5)]


_BAR: Spec = {
    **BASE,
    "mark": {"type": "rect"},
    "encoding": {
        "x": {
            "field": "cosine",
            "type": "quantitative",
            "title": "Cosine",
            "axis": {"grid": False, "tickCount": 7, "labelFlush": True, "labelFlushOffset": -3},
        },
        "x2": {"field": "end"},
        "tooltip": [tip("cosine", "Cosine", ".3f")],
    },
}


def colour_bar(scale: Colours, cosines: pd.Series) -> Chart:
    """The legend of several matrices that hold these cosines, as a figure of its own."""
    edges = np.linspace(scale.low, scale.high, 101)
    limits = {"domain": [scale.low, scale.high], "nice": False}
    encoding = {
        **_BAR["encoding"],
        "x": {**_BAR["encoding"]["x"], "scale": limits},
        "color": {"field": "cosine", "type": "quantitative", "scale": scale.scale, "legend": None},
    }
    frame = pd.DataFrame({"cosine": edges[:-1], "end": scale.high})  # overlaid: without seams
    words = f"Colours of cosines from {scale.low:g} to {scale.high:g}."
    title = {"text": scale.legend(cosines), "fontSize": 13, "fontWeight": "normal", "offset": 6}
    return Chart(frame, {**_BAR, "title": title, "encoding": encoding}, words, 100)


def _axis(field: str, title: str, **more: Any) -> Spec:
    return {
        "field": field,
        "type": "ordinal",
        "title": title,
        "axis": {
            "labelExpr": "labels[datum.value]",
            "labelOverlap": True,
            "labelLimit": 90,
            "ticks": False,
            "domain": False,
            "grid": False,
            **more,
        },
        "scale": NO_GAPS,
    }


def _matrix(noun: str, other: str, angle: int) -> Spec:
    return {
        **BASE,
        "mark": {"type": "rect"},
        "usermeta": {"embedOptions": {"renderer": "canvas"}},
        "transform": [
            {"calculate": "labels[datum.a]", "as": "label_a"},
            {"calculate": "labels[datum.b]", "as": "label_b"},
            {"calculate": "of", "as": "of"},
        ],
        "encoding": {
            "x": _axis("a", noun, labelAngle=angle),
            "y": _axis("b", noun),
            "tooltip": [
                tip("label_a", noun),
                tip("label_b", f"Other {noun.lower()}"),
                tip("of", other),
                tip("cosine", "Cosine", ".4f"),
            ],
        },
    }


_LAYERS, _TOKENS = _matrix("Layer", "Token", 0), _matrix("Token", "Layer", -60)


def _cells(
    form: Spec, cells: pd.DataFrame, title: str, scale: Colours, large: bool, **params: Any
) -> Spec:
    """The spec of one matrix of columns a, b, cosine; a small one has no legend of its own."""
    legend = {
        "title": scale.legend(cells["cosine"]),
        "titleLimit": 600,
        "orient": "top",
        "gradientLength": 320,
    }
    encoding = {
        **form["encoding"],
        "color": {
            "field": "cosine",
            "type": "quantitative",
            "scale": scale.scale,
            "legend": legend if large else None,
        },
    }
    domain = sorted(int(number) for number in cells["a"].unique())
    for name in ("x", "y"):
        axis = dict(encoding[name]["axis"])
        if "ticks" in params:
            axis["values"], domain = params["ticks"], list(range(domain[-1] + 1))
        if not large:
            axis |= {"labelLimit": 56, "labelFontSize": 11, "titleFontSize": 11}
        encoding[name] = {
            **encoding[name],
            "axis": axis,
            "scale": {**NO_GAPS, "domain": domain if name == "x" else domain[::-1]},
        }
    cell = {"band": 1 + len(domain) / (700 if large else 250)}  # overlaps, which closes the seams
    mark = {**form["mark"], "width": cell, "height": cell}
    values = [{"name": name, "value": value} for name, value in params.items() if name != "ticks"]
    return {**form, "title": title, "mark": mark, "encoding": encoding, "params": values}


def layer_matrices(
    frame: pd.DataFrame,
    claimed: Sequence[int],
    labels: Sequence[str],
    scale: Colours,
    reading: str,
) -> list[Chart]:
    """Each token's states at every two layers; a single token is drawn large. Columns: position,
    layer_a, layer_b, cosine.

    `claimed` are the positions that the titles name; a title says so where it is another one.
    `labels` has one for each position. The last layer is the state after the final norm, and
    stands apart.
    """
    last, large = int(frame["layer_a"].max()), len(claimed) == 1  # last: L + 1
    a, b = (frame[name].where(frame[name] < last, last + 1) for name in ("layer_a", "layer_b"))
    numbers = [*map(str, range(last)), "", "norm"]
    step = 2 if large and last < 40 else 10
    ticks = [*range(0, last if large else last - 2, step), last + 1]
    charts = []
    groups = frame.assign(a=a, b=b).groupby("position")[["a", "b", "cosine"]]
    for claim, (position, cells) in zip(claimed, groups, strict=True):
        title, token = f"Token {_title(labels, claim, position)}", labels[position]
        spec = _cells(_LAYERS, cells, title, scale, large, labels=numbers, of=token, ticks=ticks)
        charts.append(Chart(cells, spec, reading, 640 if large else 290))
    return charts


def token_matrices(
    frame: pd.DataFrame,
    claimed: Sequence[int],
    names: Sequence[str],
    labels: Sequence[str],
    scale: Colours,
    reading: str,
) -> list[Chart]:
    """Every two tokens at each layer; a single layer is drawn large. Columns: layer, position_a,
    position_b, cosine.

    `claimed` are the layers that the titles name; a title says so where it is another one. `names`
    has one for each layer, `labels` one for each position.
    """
    large, charts = len(claimed) == 1, []
    cells_of = frame.rename(columns={"position_a": "a", "position_b": "b"}).groupby("layer")
    for claim, (layer, cells) in zip(claimed, cells_of[["a", "b", "cosine"]], strict=True):
        title, name = _title(names, claim, layer).capitalize(), names[layer]
        spec = _cells(_TOKENS, cells, title, scale, large, labels=list(labels), of=name)
        charts.append(Chart(cells, spec, reading, 640 if large else 320))
    return charts


def _title(names: Sequence[str], claimed: int, really: int) -> str:
    return names[claimed] + ("" if claimed == really else f" (really {names[really]})")
