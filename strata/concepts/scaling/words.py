"""What the figures of the scaled blocks say of a run, in one computed sentence each."""

from __future__ import annotations

import math

import pandas as pd

from strata.display.tokens import display_candidate
from strata.trace import Part

PART_NAMES = {"stream": "the stream", "attn": "the attention write", "mlp": "the MLP write"}
UNCHANGED = 0.01  # nats: a smaller change of a log-probability is called none


def reading(frame: pd.DataFrame, shown: str, part: Part = "stream") -> str:
    """One sentence on `sweep` at one factor: which block hurts the target most."""
    factor, clean = frame["factor"].iloc[0], frame["clean_logprob"].iloc[0]
    worst = frame.iloc[int(frame["logprob"].argmin())]
    said = f"Multiplying {PART_NAMES[part]} by {factor:g}"
    if worst["logprob"] > clean - UNCHANGED:
        return f"{said} makes “{shown}” less likely after no block at all (clean: {_nats(clean)})."
    kept = int((frame["rank"] == 0).sum())
    return (
        f"{said} hurts “{shown}” most at block {worst['block']:.0f}: from {_nats(clean)} to "
        f"{_nats(worst['logprob'])}, rank {worst['rank']:,.0f}; it comes first in {kept} of the "
        f"{len(frame)} edited runs."
    )


def clean_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on the clean run, of `sweep`."""
    clean = frame["clean_logprob"].iloc[0]
    return f"Without an edit “{shown}” has {_nats(clean)}, a probability of {math.exp(clean):.2%}."


def last_block_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on `last_block`, and why."""
    row = frame.iloc[0]
    same = row["top"] == row["clean_top"]
    first = f"“{display_candidate(row['top'])}” " + (
        "stays first" if same else f"takes the place of “{display_candidate(row['clean_top'])}”"
    )
    if abs(row["logprob"] - row["clean_logprob"]) < UNCHANGED and same:
        why = "the final norm divides a state by its own size, so the factor cancels"
    elif row["factor"] == 0:
        why = "the final norm has nothing left to bring back to size"
    elif row["factor"] < 0:
        why = "the final norm restores a state's size but not its direction"
    else:
        why = "the final norm does not cancel this factor"
    before, after = (_nats(row[name], "z.4f") for name in ("clean_logprob", "logprob"))
    return (
        f"Scaling the whole stream by {row['factor']:g} after the last block, {row['block']}, "
        f"takes “{shown}” from {before} to {after} and {first}: {why}."
    )


def map_reading(frame: pd.DataFrame, shown: str) -> str:
    """One sentence on `sweep` at several factors."""
    worst = frame.iloc[int(frame["logprob"].argmin())]
    best = frame.iloc[int(frame["logprob"].argmax())]
    gain = best["logprob"] - best["clean_logprob"]
    help_ = (
        f"; best is {best['factor']:g} at block {best['block']:.0f}, {_nats(gain, '+z.2f')}"
        if gain > UNCHANGED
        else "; no edit makes it likelier"
    )
    return (
        f"“{shown}” comes first in {int((frame['rank'] == 0).sum())} of {len(frame)} edited runs; "
        f"worst is a factor of {worst['factor']:g} at block {worst['block']:.0f}, "
        f"{_nats(worst['logprob'] - worst['clean_logprob'], '+z.2f')}{help_}."
    )


def compare_reading(frame: pd.DataFrame) -> str:
    """One sentence on `compare`: the top-1 before and after, and what rose most."""
    before, after = (frame.loc[frame[name].idxmin()] for name in ("clean_rank", "rank"))
    names = [display_candidate(row["predicted"]) for row in (before, after)]
    if names[0] == names[1]:
        return (
            f"“{names[0]}” stays first, at {before['prob']:.1%} instead of "
            f"{before['clean_prob']:.1%}."
        )
    return (
        f"“{names[1]}” ({after['prob']:.1%}) comes first instead of “{names[0]}”, which falls from "
        f"{before['clean_prob']:.1%} to {before['prob']:.1%}, rank {before['rank']:,}."
    )


def grid_reading(clean: pd.DataFrame, edited: pd.DataFrame) -> str:
    """One sentence on the logit lens without and with an edit (`logit_lens.grid`)."""
    other = clean["token_id"].to_numpy() != edited["token_id"].to_numpy()
    if not other.any():
        return "With the edit every layer still says what it says without it."
    last = clean["layer"].to_numpy() == clean["layer"].max()
    return (
        f"With the edit {other.sum():,} of {len(other):,} cells say another token, the first at "
        f"layer {clean['layer'][other].min()}; at the last layer {(other & last).sum()} of "
        f"{last.sum()} positions do."
    )


def _nats(value: float, digits: str = "z.2f") -> str:
    return f"{format(value, digits)} nats".replace("-", "−")
