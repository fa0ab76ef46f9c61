"""What all chart forms share: the `Chart` itself, colours, and pieces of axes.

Colours mean the same on every page: `DEPTH` is the layer (violet at the embedding, amber at the
last block; both ends keep a contrast of 3 to 1 on light and on dark ground), `MAGNITUDE` is a
size, `SIGNED` has its neutral point at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa

Spec = dict[str, Any]

DEPTH = ("#7557e0", "#4f79dd", "#2b93b0", "#5f9472", "#9a9138", "#c4850c")
MAGNITUDE = "viridis"
SIGNED = ("#143c8c", "#5b8def", "#dedede", "#e8923a", "#7a3300")
ACCENT = "#d0761b"  # what was chosen
MUTED = "#8a8f98"  # what is there for comparison
# The width that a figure has with its axes and legends, as an expression. The plot's own, `width`,
# shrinks while Vega makes room for these, and what changes by it then finds no room; it is named
# here so that the expression is computed anew with it.
ROOM = "(width >= 0 ? containerSize()[0] : 0)"
RANK = "Rank (0 is best)"  # how many tokens are likelier, wherever that is drawn
# Text beside a mark or an axis: no one grey keeps a contrast of 4.5 to 1 on light and dark ground.
LABEL = {"expr": "luminance(background) > 0.3 ? '#5f6470' : '#a9aeb9'"}


@dataclass(frozen=True)
class Chart:
    """What a page draws: rows, a Vega-Lite spec without data, and what the figure says in words."""

    frame: pd.DataFrame
    spec: Spec
    reading: str  # one sentence computed from the rows
    height: int
    about: str = ""  # what it is of and what it leaves out, in words: see `subject.captioned`

    @cached_property
    def table(self) -> pa.Table:
        """The rows as they are sent."""
        return pa.Table.from_pandas(self.frame)

    @property
    def alt(self) -> str:
        """Words for those who cannot see the figure."""
        title = self.spec["title"]
        named = f"{title if isinstance(title, str) else title['text']}. {self.reading}"
        return f"{named} {self.about}" if self.about else named


def scale_of(colours: tuple[str, ...], **more: Any) -> Spec:
    """A scale through several colours: an expression, since a list is no valid scheme."""
    return {"scheme": {"expr": f"{list(colours)}"}, **more}


def depth(**more: Any) -> Spec:
    return {
        "field": "layer",
        "type": "quantitative",
        "scale": scale_of(DEPTH),
        "legend": None,
        **more,
    }


def tip(field: str, title: str, number: str = "") -> Spec:
    kind = {"type": "quantitative", "format": number} if number else {"type": "nominal"}
    return {"field": field, "title": title, **kind}


def apart_in_nats(a: str, b: str) -> list[str]:
    """What an axis is called that has the difference of two words, as they are shown, in two lines,
    since it is long."""
    return [f"Log-probability of {a}", f"minus that of {b} (nats)"]


LAYER_AXIS: Spec = {
    "field": "layer",
    "type": "quantitative",
    "title": "Layer (0 = embedding)",
    "axis": {"tickMinStep": 1, "grid": False, "format": "d"},
    "scale": {"nice": False, "padding": 8},
}
_TEXT: Spec = {"labelColor": LABEL, "titleColor": LABEL}
# A figure has one name, its `alt`, and its numbers are a table: hundreds of marks would each be
# read out, and a mark that draws nothing would be an image without a name.
_UNREAD: Spec = {"aria": False}
BASE: Spec = {
    "width": "container",
    "config": {"axis": _TEXT, "legend": _TEXT, "mark": _UNREAD},
}

NAMED_ROWS: Spec = {  # the vertical axis of marks in rows. Columns: label, order
    "field": "label",
    "type": "nominal",
    "sort": {"field": "order", "op": "min"},
    "title": None,
    "axis": {"ticks": False, "domain": False, "labelFontSize": 13, "labelLimit": 190},
}
TOKEN_AXIS: Spec = {
    "field": "label",
    "type": "ordinal",
    "sort": {"field": "position"},
    "title": "Token, with its position",
    "axis": {"labelAngle": -60, "labelLimit": 90, "labelOverlap": True, "grid": False},
}

NO_GAPS: Spec = {"paddingInner": 0, "paddingOuter": 0}
