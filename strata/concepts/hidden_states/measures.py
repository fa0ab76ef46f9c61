"""What lessons ask of the hidden states: one number of a view's table."""

from __future__ import annotations

import pandas as pd


def largest_norm_position(frame: pd.DataFrame, layer: int) -> int:
    """Of `summary`: the position whose state is largest at a layer."""
    states = frame[frame["layer"] == layer]
    return int(states.iloc[int(states["norm"].argmax())]["position"])


def largest_norm_layer(frame: pd.DataFrame, position: int) -> int:
    """Of `summary`: the layer at which a position's state is largest."""
    states = frame[frame["position"] == position]
    return int(states.iloc[int(states["norm"].argmax())]["layer"])


def sink_ratio(frame: pd.DataFrame, layer: int) -> float:
    """Of `summary`: the norm at position 0 over the median of the others; NaN for one token."""
    norms = frame[frame["layer"] == layer].set_index("position")["norm"]
    return float(norms[0] / norms.drop(0).median())


def top_dimension(frame: pd.DataFrame) -> int | None:
    """Of `outliers`: the dimension that reaches furthest; None where there are no rows."""
    return None if frame.empty else int(frame["dim"].iloc[0])


def n_states(frame: pd.DataFrame) -> int:
    """Of `summary`: how many states each token has, one for each layer."""
    return int(frame["layer"].nunique())


def norm(frame: pd.DataFrame, layer: int, position: int) -> float:
    """Of `summary`: the norm of one state."""
    state = frame[(frame["layer"] == layer) & (frame["position"] == position)]
    return float(state["norm"].iloc[0])


def growth_layer(frame: pd.DataFrame, position: int) -> int:
    """Of `summary`: the layer, 1 to L, at which a position's norm has grown most over the layer
    before."""
    norms = frame[frame["position"] == position].set_index("layer")["norm"]
    return int(norms.diff().iloc[1:].idxmax())


def last_block_growth(frame: pd.DataFrame, position: int) -> float:
    """Of `summary`: by which factor the last block changes a position's norm, before the final
    norm."""
    norms = frame.loc[frame["position"] == position, "norm"]
    return float(norms.iloc[-1] / norms.iloc[-2])


def top_share(frame: pd.DataFrame) -> float | None:
    """Of `outliers`: the share, 0 to 1, that the dimension reaching furthest has of its state's
    squared norm; None where there are no rows."""
    return None if frame.empty else float(frame["share"].iloc[0])


def normed_sink_ratio(frame: pd.DataFrame) -> float:
    """Of `final_norm`: after that norm, the norm at position 0 over the median of the others; NaN
    for one token."""
    norms = frame.set_index("position")["norm_after"]
    return float(norms[0] / norms.drop(0).median())


MEASURES = (
    largest_norm_position,
    largest_norm_layer,
    sink_ratio,
    top_dimension,
    n_states,
    norm,
    growth_layer,
    last_block_growth,
    top_share,
    normed_sink_ratio,
)
