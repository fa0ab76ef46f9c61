"""What lessons ask of maps and gradients: one number of a view's table."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd


def smoothness(frame: pd.DataFrame) -> float:
    """Of a map (`state_map`, `gradient_map` or `joint_map`): the median step of a token from layer
    to layer, as a share of the map's width, the root mean square distance of two of its points; NaN
    for a single layer."""
    paths = [name for name in ("prompt", "position") if name in frame]
    ordered = frame.sort_values([*paths, "layer"])
    steps = ordered.groupby(paths)[["x", "y"]].diff().dropna()
    width = math.sqrt(2 * float(frame[["x", "y"]].var(ddof=0).sum()))
    return float(np.hypot(steps["x"], steps["y"]).median()) / width if width else math.nan


def map_trust(frame: pd.DataFrame) -> float:
    """Of a map, `state_map`, `gradient_map` or `joint_map`: its trust."""
    return float(frame["trust"].iloc[0])


def last_gradient_norm(frame: pd.DataFrame) -> float:
    """Of `gradient_norms`: the largest norm at the last position, which is 0."""
    return float(frame.loc[frame["position"] == frame["position"].max(), "norm"].max())


def largest_gradient_layer(frame: pd.DataFrame, position: int) -> int:
    """Of `gradient_norms`: the layer at which a position's gradient is largest."""
    states = frame[frame["position"] == position]
    return int(states.iloc[int(states["norm"].argmax())]["layer"])


def kept_share(frame: pd.DataFrame) -> float:
    """Of a map, `state_map` or `gradient_map`, by PCA: the share of the variance that its two
    dimensions keep; NaN for UMAP."""
    return float(frame["kept"].iloc[0])


def silent_position(frame: pd.DataFrame) -> int | None:
    """Of `gradient_norms`: the position whose gradient is zero at every layer; None unless there is
    exactly one."""
    largest = frame.groupby("position")["norm"].max()
    silent = largest.index[largest == 0]
    return int(silent[0]) if len(silent) == 1 else None


MEASURES = (
    map_trust,
    smoothness,
    last_gradient_norm,
    largest_gradient_layer,
    kept_share,
    silent_position,
)
