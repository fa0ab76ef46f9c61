"""Distributions: a histogram with a density over it, parts by layer, dimensions, quantiles."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from strata.charts.common import ACCENT, BASE, DEPTH, LAYER_AXIS, MUTED, ROOM, Chart, Spec, tip
from strata.charts.direct import names, with_names

RED = "#d1495b"  # the chosen pair, as in the seed
PARTS = ("residual stream", "attention writes", "MLP writes")
_CUT = "The curve is cut: it goes on above"
_APART = 0.13  # heights of the axis that the name of a line takes
_TALLEST = 4.0  # a baseline may be this many times as high as the histogram, then it is cut

_NAMES = ["pairs of states", "random directions", "chosen pair"]
_WHICH: Spec = {
    "field": "which",
    "type": "nominal",
    "scale": {"domain": _NAMES, "range": [DEPTH[1], ACCENT, RED]},
    "legend": {"orient": "top", "title": None, "columns": {"expr": f"{ROOM} < 450 ? 2 : 3"}},
}


def _layer(kind: str, mark: Spec, encoding: Spec, name: str) -> Spec:
    return {
        "transform": [
            {"filter": f"datum.kind == '{kind}'"},
            {"calculate": f"'{name}'", "as": "which"},
        ],
        "mark": mark,
        "encoding": {**encoding, "color": _WHICH},
    }


@cache
def _histogram(low: float, high: float, top: float, small: bool) -> Spec:
    x: Spec = {
        "type": "quantitative",
        "title": "Cosine of a pair",
        # Without it the last number would be cut at the edge of a small figure, or of a phone.
        "scale": {"domain": [low, high], "nice": False, "padding": 12},
        "axis": {"tickCount": 5 if small else 9},
    }
    y: Spec = {
        "field": "density",
        "type": "quantitative",
        "title": "Density",
        "scale": {"domain": [0, top], "nice": True},
        "axis": {"tickCount": 4},
    }
    spec: Spec = {
        **BASE,
        "layer": [
            _layer(
                "bin",
                {"type": "bar", "binSpacing": 0, "opacity": 0.75, "clip": True},
                {
                    "x": {**x, "field": "left", "bin": "binned"},
                    "x2": {"field": "right"},
                    "y": y,
                    "tooltip": [
                        tip("left", "Cosine from", ".4f"),
                        tip("right", "to", ".4f"),
                        tip("count", "Pairs", ",d"),
                        tip("density", "Density", ".3f"),
                    ],
                },
                _NAMES[0],
            ),
            _layer(
                "line",
                {"type": "line", "strokeWidth": 2, "clip": True},
                {"x": {**x, "field": "left"}, "y": y},
                _NAMES[1],
            ),
            _layer(
                "spike",
                {"type": "rule", "strokeWidth": 4},
                {"x": {**x, "field": "left"}},
                _NAMES[1],
            ),
            _layer(
                "pair",
                {"type": "rule", "strokeWidth": 2, "clip": True},
                {"x": {**x, "field": "left"}, "tooltip": [tip("left", "Cosine", ".4f")]},
                _NAMES[2],
            ),
        ],
    }
    if small:
        for layer in spec["layer"]:
            layer["encoding"]["color"] = {**layer["encoding"]["color"], "legend": None}
    return spec


def histogram(
    bins: pd.DataFrame,
    baseline: pd.DataFrame,
    pair: float | None,
    title: str,
    reading: str,
    *,
    small: bool = False,
) -> Chart:
    """How cosines are spread, and the density of random directions over it.

    `bins` has columns left, right, count, density; `baseline` cosine and density, and a density
    that is missing marks a spike. `pair`: the cosine of the chosen pair. A baseline far higher than
    the histogram is cut at the top.
    """
    spike = baseline["density"].isna()
    line = baseline.rename(columns={"cosine": "left"}).assign(kind="line")
    line.loc[spike, "kind"] = "spike"
    pieces = [bins.assign(kind="bin"), line]
    if pair is not None:
        pieces.append(pd.DataFrame({"left": [pair], "kind": ["pair"]}))
    highest = float(bins["density"].max())
    drawn = min(max(highest, float(baseline["density"].fillna(0).max())), _TALLEST * highest)
    ends = float(bins["left"].min()), float(bins["right"].max())
    spec = _histogram(*ends, round(1.05 * drawn, 3), small)
    frame = pd.concat(pieces, ignore_index=True)
    cut = bool(baseline["density"].max() > drawn)
    named = {"text": title, "subtitle": _CUT} if cut else title
    return Chart(frame, {**spec, "title": named}, reading, 260 if small else 400)


def _by_part(title: str, noun: str, chosen: int, log: bool) -> Spec:
    y: Spec = {
        "field": "value",
        "type": "quantitative",
        "title": noun,
        "axis": {"values": [3, 10, 30, 100, 300, 1000, 3000, 10_000]} if log else {"tickCount": 4},
        "scale": {"type": "log", "nice": False} if log else {"zero": True},
    }
    part: Spec = {
        "field": "name",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(PARTS), "range": [MUTED, ACCENT, DEPTH[1]]},
        "legend": None,
    }
    ends = names("name", y, part)
    shape = {**part, "scale": {"domain": list(PARTS), "range": ["circle", "square", "triangle-up"]}}
    return {
        **BASE,
        "title": title,
        "layer": [
            {
                "mark": {"type": "rule", "color": MUTED, "strokeDash": [4, 3]},
                "encoding": {"x": {"datum": chosen, "type": "quantitative"}},
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {"x": LAYER_AXIS, "y": y, "color": part},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 40, "opacity": 1},
                "encoding": {
                    "x": LAYER_AXIS,
                    "y": y,
                    "color": part,
                    "shape": shape,
                    "tooltip": [
                        tip("name", "Part"),
                        tip("layer", "Layer", "d"),
                        tip("value", "Value", ".4g"),
                    ],
                },
            },
            *({**each, "encoding": {"x": LAYER_AXIS, **each["encoding"]}} for each in ends),
        ],
    }


def by_part(
    frame: pd.DataFrame,
    title: str,
    noun: str,
    chosen: int,
    *,
    log: bool = False,
) -> Chart:
    """One number by layer for the stream and both writes; a dashed line is at the chosen layer.
    `noun` names the number at its axis. Columns: layer, part, value."""
    names = dict(zip(("stream", "attn", "mlp"), PARTS, strict=True))
    named = frame.assign(name=frame["part"].map(names))
    middle = named.groupby("name", sort=False)["value"].median()
    words = ", ".join(f"{name} {value:.3g}" for name, value in middle.items())
    low, high = (float(each) for each in (named["value"].min(), named["value"].max()))
    domain, by = ((low, high), (np.log, np.exp)) if log else ((min(low, 0.0), high), None)
    named = with_names(named, "value", domain, apart=_APART, by=by)
    spec = _by_part(title, noun, chosen, log)
    return Chart(named, spec, f"Medians over the layers: {words}.", 260)


_DIMENSIONS: Spec = {
    **BASE,
    "params": [{"name": "pick", "select": {"type": "point", "fields": ["dim"]}}],
    "mark": {"type": "point", "filled": True},
    "encoding": {
        "x": {
            "field": "dim",
            "type": "quantitative",
            "title": "Dimension",
            "scale": {"nice": False, "padding": 6},
            "axis": {"grid": False, "format": "d"},
        },
        "y": {
            "field": "kurtosis",
            "type": "quantitative",
            "title": "Excess kurtosis (linear near 0, logarithmic beyond)",
            "scale": {"type": "symlog", "constant": 1},
            "axis": {"values": [-1, 0, 1, 3, 10, 30, 100, 300, 1000, 3000]},
        },
        "size": {
            "field": "share",
            "type": "quantitative",
            "scale": {"range": [14, 400]},
            "legend": {"title": "Share of the variance", "format": ".0%", "orient": "top"},
        },
        "color": {
            "condition": {"test": "datum.chosen", "value": ACCENT},
            "value": DEPTH[1],
        },
        "opacity": {"condition": {"test": "datum.chosen", "value": 1}, "value": 0.55},
        "tooltip": [
            tip("dim", "Dimension", "d"),
            tip("kurtosis", "Excess kurtosis", ".3g"),
            tip("share", "Share of the variance", ".2%"),
            tip("mean", "Mean", ".4g"),
            tip("variance", "Variance", ".4g"),
        ],
    },
}


def dimensions(frame: pd.DataFrame, chosen: int, title: str, reading: str) -> Chart:
    """The kurtosis of each dimension; a click picks one (`dim`). Columns: dim, kurtosis, share,
    mean, variance."""
    marked = frame.assign(chosen=frame["dim"] == chosen)
    return Chart(marked, {**_DIMENSIONS, "title": title}, reading, 500)


_QQ: Spec = {
    **BASE,
    "encoding": {
        "x": {
            "field": "expected",
            "type": "quantitative",
            "title": "Quantile of a Gaussian (standard deviations)",
        },
    },
    "layer": [
        {
            "mark": {"type": "line", "color": ACCENT, "strokeWidth": 2},
            "encoding": {"y": {"field": "expected", "type": "quantitative"}},
        },
        {
            "mark": {
                "type": "point",
                "filled": True,
                "size": 24,
                "color": DEPTH[1],
                "opacity": 0.7,
            },
            "encoding": {
                "y": {
                    "field": "observed",
                    "type": "quantitative",
                    "title": "Quantile of this dimension (standard deviations)",
                },
                "tooltip": [
                    tip("label", "Token"),
                    tip("observed", "Observed", ".3f"),
                    tip("expected", "Expected", ".3f"),
                ],
            },
        },
    ],
}


def quantile_quantile(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """One dimension's values against those a Gaussian would have; on the line they agree.
    Columns: expected, observed, label."""
    return Chart(frame, {**_QQ, "title": title}, reading, 420)
