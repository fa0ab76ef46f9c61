"""What lessons ask of patched runs: one number of a view's table."""

from __future__ import annotations

import math

import pandas as pd

HALF = 0.5


def share_at(frame: pd.DataFrame, layer: int, position: int) -> float:
    """Of `cells` or `estimate`: the share that the state at one layer and position moves."""
    here = frame[(frame["layer"] == layer) & (frame["position"] == position)]
    return float(here["share"].iloc[0]) if len(here) else math.nan


def share_at_first(frame: pd.DataFrame, layer: int) -> float:
    """Of `cells` or `estimate`: the same at the first position at which the prompts part."""
    return share_at(frame, layer, int(frame["position"].min())) if len(frame) else math.nan


def best_position(frame: pd.DataFrame, layer: int) -> int | None:
    """Of `cells`: the position whose state moves most at one layer; None where both runs agree."""
    known = frame[(frame["layer"] == layer) & frame["share"].notna()]
    return int(known.loc[known["share"].idxmax(), "position"]) if len(known) else None


def handover_layer(frame: pd.DataFrame) -> int | None:
    """Of `cells` of the stream: the layer from which on the last token's state alone moves more
    than half, up to the last layer; None where both runs agree."""
    last = frame[frame["position"] == frame["position"].max()].sort_values("layer")
    if last.empty or last["share"].isna().any():
        return None
    less = last["layer"][last["share"] <= HALF]
    return int(less.max() + 1 if len(less) else last["layer"].min())


def share_together(frame: pd.DataFrame) -> float:
    """Of `both`: the share of the difference between both runs that two cells move together; NaN
    where both runs agree."""
    row = frame.iloc[0]
    gap = row["source"] - row["unpatched"]
    return float((row["both"] - row["unpatched"]) / gap) if gap else math.nan


def first_effect(frame: pd.DataFrame) -> float:
    """Of `both`: what the first cell alone does to the target, in logits."""
    return float(frame["first"].iloc[0] - frame["unpatched"].iloc[0])


MEASURES = (
    share_at,
    share_at_first,
    best_position,
    handover_layer,
    share_together,
    first_effect,
)
