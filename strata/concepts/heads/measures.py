"""What lessons ask of attention heads: one value of a view's table."""

from __future__ import annotations

import math

import pandas as pd

from strata.concepts.heads.words import FAINT, readers_of, with_part


def top_block(frame: pd.DataFrame) -> int:
    """Of `read_and_written`: the block of the head that writes most towards the target."""
    return int(_top(frame)["block"])


def top_reads(frame: pd.DataFrame) -> int | None:
    """Of `read_and_written`: the position, no attention sink, that the head that writes most
    towards the target reads most; None where it reads sinks only."""
    key = _top(frame)["key"]
    return None if pd.isna(key) else int(key)


def readers_that_write(frame: pd.DataFrame) -> float:
    """Of `read_and_written`: of the other heads that give the token that the leading head reads at
    least half as much attention as that one does, the share that write a tenth of what it does
    towards the target, or more; NaN where there is no such head, where the leading one reads sinks
    only, and where no head writes towards the target."""
    same, top = readers_of(frame), _top(frame)
    return float((same["logit"] >= FAINT * top["logit"]).mean()) if top["logit"] > 0 else math.nan


def mean_sink_share(frame: pd.DataFrame) -> float:
    """Of `sink_share`: the mean over all heads of the share of attention that sinks get; NaN where
    the prompt has none."""
    return float(frame["share"].mean())


def sink_worth(frame: pd.DataFrame) -> float:
    """Of `sink_share`: the norm that a head writes from the sinks over the one that it writes from
    other tokens by as much attention, the median of all heads; NaN where the prompt has none."""
    return float(with_part(frame)["worth"].median())


def logprob_change(frame: pd.DataFrame) -> float:
    """Of `changed`: what the edit does to the target's log-probability, in nats."""
    clean, edited = (frame.loc[frame["edit"] == e, "logprob"].iloc[0] for e in ("clean", "head"))
    return float(edited - clean)


def top_after(frame: pd.DataFrame) -> str:
    """Of `changed`: the likeliest next token when the head is changed."""
    return str(frame.loc[frame["edit"] == "head", "top"].iloc[0])


def _top(frame: pd.DataFrame) -> pd.Series:
    return frame.loc[frame["logit"].idxmax()]


MEASURES = (
    top_block,
    top_reads,
    readers_that_write,
    mean_sink_share,
    sink_worth,
    logprob_change,
    top_after,
)
