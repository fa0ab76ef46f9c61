"""How far a class has got in a lesson: a bar for each step."""

from __future__ import annotations

import pandas as pd

from strata.charts.common import ACCENT, BASE, DEPTH, LABEL, Chart, Spec, tip

_STEPS: Spec = {
    **BASE,
    "encoding": {
        "y": {
            "field": "title",
            "type": "nominal",
            "sort": None,
            "title": None,
            "axis": {"labelLimit": 240, "labelFontSize": 12, "ticks": False, "domain": False},
        },
        "tooltip": [
            tip("title", "Step"),
            tip("reached", "Have reached it", "d"),
            tip("answered", "Answered its question", "d"),
            tip("hints", "Took a hint", "d"),
        ],
    },
    "layer": [
        {
            "mark": {"type": "bar", "cornerRadiusEnd": 2, "color": DEPTH[1]},
            "encoding": {
                "x": {
                    "field": "reached",
                    "type": "quantitative",
                    "title": "Learners who have reached the step; in orange, who answered",
                    "axis": {"tickMinStep": 1, "format": "d"},
                }
            },
        },
        {
            "mark": {"type": "bar", "height": {"band": 0.3}, "color": ACCENT},
            "encoding": {"x": {"field": "answered", "type": "quantitative"}},
        },
        {
            "mark": {"type": "text", "align": "left", "dx": 4, "fontSize": 12, "color": LABEL},
            "encoding": {
                "x": {"field": "reached", "type": "quantitative"},
                "text": {"field": "reached", "type": "quantitative"},
            },
        },
    ],
}


def funnel(frame: pd.DataFrame, title: str, reading: str) -> Chart:
    """Steps as bars. Columns: title, reached, answered, hints; one row a step, in order."""
    return Chart(frame, {**_STEPS, "title": title}, reading, 90 + 28 * len(frame))
