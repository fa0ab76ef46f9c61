"""How a class has voted: a bar for each answer, and for each round where there were two."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import ACCENT, BASE, LABEL, MUTED, Chart, Spec, tip

_SHARE: Spec = {"format": "%", "tickCount": 5}
_BARS: Spec = {
    **BASE,
    "encoding": {
        "yOffset": {"field": "vote", "sort": None},
        "x": {
            "field": "share",
            "type": "quantitative",
            "title": "Share of the votes",
            "axis": _SHARE,
            "scale": {"domain": [0, 1]},
        },
        "tooltip": [
            tip("label", "Answer"),
            tip("vote", "Vote"),
            tip("learners", "Learners", "d"),
            tip("share", "Share", ".0%"),
        ],
    },
}


def _answers(size: int) -> Spec:
    return {
        "field": "shown",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelLimit": 28 * size, "labelFontSize": size, "ticks": False, "domain": False},
        "scale": {"paddingInner": 0.3},
    }


def _bar(two: bool, size: int) -> Spec:
    legend = {"title": "Vote", "orient": "top", "labelFontSize": size, "titleFontSize": size}
    colour = {
        "field": "vote",
        "type": "nominal",
        "sort": None,
        "scale": {"domain": ["first", "second"], "range": [MUTED, ACCENT] if two else [ACCENT] * 2},
        "legend": legend if two else None,
    }
    return {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": {"color": colour}}


def _number(size: int) -> Spec:
    mark = {"type": "text", "align": "left", "dx": 5, "fontSize": size, "color": LABEL}
    return {"mark": mark, "encoding": {"text": {"field": "learners", "type": "quantitative"}}}


def tally(frame: pd.DataFrame, title: str, reading: str, *, wall: bool = False) -> Chart:
    """Answers as bars. Columns: label, right (whether it is the answer, which then has a tick),
    vote ("first" or "second"), learners; one row for each answer and vote, in order. `wall`: to be
    read from afar."""
    total = frame.groupby("vote")["learners"].transform("sum").clip(lower=1)
    ticks = frame["right"].map({True: "✓ ", False: ""})
    frame = frame.assign(share=frame["learners"] / total, shown=ticks + frame["label"])
    two = frame["vote"].nunique() > 1
    size = 24 if wall else 15
    spec = {**_BARS, "title": {"text": title, "fontSize": size}}
    share = {**spec["encoding"]["x"], "axis": {**_SHARE, "labelFontSize": size - 3}}
    share["axis"]["titleFontSize"] = size - 3
    spec["encoding"] = spec["encoding"] | {"x": share, "y": _answers(size)}
    spec["layer"] = [_bar(two, size), _number(size)]
    around = (140 if two else 100) * (size / 15)  # title, legend, axis
    return Chart(frame, spec, reading, round(around + 1.9 * size * len(frame)))
