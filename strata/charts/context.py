"""Tokens in their contexts, one below the other, with the token of each in the same place."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import ACCENT, BASE, LABEL, MUTED, Chart, Spec, tip
from strata.charts.titled import width_of

_ROW = 46  # pixels
_AT = 0.42  # of the figure's width: where the tokens begin
_LETTER = 6.6  # pixels, about, of a text's letters; of a token's, which are bold:
_BOLD, _NARROW, _WIDE = 7.5, 4.5, 11.5
_TEXT, _BAR = -9, 9  # pixels from the middle of a row

_X: Spec = {"value": {"expr": f"{_AT} * width"}}
_FITS = f"floor(({_AT} * width - 12) / {_LETTER})"  # letters that stand before a token
_END = f"replace(slice(datum.before, -max(1, {_FITS})), regexp('^[^ ]+ '), '')"  # from a word on
_CUT = f"length(datum.before) > {_FITS} ? '…' + {_END} : datum.before"
_AFTER = f"{_AT} * width + datum.wide + 7"
_FONT: Spec = {"type": "text", "baseline": "middle", "dy": _TEXT, "fontSize": 13}

_CONTEXTS: Spec = {
    **BASE,
    "encoding": {
        "y": {"field": "order", "type": "ordinal", "axis": None, "scale": {"padding": 0}},
        "tooltip": [
            tip("shown", "Token"),
            tip("name", "Text"),
            tip("cosine", "Cosine", ".4f"),
        ],
    },
    "layer": [
        {
            "mark": {"type": "bar", "height": 5, "yOffset": _BAR, "cornerRadiusEnd": 2},
            "encoding": {
                "color": {"value": MUTED},
                "x": {
                    "field": "cosine",
                    "type": "quantitative",
                    "title": "Cosine (standardised states)",
                    "axis": {"grid": False, "values": [-1, -0.5, 0, 0.5, 1]},
                    "scale": {"domainMax": 1.5, "nice": False},  # room for what stands beside
                },
            },
        },
        {
            "mark": {"type": "tick", "yOffset": _BAR, "size": 15, "thickness": 2, "color": LABEL},
            "encoding": {"x": {"field": "usual", "type": "quantitative"}},
        },
        {
            "mark": {**_FONT, "align": "right", "dx": -6, "text": {"expr": _CUT}, "color": LABEL},
            "encoding": {"x": _X},
        },
        {
            "mark": {**_FONT, "align": "left", "fontWeight": "bold", "color": ACCENT},
            "encoding": {"x": _X, "text": {"field": "shown", "type": "nominal"}},
        },
        {
            "mark": {
                **_FONT,
                "align": "left",
                "limit": {"expr": f"max(1, width - ({_AFTER}))"},
                "color": LABEL,
            },
            "encoding": {
                "x": {"value": {"expr": _AFTER}},
                "text": {"field": "after", "type": "nominal"},
            },
        },
        {
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "middle",
                "dx": 6,
                "dy": _BAR,
                "fontSize": 11,
                "color": LABEL,
            },
            "encoding": {
                "x": {"field": "end", "type": "quantitative"},
                "text": {"field": "said", "type": "nominal"},
            },
        },
    ],
}


def contexts(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Tokens in their contexts, the most alike first, each with its cosine as a bar; a tick is at
    what is usual. Columns: order, before, shown, after, name (of the text), cosine, usual."""
    frame = frame.assign(
        end=frame[["cosine", "usual"]].max(axis=1),
        wide=list(map(_width_of, frame["shown"])),
        said=[f"{c:.2f}  {n}" for c, n in zip(frame["cosine"], frame["name"], strict=True)],
    )
    return Chart(frame, {**_CONTEXTS, "title": title}, reading, 100 + _ROW * len(frame))


def _width_of(token: str) -> float:
    """The pixels that a token takes, about."""
    own = {**dict.fromkeys("iljtfrI.,:;'!|()-", _NARROW), **dict.fromkeys("mwMW@%", _WIDE)}
    return sum(own.get(letter, _BOLD) * width_of(letter) for letter in token)
