"""What lessons ask of scaled blocks: one number of a view's table.

Where the target is a pair of words, its log-probability is the first one's less the second's.
"""

from __future__ import annotations

import math

import pandas as pd

from strata.concepts.scaling.words import UNCHANGED, by_block
from strata.concepts.target import leads


def most_hurtful_block(frame: pd.DataFrame, factor: float | None = None) -> int:
    """Of `sweep`: the block at which scaling (by `factor`, or by any) costs the target most."""
    rows = _of_factor(frame, factor)
    return int(rows.iloc[int(rows["logprob"].argmin())]["block"])


def worst_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the lowest log-probability of the target less the clean one, in nats."""
    rows = _of_factor(frame, factor)
    return float((rows["logprob"] - rows["clean_logprob"]).min())


def last_block_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep` or `last_block`: what scaling at the last block changes, |nats|, at most."""
    rows = _of_factor(frame, factor)
    rows = rows[rows["block"] == rows["block"].max()]
    return float((rows["logprob"] - rows["clean_logprob"]).abs().max())


def share_first(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the share of edited runs in which the target comes first, 0 to 1; of a pair, in
    which the first word is ahead of the second."""
    rows = _of_factor(frame, factor)
    return float(leads(rows["rank"], rows["logprob"]).mean())


def worst_logprob(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the lowest log-probability of the target, in nats."""
    return float(_of_factor(frame, factor)["logprob"].min())


def best_change(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: the highest log-probability of the target less the clean one, in nats."""
    rows = _of_factor(frame, factor)
    return float((rows["logprob"] - rows["clean_logprob"]).max())


def kl_at_best(frame: pd.DataFrame, factor: float | None = None) -> float:
    """Of `sweep`: KL(clean, edited) in nats of the run in which the target is likeliest."""
    rows = _of_factor(frame, factor)
    return float(rows.iloc[int(rows["logprob"].argmax())]["kl"])


def beyond_noise(frame: pd.DataFrame) -> int:
    """Of `controls`: at how many blocks scaling costs the target more than every random push of
    the same size does."""
    return int(by_block(frame)["beyond"].sum())


def noise_as_bad(frame: pd.DataFrame) -> float:
    """Of `controls`: at the block where scaling costs most, the share of random pushes of the same
    size that cost as much or more, 0 to 1; NaN where it costs nothing at any block."""
    rows = by_block(frame)
    worst = rows.iloc[int(rows["scale"].argmin())]
    if worst["scale"] - worst["clean_logprob"] > -UNCHANGED:
        return math.nan
    return float(worst["worse"] / (frame["edit"].eq("noise").sum() / len(rows)))


def _of_factor(frame: pd.DataFrame, factor: float | None) -> pd.DataFrame:
    return frame if factor is None else frame[frame["factor"] == factor]


MEASURES = (
    most_hurtful_block,
    worst_change,
    last_block_change,
    share_first,
    worst_logprob,
    best_change,
    kl_at_best,
    beyond_noise,
    noise_as_bad,
)
