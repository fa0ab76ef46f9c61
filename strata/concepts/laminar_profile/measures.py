"""What lessons ask of the laminar profile: one number, or one a layer, of a view's table."""

from __future__ import annotations

import pandas as pd


def steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Of `between_layers`: how alike each layer's state is to the one before it: layer, cosine."""
    rows = frame[frame["layer_b"] == frame["layer_a"] + 1]
    return pd.DataFrame({"layer": rows["layer_b"], "cosine": rows["cosine"]})


def most_alike_layer(frame: pd.DataFrame) -> int:
    """Of `statistics`: the layer, before the final norm, with the largest median cosine."""
    layers = frame[~frame["normed"]]
    return int(layers["layer"].iloc[int(layers["median"].argmax())])


def least_alike_layer(frame: pd.DataFrame) -> int:
    """Of `statistics`: the layer, before the final norm, with the smallest median cosine."""
    layers = frame[~frame["normed"]]
    return int(layers["layer"].iloc[int(layers["median"].argmin())])


def median_cosine(frame: pd.DataFrame, layer: int) -> float:
    """Of `statistics`: the median cosine at a layer, before the final norm."""
    return float(frame.loc[~frame["normed"] & (frame["layer"] == layer), "median"].iloc[0])


def median_by_layer(frame: pd.DataFrame) -> list[float]:
    """Of `statistics`: the median cosine at layers 0 to L, before the final norm."""
    return [float(median) for median in frame.loc[~frame["normed"].astype(bool), "median"]]


def random_reach(frame: pd.DataFrame) -> float:
    """Of `statistics`: the largest cosine of the middle 95 % of pairs of random vectors."""
    return float(frame["random_high"].iloc[0])


def turning_block(frame: pd.DataFrame) -> int:
    """Of `between_layers`: the block that turns the state most."""
    found = steps(frame)
    return int(found["layer"].iloc[int(found["cosine"].argmin())]) - 1


def turning_layer(frame: pd.DataFrame) -> int:
    """Of `between_layers`: the layer whose state is least like the one before it."""
    return turning_block(frame) + 1


def kept_cosine(frame: pd.DataFrame) -> float:
    """Of `between_layers`: the cosine between the states at layers 0 and L."""
    last = frame["layer_b"].max()
    ends = frame[(frame["layer_a"] == 0) & (frame["layer_b"] == last)]
    return float(ends["cosine"].iloc[0])


def share_below(frame: pd.DataFrame, cosine: float) -> float:
    """Of `between_tokens`: the share, 0 to 1, of pairs of different positions whose cosine is below
    `cosine`; NaN where there is no pair."""
    pairs = frame.loc[frame["position_a"] < frame["position_b"], "cosine"].dropna()
    return float((pairs < cosine).mean())


def most_alike_position(frame: pd.DataFrame, position: int) -> int:
    """Of `between_tokens`: the other position whose state is most like that of `position`."""
    others = frame[(frame["position_a"] == position) & (frame["position_b"] != position)]
    return int(others["position_b"].iloc[int(others["cosine"].argmax())])


MEASURES = (
    most_alike_layer,
    least_alike_layer,
    median_cosine,
    median_by_layer,
    random_reach,
    turning_block,
    turning_layer,
    kept_cosine,
    share_below,
    most_alike_position,
)
