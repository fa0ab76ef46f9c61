"""What lessons ask of the predictions: one number of a view's table."""

from __future__ import annotations

import math

import pandas as pd


def top1(frame: pd.DataFrame) -> str:
    """Of `next_token`: the likeliest token."""
    return str(frame["predicted"].iloc[0])


def top1_prob(frame: pd.DataFrame) -> float:
    """Of `next_token`: the probability of the likeliest token."""
    return float(frame["prob"].iloc[0])


def n_to_reach(frame: pd.DataFrame, mass: float = 0.5) -> int | None:
    """Of `next_token`: how many of the likeliest tokens hold `mass` together; None if k do not."""
    reached = frame["prob"].cumsum() >= mass
    return int(reached.to_numpy().argmax()) + 1 if reached.any() else None


def most_surprising(frame: pd.DataFrame) -> int | None:
    """Of `surprisal`: the position of the token that was foreseen least; None for one token."""
    foreseen = frame.dropna(subset="logprob")
    if foreseen.empty:
        return None
    return int(foreseen.iloc[int(foreseen["logprob"].argmin())]["position"])


def mean_surprisal(frame: pd.DataFrame) -> float:
    """Of `surprisal`: mean surprisal in nats a token, the loss; NaN for one token."""
    return float(-frame["logprob"].mean())


def share_foreseen(frame: pd.DataFrame) -> float:
    """Of `surprisal`: the share of tokens that were the top-1, 0 to 1; NaN for one token."""
    return float((frame["rank"].dropna() == 0).astype(float).mean())


def late_share(frame: pd.DataFrame) -> float:
    """Of `surprisal`: the share of all surprisal that falls in the prompt's second half, 0 to 1; of
    an odd number of tokens the middle one is in the first. NaN for one token."""
    nats = -frame["logprob"].iloc[1:]
    return float(nats[frame["position"] >= (len(frame) + 1) // 2].sum() / (nats.sum() or math.nan))


def choices(frame: pd.DataFrame) -> float:
    """Of `entropy`: how many equally likely tokens would leave as much doubt."""
    return float(frame["choices"].iloc[0])


MEASURES = (
    top1,
    top1_prob,
    n_to_reach,
    most_surprising,
    mean_surprisal,
    share_foreseen,
    late_share,
    choices,
)
