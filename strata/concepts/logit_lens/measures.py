"""What lessons ask of the logit lens: one answer of a view's table."""

from __future__ import annotations

import pandas as pd


def first_leading_layer(frame: pd.DataFrame, position: int, token: str | None = None) -> int | None:
    """Of `lens` or `grid`: the first layer at which a token ranks first at a position (None: the
    last layer's); None if it never does."""
    leaders = _leaders(frame, position)
    wanted = leaders.iloc[-1] if token is None else token
    layers = leaders.index[leaders == wanted]
    return int(layers[0]) if len(layers) else None


def settled_layer(frame: pd.DataFrame, position: int) -> int:
    """Of `lens` or `grid`: the layer from which on the last layer's top-1 ranks first without a
    break."""
    leaders = _leaders(frame, position)
    others = leaders.index[leaders != leaders.iloc[-1]]
    return int(leaders.index[leaders.index > others[-1]][0] if len(others) else leaders.index[0])


def n_leaders(frame: pd.DataFrame, position: int) -> int:
    """Of `lens` or `grid`: how many different tokens rank first at some layer."""
    return int(_leaders(frame, position).nunique())


def largest_part(frame: pd.DataFrame) -> str:
    """Of `attribution`: the part that adds most to the logit, such as "mlp 12". Which of a token's
    logits that is, or which difference, says the frame's `against`: parts that lift all tokens
    alike are large against nothing, and not against "mean"."""
    top = frame.iloc[int(frame["logit"].argmax())]
    return str(top["part"]) if pd.isna(top["block"]) else f"{top['part']} {top['block']}"


def share_changed(frame: pd.DataFrame, mistake: str = "norm_twice") -> float:
    """Of `mistakes`: the share of positions whose top-1 becomes another, 0 to 1."""
    row = frame.set_index("mistake").loc[mistake]
    return float(row["changed"] / row["positions"])


def leader(frame: pd.DataFrame, layer: int, position: int) -> str:
    """Of `lens` or `grid`: the token that ranks first at a layer and position."""
    return str(_leaders(frame, position)[layer])


def leader_prob(frame: pd.DataFrame, layer: int, position: int) -> float:
    """Of `lens` or `grid` in the modes that give probabilities: that of the token that ranks first
    at a layer and position."""
    cells = frame[(frame["layer"] == layer) & (frame["position"] == position)]
    return float(cells["prob"].max())


def target_probs(frame: pd.DataFrame, position: int) -> list[float]:
    """Of `statistics`: the target's probability at a position, layer by layer."""
    states = frame[frame["position"] == position].sort_values("layer")
    return [float(prob) for prob in states["target_prob"]]


def part_sum(frame: pd.DataFrame, part: str) -> float:
    """Of `attribution`: what a part ("embedding", "attn", "mlp") adds to the logit in all blocks
    together; of the token's logit if the frame is against nothing, else of its difference from the
    average token's or another's."""
    return float(frame.loc[frame["part"] == part, "logit"].sum())


def largest_block(frame: pd.DataFrame, part: str | None = None) -> int:
    """Of `attribution`: the block whose attention or MLP (or that `part` only) adds most by itself,
    to what the frame is `against`, as for `largest_part`."""
    writes = frame.dropna(subset="block")
    writes = writes if part is None else writes[writes["part"] == part]
    return int(writes.iloc[int(writes["logit"].argmax())]["block"])


def surest_write_size(frame: pd.DataFrame, position: int) -> float:
    """Of `grid` in the mode "deltas_own_norm": the norm of the delta that looks surest at a
    position, as a share of the largest delta's there."""
    cells = frame[frame["position"] == position]
    return float(cells.iloc[int(cells["prob"].argmax())]["norm"] / cells["norm"].max())


def _leaders(frame: pd.DataFrame, position: int) -> pd.Series:
    """The top-1 by layer at a position."""
    cells = frame[frame["position"] == position].drop_duplicates("layer")
    return cells.set_index("layer")["predicted"].sort_index()


MEASURES = (
    first_leading_layer,
    settled_layer,
    n_leaders,
    largest_part,
    share_changed,
    leader,
    leader_prob,
    target_probs,
    part_sum,
    largest_block,
    surest_write_size,
)
