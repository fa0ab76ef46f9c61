"""How a class has voted: a bar for each answer, and for each round where there were two."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import ACCENT, BASE, LABEL, MUTED, Chart, Spec, tip

_BARS: Spec = {
    **BASE,
    "encoding": {
        "y": {
            "field": "shown",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"labelLimit": 420, "labelFontSize": 15, "ticks": False, "domain": False},
            "scale": {"paddingInner": 0.3},
        },
        "yOffset": {"field": "vote", "sort": None},
        "x": {
            "field": "share",
            "type": "quantitative",
            "title": "Share of the votes",
            "axis": {"format": "%", "tickCount": 5},
            "scale": {"domain": [0, 1]},
        },
        "tooltip": [
            tip("label", "Answer"),
            tip("vote", "Vote"),
            tip("learners", "Learners", "d"),
            tip("share", "Share", ".0%"),
        ],
    },
    "layer": [
        {
            "mark": {"type": "bar", "cornerRadiusEnd": 2},
            "encoding": {
                "color": {
                    "field": "vote",
                    "type": "nominal",
                    "sort": None,
                    "scale": {"domain": ["first", "second"], "range": [MUTED, ACCENT]},
                    "legend": {"title": "Vote", "orient": "top", "labelFontSize": 13},
                }
            },
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 5, "fontSize": 15, "color": LABEL},
            "encoding": {"text": {"field": "learners", "type": "quantitative"}},
        },
    ],
}


def tally(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Answers as bars. Columns: label, right (whether it is the answer, which then has a tick),
    vote ("first" or "second"), learners; one row for each answer and vote, in order."""
    total = frame.groupby("vote")["learners"].transform("sum").clip(lower=1)
    ticks = frame["right"].map({True: "✓ ", False: ""})
    frame = frame.assign(share=frame["learners"] / total, shown=ticks + frame["label"])
    return Chart(frame, {**_BARS, "title": title}, reading, 110 + 30 * len(frame))
