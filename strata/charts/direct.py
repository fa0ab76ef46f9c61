"""Names of lines where they end: quicker to read than a legend, where there are few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.charts.common import LABEL, Spec

FEW = 8  # lines: of more the names would fill the height
Numbers = NDArray[np.float64]


def with_names(
    frame: pd.DataFrame,
    y: str,
    domain: tuple[float, float],
    *,
    apart: float,
    by: tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]] | None = None,
) -> pd.DataFrame:
    """The rows, of a line each layer, with name_y, how high the name of each line stands beside its
    last point; missing at all others. Names are `apart` at least, in heights of the axis from
    `domain[0]` to `domain[1]`; `by`: the scale's function and its inverse, if it is not linear."""
    forth, back = by or (np.asarray, np.asarray)
    ends = frame[frame["layer"] == frame["layer"].max()]
    low, high = forth(np.array(domain, dtype=float))
    places = (forth(ends[y].to_numpy(float)) - low) / ((high - low) or 1.0)
    order = np.argsort(places, kind="stable")  # from below
    ends, places = ends.iloc[order], places[order]
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + apart)
    if len(places):
        places[-1] = min(places[-1], 1.0)
    for i in range(len(places) - 2, -1, -1):
        places[i] = min(places[i], places[i + 1] - apart)
    named = frame.assign(name_y=float("nan"))
    named.loc[ends.index, "name_y"] = back(low + places * (high - low))
    return named


def names(line: str, y: Spec, colour: Spec, others: tuple[str, ...] = ()) -> list[Spec]:
    """Marks that name lines at their ends: a dot in the line's colour, and the name beside it.
    `y` and `colour`: those of the lines; `others`: channels of the lines that names do not have."""
    place = {"y": {"field": "name_y", **{k: v for k, v in y.items() if k != "field"}}}
    ends = [{"filter": "isValid(datum.name_y)"}]
    without = dict.fromkeys(others)
    dot = {"type": "point", "filled": True, "size": 40, "opacity": 1, "xOffset": 12}
    text = {"type": "text", "align": "left", "dx": 20, "fontSize": 12, "limit": 110, "color": LABEL}
    return [
        {"transform": ends, "mark": dot, "encoding": {**without, **place, "color": colour}},
        {
            "transform": ends,
            "mark": text,
            "encoding": {**without, "color": None, **place, "text": {"field": line}},
        },
    ]
