"""Forms of the logit lens: tokens followed through the layers, and where a logit comes from."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
import pandas as pd

from strata.charts.common import (
    ACCENT,
    BASE,
    DEPTH,
    LABEL,
    LAYER_AXIS,
    MUTED,
    RANK,
    ROOM,
    Chart,
    Spec,
    apart_in_nats,
    depth,
    tip,
)
from strata.charts.direct import FEW, names, with_names
from strata.display.tokens import display_candidate, display_percent, distinct, fixed

# Apart for colour-blind eyes, on light and dark ground; beyond eight, dashes tell them apart.
_TOKENS = ("#d0761b", "#4f79dd", "#2a9d8f", "#b5489a", "#8a8f98", "#7557e0", "#9a9138", "#c2453d")
_APART = 0.07  # heights of the axis that a name takes
_DASHES = ([1, 0], [6, 3], [2, 2])
_PARTS = {"embedding": MUTED, "attn": DEPTH[1], "mlp": ACCENT, "biases": "#b5489a"}


@cache
def _followed(tokens: tuple[str, ...], quantity: str) -> Spec:
    ranks = quantity == "rank"
    y: Spec = {
        "field": quantity,
        "type": "quantitative",
        "title": RANK if ranks else "Probability",
        "scale": {"type": "symlog", "reverse": True} if ranks else {"domain": [0, 1]},
        "axis": {"values": [0, 1, 10, 100, 1000, 10_000, 100_000]}
        if ranks
        else {"format": "~%", "tickCount": 5},
    }
    kinds: Spec = {"field": "label", "type": "nominal", "title": None}
    colours = [_TOKENS[i % len(_TOKENS)] for i in range(len(tokens))]
    dashes = [_DASHES[i // len(_TOKENS) % len(_DASHES)] for i in range(len(tokens))]
    legend: Spec | None = None
    if len(tokens) > FEW:
        columns = {"expr": f"{ROOM} < 410 ? 2 : 4"}
        legend = {
            "orient": "bottom",
            "columns": columns,
            "labelLimit": 110,
            "symbolType": "stroke",
        }
    colour = {**kinds, "scale": {"domain": list(tokens), "range": colours}, "legend": legend}
    return {
        **BASE,
        "title": "Rank through the layers" if ranks else "Probability through the layers",
        "encoding": {
            "x": LAYER_AXIS,
            "y": y,
            "color": colour,
            "strokeDash": {
                **kinds,
                "scale": {"domain": list(tokens), "range": dashes},
                "legend": legend,
            },
            "tooltip": [
                tip("label", "Token"),
                tip("layer", "Layer", "d"),
                tip("prob", "Probability", ".4f"),
                tip("rank", RANK, ",d"),
            ],
        },
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2.2}},
            {"mark": {"type": "point", "filled": True, "size": 26, "opacity": 1}},
            *([] if legend else names("label", y, colour, ("strokeDash", "tooltip"))),
        ],
    }


def followed(frame: pd.DataFrame, quantity: str, reading: str) -> Chart:
    """Tokens as lines through the layers, by "prob" or "rank". Columns: token_id, predicted,
    layer, prob, rank."""
    names = dict.fromkeys(zip(frame["token_id"], frame["predicted"], strict=True))
    tokens = tuple(distinct(display_candidate(text) for _, text in names))
    label = dict(zip((token_id for token_id, _ in names), tokens, strict=True))
    frame = frame.assign(label=frame["token_id"].map(label))
    if len(tokens) <= FEW:
        ranks = quantity == "rank"
        domain = (float(frame["rank"].max()), 0.0) if ranks else (0.0, 1.0)
        by = (np.log1p, np.expm1) if ranks else None
        frame = with_names(frame, quantity, domain, apart=_APART, by=by)
    return Chart(frame, _followed(tokens, quantity), reading, 330)


_ZERO: Spec = {
    "mark": {"type": "rule", "strokeDash": [6, 4], "strokeWidth": 1.5, "color": LABEL},
    "encoding": {"y": {"datum": 0, "type": "quantitative"}},
}


@cache
def _difference(a: str, b: str) -> Spec:
    y = {"field": "logit", "type": "quantitative", "title": apart_in_nats(a, b)}
    tips = [tip("layer", "Layer", "d"), tip("logit", "Difference (nats)", "+.4f")]
    return {
        **BASE,
        "title": "Difference through the layers",
        "encoding": {"x": LAYER_AXIS},
        "layer": [
            _ZERO,
            {"mark": {"type": "line", "color": MUTED, "strokeWidth": 1.5}, "encoding": {"y": y}},
            {
                "mark": {"type": "point", "filled": True, "size": 46, "opacity": 1},
                "encoding": {"y": y, "color": depth(), "tooltip": tips},
            },
        ],
    }


def difference(frame: pd.DataFrame, reading: str) -> Chart:
    """How far one token is ahead of another, layer by layer, against a dashed line where they are
    equally likely. Columns: layer, predicted, other, logit (the difference)."""
    a, b = (display_candidate(frame[name].iloc[0]) for name in ("predicted", "other"))
    return Chart(frame[["layer", "logit"]], _difference(a, b), reading, 330)


_ATTRIBUTION: Spec = {
    **BASE,
    "encoding": {
        "x": {
            "field": "place",
            "type": "quantitative",
            "title": "Block",
            "scale": {"nice": False, "padding": 24},
        },
    },
    "layer": [
        {
            "mark": {"type": "bar", "width": {"band": 0.9}, "size": 9},
            "encoding": {
                "y": {
                    "field": "logit",
                    "type": "quantitative",
                    "title": "Added to the logit",
                    "stack": "zero",
                },
                "color": {
                    "field": "kind",
                    "type": "nominal",
                    "title": None,
                    "scale": {"domain": list(_PARTS), "range": list(_PARTS.values())},
                    "legend": {"orient": "top"},
                },
                "tooltip": [
                    tip("name", "Part"),
                    tip("logit", "Added", "+.4f"),
                    tip("sum", "Sum so far", "+.4f"),
                ],
            },
        },
        {
            "mark": {"type": "line", "interpolate": "step-after", "color": LABEL, "strokeWidth": 2},
            "encoding": {
                "y": {"field": "after", "type": "quantitative", "aggregate": "max"},
            },
        },
        {
            "mark": {"type": "text", "align": "right", "dy": -9, "fontSize": 13, "fontWeight": 600}
            | {"color": LABEL},
            "transform": [{"filter": "datum.sum_text != ''"}],
            "encoding": {
                "y": {"field": "sum", "type": "quantitative"},
                "text": {"field": "sum_text"},
            },
        },
    ],
}


@cache
def _attribution(last: int, added: str) -> Spec:
    """With the embedding named left of block 0, and the biases right of the last block."""
    encoding = _ATTRIBUTION["encoding"]
    [bars, *others] = _ATTRIBUTION["layer"]
    y = {**bars["encoding"]["y"], "title": added}
    bars = {**bars, "encoding": {**bars["encoding"], "y": y}}
    named = f"datum.value < 0 ? 'embedding' : datum.value > {last} ? 'biases' : datum.label"
    step = max(1, round(last / 8))  # what stands at both ends takes the room of others
    ticks = [-1, *range(step, last - step // 2, step), last + 1]
    axis: Spec = {"values": ticks, "grid": False, "format": "d", "labelExpr": named}
    x = {**encoding["x"], "axis": {**axis, "labelOverlap": False}}
    return {**_ATTRIBUTION, "encoding": {"x": x}, "layer": [bars, *others]}


def attribution(
    frame: pd.DataFrame, title: str, reading: str, added: str = "Added to the logit"
) -> Chart:
    """Where a logit comes from, as bars by block and part, and the sum so far as a line that ends
    at the model's logit before any cap. Columns: part, block, logit; `added`: what that one is."""
    last = int(frame["block"].max())
    block = frame["block"].astype(float)
    place = block.mask(frame["part"] == "embedding", -1).fillna(last + 1.0)
    named = {"attn": "attention of block {:.0f}", "mlp": "MLP of block {:.0f}"}
    plain = {
        "embedding": "embedding",
        "norm_bias": "bias of the norm",
        "head_bias": "bias of the head",
    }
    rows = frame.assign(
        place=place,
        kind=frame["part"].where(~frame["part"].str.endswith("bias"), "biases"),
        name=[
            plain.get(part) or named[part].format(number)
            for part, number in zip(frame["part"], block, strict=True)
        ],
        sum=frame["logit"].cumsum(),
        sum_text="",
    ).drop(columns="block")
    rows["after"] = rows.groupby("place")["sum"].transform("last")
    rows.loc[rows.index[-1], "sum_text"] = f"sum {rows['sum'].iloc[-1]:.3f}"
    return Chart(rows, {**_attribution(last, added), "title": title}, reading, 380)


