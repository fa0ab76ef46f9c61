"""Forms of the scaling sweep: a curve by block, a map of factors and blocks, two distributions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd

from strata.charts.common import (
    ACCENT,
    BASE,
    LABEL,
    MAGNITUDE,
    MUTED,
    NO_GAPS,
    RANK,
    ROOM,
    SIGNED,
    Chart,
    Spec,
    apart_in_nats,
    depth,
    scale_of,
    tip,
)
from strata.charts.grid import Grid, lens_grid, scale_for


def _of_target(pair: bool) -> str:
    return "Difference (nats)" if pair else "Log-probability (nats)"


def _tips(pair: bool) -> list[Spec]:
    found = [
        tip("block", "Block", "d"),
        tip("factor", "Factor", ".3~g"),
        tip("logprob", _of_target(pair), ".4f"),
        tip("change", "Change (nats)", "+.4f"),
        tip("rank", RANK, ",d"),
        tip("kl", "KL(clean, edited) (nats)", ".4f"),
    ]
    return [each for each in found if not (pair and each["field"] == "rank")]


_BLOCK_AXIS: Spec = {
    "field": "block",
    "type": "quantitative",
    "title": "Block whose output is scaled",
    "axis": {"tickMinStep": 1, "grid": False, "format": "d"},
    "scale": {"nice": False, "padding": 12},
}


def _logprob_axis(pair: tuple[str, ...]) -> Spec:
    return {
        "field": "logprob",
        "type": "quantitative",
        "title": apart_in_nats(*pair) if pair else _of_target(False),
        "scale": {"zero": False, "nice": True},
    }


_CLEAN: Spec = {  # one row: the clean run
    "transform": [
        {"aggregate": [{"op": "min", "field": "clean_logprob", "as": "logprob"}]},
        {"calculate": "'Clean: ' + format(datum.logprob, '.2f')", "as": "clean"},
    ],
    "layer": [
        {"mark": {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL}},
        {
            "mark": {
                "type": "text",
                "align": "left",
                "x": "width",
                "dx": 6,
                "fontSize": 12,
                "color": LABEL,
            },
            "encoding": {"text": {"field": "clean", "type": "nominal"}},
        },
    ],
}


@cache
def _by_block(pair: tuple[str, ...]) -> Spec:
    y = _logprob_axis(pair)
    return {
        **BASE,
        "layer": [
            {**_CLEAN, "encoding": {"y": y}},
            {
                "encoding": {"x": _BLOCK_AXIS, "y": y},
                "layer": [
                    {"mark": {"type": "line", "color": MUTED, "strokeWidth": 1.5}},
                    {
                        "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                        "encoding": {"color": depth(field="layer"), "tooltip": _tips(bool(pair))},
                    },
                ],
            },
        ],
    }


def by_block(frame: pd.DataFrame, title: str, reading: str, pair: tuple[str, ...] = ()) -> Chart:
    """The target's log-probability by scaled block, against the clean run's as a dashed line; of a
    `pair` of words, as they are shown, the first one's less the second's. Columns: those of
    `scaling.sweep`, at one factor."""
    rows = frame.assign(layer=frame["block"] + 1, change=frame["logprob"] - frame["clean_logprob"])
    return Chart(rows, {**_by_block(pair), "title": title}, reading, 420)


_MAP: Spec = {
    **BASE,
    "mark": "rect",
    "encoding": {
        "x": {
            "field": "block",
            "type": "ordinal",
            "title": "Block whose output is scaled",
            "axis": {"labelAngle": 0, "labelOverlap": True, "ticks": False},
            "scale": NO_GAPS,
        },
        "y": {
            "field": "factor",
            "type": "ordinal",
            "sort": "descending",
            "title": "Factor",
            "axis": {"ticks": False, "format": ".3~g"},
            "scale": NO_GAPS,
        },
    },
}
_MARKS = (0.1, 1, 10, 100, 1_000, 10_000, 100_000)
QUANTITIES = {"change": "Change of the log-probability", "rank": "Rank", "kl": "KL divergence"}


def _map(title: str, quantity: str, most: float, pair: bool) -> Spec:
    # As far down as up, so that grey means no change; small differences stay legible beside large.
    scale, legend = {
        "change": (scale_of(SIGNED, domain=[-most, most], constant=0.1), "Change (nats)"),
        "rank": ({"scheme": MAGNITUDE, "domain": [0, most], "constant": 1}, RANK),
        "kl": ({"scheme": MAGNITUDE, "domain": [0, most], "constant": 0.1}, "KL (nats)"),
    }[quantity]
    marks = [mark for mark in _MARKS if mark <= most]
    if quantity == "change":
        marks = [*(-mark for mark in reversed(marks)), *marks]
    colour = {
        "field": quantity,
        "type": "quantitative",
        "scale": {"type": "symlog", **scale},
        "legend": {"title": legend, "orient": "right", "values": [0, *marks], "format": ",.1~f"},
    }
    encoding = {**_MAP["encoding"], "color": colour, "tooltip": _tips(pair)}
    return {**_MAP, "title": title, "encoding": encoding}


def factor_map(frame: pd.DataFrame, quantity: str, title: str, reading: str) -> Chart:
    """A colour for each factor and block: "change" (of the log-probability), "kl", or "rank", which
    a pair of words has not. Columns: those of `scaling.sweep`."""
    rows = frame.assign(change=frame["logprob"] - frame["clean_logprob"])
    most = float(rows[quantity].abs().max()) or 1.0
    height = 110 + 34 * int(frame["factor"].nunique())
    pair = bool(frame["rank"].isna().all())
    return Chart(rows, _map(title, quantity, most, pair), reading, height)


_LOSSES = (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
_MARKS_OF = {"scale": ("circle", ACCENT, -1), "noise": ("stroke", MUTED, 0)}
_MARKS_OF |= {"skip": ("diamond", SIGNED[1], 1)}


def beside_noise(
    frame: pd.DataFrame, title: str, reading: str, pair: tuple[str, ...] = ()
) -> Chart:
    """The target's log-probability by edited block, by three edits on one axis: scaling, the block
    left out, and random pushes by their median and range; of a `pair` as in `by_block`. Columns:
    block, edit ("scale", "noise", "skip"), name (in the legend), logprob (of noise the median),
    low, high (of noise), clean_logprob."""
    named = frame.drop_duplicates("edit").set_index("edit")["name"]
    marks = {named[edit]: mark for edit, mark in _MARKS_OF.items() if edit in named}
    shapes, colours, _ = zip(*marks.values(), strict=True)
    step = 4 * int(frame["block"].nunique())
    tips: list[Spec] = [
        tip("block", "Block", "d"),
        tip("name", "Edit"),
        tip("logprob", _of_target(bool(pair)), ".4f"),
        tip("change", "Change (nats)", "+.4f"),
    ]
    ranges = [tip("low", "Least (nats)", ".4f"), tip("high", "Most (nats)", ".4f")]
    legend = {
        "title": None,
        "orient": "top",
        "columns": {"expr": f"{ROOM} < 490 ? 1 : 3"},
        "labelLimit": 0,
        "symbolSize": 90,
        "symbolStrokeWidth": 2,
    }
    # Small losses are to be told apart beside pushes that cost twenty nats.
    marks_at = [0, *(sign * mark for mark in _LOSSES for sign in ((-1, 1) if pair else (-1,)))]
    axis = _logprob_axis(pair) | {
        "scale": {"type": "symlog", "constant": 1},
        "axis": {"values": marks_at, "format": "~g"},
    }
    encoding: Spec = {
        "color": {
            "field": "name",
            "type": "nominal",
            "scale": {"domain": list(marks), "range": list(colours)},
            "legend": legend,
        },
        "shape": {
            "field": "name",
            "type": "nominal",
            "scale": {"domain": list(marks), "range": list(shapes)},
            "legend": legend,
        },
    }
    points: list[Spec] = [
        {
            "transform": [{"filter": {"field": "name", "equal": name}}],
            "mark": {
                "type": "point",
                "filled": shape != "stroke",
                "size": 70,
                "opacity": 1,
                "strokeWidth": 2,
                "xOffset": {"expr": f"{side} * min(8, width / {step})"},
            },
            "encoding": {**encoding, "tooltip": tips + ranges * (shape == "stroke")},
        }
        for name, (shape, _, side) in marks.items()
    ]
    bars: Spec = {
        "mark": {"type": "rule", "color": MUTED, "strokeWidth": 5, "opacity": 0.35},
        "encoding": {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}},
    }
    shared = {"x": {**_BLOCK_AXIS, "title": "Block that is edited"}, "y": axis}
    clean = {**_CLEAN, "encoding": {"y": axis}}
    spec: Spec = {**BASE, "layer": [clean, {"encoding": shared, "layer": [bars, *points]}]}
    rows = frame.assign(change=frame["logprob"] - frame["clean_logprob"])
    return Chart(rows, {**spec, "title": title}, reading, 440)


_SHIFTS: Spec = {
    **BASE,
    "encoding": {
        "y": {
            "field": "label",
            "type": "nominal",
            "sort": {"field": "order", "op": "min"},
            "title": None,
            "axis": {
                "labelLimit": 160,
                "labelFontSize": 13,
                "labelOverlap": False,
                "labelFlush": False,
                "ticks": False,
            },
        },
        "tooltip": [
            tip("label", "Next token"),
            tip("clean_prob", "Clean", ".4f"),
            tip("prob", "Edited", ".4f"),
            tip("clean_rank", f"{RANK}, clean", ",d"),
            tip("rank", f"{RANK}, edited", ",d"),
        ],
    },
    "layer": [
        {
            "mark": {"type": "rule", "color": MUTED, "strokeWidth": 2},
            "encoding": {
                "x": {
                    "field": "clean_prob",
                    "type": "quantitative",
                    "title": "Probability",
                    "scale": {"domainMin": 0},
                    "axis": {"format": "~%", "tickCount": 5},
                },
                "x2": {"field": "prob"},
            },
        },
        {
            "transform": [
                {"fold": ["clean_prob", "prob"], "as": ["kind", "value"]},
                {"calculate": "datum.kind == 'prob' ? 'edited' : 'clean'", "as": "which"},
            ],
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {
                "x": {"field": "value", "type": "quantitative"},
                "color": {
                    "field": "which",
                    "type": "nominal",
                    "title": None,
                    "scale": {"domain": ["clean", "edited"], "range": [MUTED, ACCENT]},
                    "legend": {"orient": "top"},
                },
                "shape": {
                    "field": "which",
                    "type": "nominal",
                    "scale": {"domain": ["clean", "edited"], "range": ["circle", "diamond"]},
                },
            },
        },
    ],
}


def shifts(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Next tokens before and after an edit. Columns: label, order, clean_prob, prob, clean_rank,
    rank."""
    return Chart(frame, {**_SHIFTS, "title": title}, reading, 110 + 26 * len(frame))


def lens_after(
    clean: pd.DataFrame, edited: pd.DataFrame, block: int, title: str, reading: str
) -> Grid:
    """The logit lens of a run edited at a block, from the layer below upwards; a token is
    underlined where the clean run says another. Columns of both: those of `logit_lens.grid`."""
    same = edited["token_id"] == clean["token_id"]
    marked = edited.assign(final_id=edited["token_id"].mask(same, -1))
    rows = marked[marked["layer"] >= block]
    probability, nothing = (scale_for([rows], name, 1) for name in ("prob", "nothing"))
    grid = lens_grid(rows, title, reading, probability, nothing)
    return replace(grid, same="another token than without the edit")
