"""What lessons ask of the Jacobian lens: one answer of a view's table."""

from __future__ import annotations

import math

import pandas as pd


def share_final(frame: pd.DataFrame, layer: int) -> float:
    """Of `grid`: the share of positions at which the lens names at a layer what the model itself
    ranks first, 0 to 1."""
    cells = frame[frame["layer"] == layer]
    return float((cells["token_id"] == cells["final_id"]).mean())


def settled_layer(frame: pd.DataFrame, position: int) -> int:
    """Of `grid`: the layer from which on the last layer's first token leads at a position without
    a break."""
    cells = frame[frame["position"] == position].sort_values("layer")
    others = cells["layer"][cells["token_id"] != cells["token_id"].iloc[-1]]
    return int(cells["layer"][cells["layer"] > others.max()].min() if len(others) else 0)


def leader(frame: pd.DataFrame, layer: int, position: int) -> str:
    """Of `grid`: the token that the lens names first at a layer and position."""
    cells = frame[(frame["layer"] == layer) & (frame["position"] == position)]
    return str(cells["predicted"].iloc[0])


def least_settled_layer(frame: pd.DataFrame) -> int | None:
    """Of `convergence`: the layer whose J moved most, relative to its size, when the number of
    texts was raised last; None where it never was."""
    if frame.empty:
        return None
    step = frame[frame["n_texts"] == frame["n_texts"].max()]
    return int(step.loc[step["change"].idxmax(), "layer"])


def beam_position(frame: pd.DataFrame, layer: int) -> int:
    """Of `passage_beam`: the position whose state of a layer is most disposed to the word."""
    rows = frame[frame["layer"] == layer]
    return int(rows.loc[rows["score"].idxmax(), "position"])


def sure_of(frame: pd.DataFrame, layer: int, position: int | None = None) -> int:
    """Of `passage_beam`: 1 where a state's interval lies above 0, -1 below it, 0 where it holds 0.
    Without a position: of the layer's state that is most disposed to the word."""
    row = _at(frame, layer, beam_position(frame, layer) if position is None else position)
    return int(row["low"] > 0) - int(row["high"] < 0)


def random_share(frame: pd.DataFrame, layer: int, position: int | None = None) -> float:
    """Of `beside`: the score that random blocks give a state, as a share of the Jacobian lens's;
    NaN where that one is not above 0. Without a position: of the layer's state that the Jacobian
    lens gives most."""
    kinds = [frame[frame["kind"] == kind] for kind in ("jacobian", "random")]
    position = beam_position(kinds[0], layer) if position is None else position
    own, random = (_at(rows, layer, position)["score"] for rows in kinds)
    return float(random / own) if own > 0 else math.nan


def _at(frame: pd.DataFrame, layer: int, position: int) -> pd.Series:
    return frame[(frame["layer"] == layer) & (frame["position"] == position)].iloc[0]


MEASURES = (
    share_final,
    settled_layer,
    leader,
    least_settled_layer,
    beam_position,
    sure_of,
    random_share,
)
