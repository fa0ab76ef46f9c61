"""What lessons ask of the Gaussian baseline: one number of a view's table."""

from __future__ import annotations

import pandas as pd

from strata.concepts.gaussian_baseline.density import cumulative


def closest_part(frame: pd.DataFrame) -> str:
    """Of `glance`: the part with the smallest median distance to a Gaussian of any dimension."""
    return str(frame.groupby("part")["ks_best"].median().idxmin())


def offset_share(frame: pd.DataFrame, part: str) -> float:
    """Of `decomposition`: the share of the excess that the common offset explains; NaN if none."""
    rows = frame[(frame["part"] == part) & (frame["step"] == "centred")]
    return float(rows["explained"].iloc[0])


def effective_dimension(frame: pd.DataFrame) -> float:
    """Of `summary`: 1 / variance of the cosines."""
    return float(frame["effective_dimension"].iloc[0])


def mean_cosine(frame: pd.DataFrame) -> float:
    """Of `summary`: the mean of the cosines."""
    return float(frame["mean"].iloc[0])


def effective_share(frame: pd.DataFrame) -> float:
    """Of `summary`: the effective dimension as a share of all dimensions; above 1 where a common
    offset squeezes the cosines together."""
    return float((frame["effective_dimension"] / frame["dims"]).iloc[0])


def random_share(frame: pd.DataFrame, cosine: float) -> float:
    """Of `summary`: the share of pairs of random directions in as many dimensions that reach this
    cosine."""
    return float(cumulative(-cosine, int(frame["dims"].iloc[0])))


MEASURES = (
    closest_part,
    offset_share,
    effective_dimension,
    mean_cosine,
    effective_share,
    random_share,
)