# The number beside a bar stands where the bar ends, of one to the left on its left.
_NUMBER: Spec = {
    "type": "text",
    "fontSize": 12,
    "color": LABEL,
    "align": {"expr": "datum.number[0] == '−' ? 'right' : 'left'"},
    "dx": {"expr": "datum.number[0] == '−' ? -4 : 4"},
}
_CELL: Spec = {
    **BASE,
    "encoding": {
        "y": {
            "field": "label",
            "type": "nominal",
            "sort": {"field": "order", "op": "min"},
            "title": None,
            "axis": {
                "labelLimit": 150,
                "labelFontSize": 12,
                "labelOverlap": False,
                "ticks": False,
                "domain": False,
            },
        },
        "tooltip": [
            tip("label", "Token"),
            tip("rank", RANK, ",d"),
            tip("logit", "Logit", "+.4f"),
            tip("prob", "Probability", ".4f"),
        ],
    },
}


@cache
def _cell(quantity: str, title: str) -> Spec:
    prob = quantity == "prob"
    shares = {"format": "~%", "values": [0, 0.25, 0.5, 0.75, 1]}
    colour = {
        "condition": {"test": "datum.logit < 0 && datum.end == 'suppressed'", "value": ACCENT},
        "value": DEPTH[1],
    }
    bar = {"type": "bar", "cornerRadiusEnd": 2}
    return {
        **_CELL,
        "encoding": {
            **_CELL["encoding"],
            "x": {
                "field": quantity,
                "type": "quantitative",
                "title": title,
                # With room for the numbers.
                "scale": {"domain": [0, 1.3]} if prob else {"padding": 44},
                "axis": shares if prob else {"tickCount": 4},
            },
        },
        "layer": [
            {"mark": bar, "encoding": {"color": colour}},
            {"mark": _NUMBER, "encoding": {"text": {"field": "number", "type": "nominal"}}},
        ],
    }


def cell_bars(top: pd.DataFrame, bottom: pd.DataFrame, where: str, *, writes: bool) -> Chart:
    """One cell of a grid as bars: the likeliest tokens of a state; of a write the tokens it
    promotes and, in orange, those it suppresses. Columns: rank, predicted, logit, prob."""
    frozen = bool(top["prob"].isna().all())
    rows = top.assign(end="promoted")
    if writes:
        rows = pd.concat([rows.head(6), bottom.head(6).iloc[::-1].assign(end="suppressed")])
    labels = distinct(map(display_candidate, rows["predicted"]))
    number = partial(fixed, digits=2) if writes else display_percent
    numbers = rows["logit" if writes else "prob"].map(number)
    rows = rows.assign(label=labels, order=range(len(rows)), number=numbers)
    best = rows.iloc[0]
    axis = "Added to the logit, before any cap" if frozen else "Logit through its own norm"
    spec = _cell("logit", axis) if writes else _cell("prob", "Probability")
    chart = {**spec, "title": where[:1].upper() + where[1:]}
    said = f"{best['logit']:+.2f}" if writes else f"{best['prob']:.0%}"
    return Chart(rows, chart, f"First “{best['label']}”, {said}.", 90 + 24 * len(rows))
