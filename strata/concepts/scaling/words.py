"""What the figures of the scaled blocks say of a run, in one computed sentence each."""

from __future__ import annotations

import math

import pandas as pd

from strata.concepts.target import leads, times_as_likely
from strata.display.tokens import (
    display_candidate,
    display_percent,
    listed,
    part_of,
    percent,
)
from strata.trace import Part

PART_NAMES = {"stream": "the stream", "attn": "the attention write", "mlp": "the MLP write"}
UNCHANGED = 0.01  # nats: a smaller change of a log-probability is called none


def reading(frame: pd.DataFrame, shown: str, part: Part = "stream", minus: str = "") -> str:
    """One sentence on `sweep` at one factor: which block hurts the target most. `minus`: the second
    word of a pair."""
    factor, clean = frame["factor"].iloc[0], frame["clean_logprob"].iloc[0]
    worst = frame.iloc[int(frame["logprob"].argmin())]
    said = f"Multiplying {PART_NAMES[part]} by {_plain(factor)}"
    if worst["logprob"] > clean - UNCHANGED and minus:
        lowers = f"lowers {_named(shown, minus)} after no block at all"
        return f"{said} {lowers} (clean: {_nats(clean)})."
    if worst["logprob"] > clean - UNCHANGED:
        return f"{said} makes “{shown}” less likely after no block at all (clean: {_nats(clean)})."
    kept = part_of(int(leads(frame["rank"], frame["logprob"]).sum()), len(frame), "edited run")
    if minus:
        return (
            f"{said} lowers {_named(shown, minus)} most at block {worst['block']:.0f}: from "
            f"{_nats(clean)} to {_nats(worst['logprob'])}; “{shown}” is ahead in {kept}."
        )
    return (
        f"{said} hurts “{shown}” most at block {worst['block']:.0f}: from {_nats(clean)} to "
        f"{_nats(worst['logprob'])}, rank {worst['rank']:,.0f}; it comes first in {kept}."
    )


def clean_reading(frame: pd.DataFrame, shown: str, minus: str = "") -> str:
    """One sentence on the clean run, of `sweep`."""
    clean = frame["clean_logprob"].iloc[0]
    if minus:
        return (
            f"Without an edit the log-probability of “{shown}” minus that of “{minus}” is "
            f"{_nats(clean)}, and so is the difference of their logits, since a softmax takes the "
            f"same number from both: {times_as_likely(clean, shown, minus)}."
        )
    prob = percent(math.exp(clean))
    return f"Without an edit “{shown}” has a log-probability of {_nats(clean)}, which is {prob}."


def last_block_reading(frame: pd.DataFrame, shown: str, minus: str = "") -> str:
    """One sentence on `last_block`, and why."""
    row = frame.iloc[0]
    same = row["top"] == row["clean_top"]
    top, clean_top = (display_candidate(row[name]) for name in ("top", "clean_top"))
    first = f"“{top}” " + ("stays first" if same else f"takes the place of “{clean_top}”")
    if row["ties"] > 1:
        first = f"makes {row['ties']:,} tokens equally likely, more than any other"
    if abs(row["logprob"] - row["clean_logprob"]) < UNCHANGED and same:
        why = "the final norm divides a state by its own size, so the factor cancels"
    elif row["factor"] == 0:
        why = "the final norm has nothing left to bring back to size"
    elif row["factor"] < 0:
        why = "the final norm restores a state's size but not its direction"
    else:
        why = "the final norm does not cancel this factor"
    before, after = (_nats(row[name], "z.4f") for name in ("clean_logprob", "logprob"))
    moves = f"takes {_named(shown, minus)} from {before} to {after}"
    if before == after:
        moves = f"leaves {_named(shown, minus)} at {before}"
    factor = _plain(row["factor"])
    return (
        f"Scaling the whole stream by {factor} after the last block, {row['block']}, "
        f"{moves} and {first}: {why}."
    )


def map_reading(frame: pd.DataFrame, shown: str, minus: str = "") -> str:
    """One sentence on `sweep` at several factors; one of 1 is no edit."""
    frame = frame[frame["factor"] != 1]
    if frame.empty:
        return "A factor of 1 changes nothing."
    kept = part_of(int(leads(frame["rank"], frame["logprob"]).sum()), len(frame), "edited run")
    leading = f"“{shown}” is ahead of “{minus}”" if minus else f"“{shown}” comes first"
    worst = frame.iloc[int(frame["logprob"].argmin())]
    best = frame.iloc[int(frame["logprob"].argmax())]
    gain = best["logprob"] - best["clean_logprob"]
    help_ = (
        f"; best is {_plain(best['factor'])} at block {best['block']:.0f}, {_nats(gain, '+z.2f')}"
        if gain > UNCHANGED
        else f"; no edit makes {'the difference larger' if minus else 'it likelier'}"
    )
    return (
        f"{leading} in {kept}; worst is a factor of {_plain(worst['factor'])} at block "
        f"{worst['block']:.0f}, {_nats(worst['logprob'] - worst['clean_logprob'], '+z.2f')}{help_}."
    )


def by_block(frame: pd.DataFrame) -> pd.DataFrame:
    """`controls` with a row for each block: block, scale, skip (their log-probabilities), low,
    median, high (those of the random pushes), worse (how many of the pushes cost as much as the
    scaling or more), beyond (whether the scaling costs anything, and more than each push),
    clean_logprob."""
    rows, clean = frame.set_index("block"), frame["clean_logprob"].iloc[0]
    scale, skip = (rows.loc[rows["edit"] == kind, "logprob"] for kind in ("scale", "skip"))
    noise = rows.loc[rows["edit"] == "noise", "logprob"]
    pushed = noise.groupby(level="block")
    worse = (noise <= scale.reindex(noise.index)).groupby(level="block").sum()
    found = {"scale": scale, "skip": skip, "low": pushed.min(), "median": pushed.median()}
    beyond = (worse == 0) & (scale - clean <= -UNCHANGED)  # else each push may help still more
    found |= {"high": pushed.max(), "worse": worse, "beyond": beyond}
    return pd.DataFrame(found).reset_index().assign(clean_logprob=clean)


def controls_reading(
    frame: pd.DataFrame, shown: str, part: Part = "stream", minus: str = ""
) -> str:
    """On `controls`: at which blocks scaling costs more than any push of its size, whether the one
    where it costs most is among them, and what leaving out a block costs."""
    rows, clean = by_block(frame), frame["clean_logprob"].iloc[0]
    worst, missed = (rows.loc[rows[name].idxmin()] for name in ("scale", "skip"))
    out = f"Left out whole, block {missed['block']:.0f} costs most"
    out = f"{out} ({_nats(missed['skip'] - clean, '+z.2f')})."
    if missed["skip"] > clean - UNCHANGED:
        out = "Left out whole, no block costs anything."
    factor = frame.loc[frame["edit"] == "scale", "factor"].iloc[0]
    if factor == 1:
        return f"A factor of 1 pushes nothing, and no noise is needed beside it. {out}"
    n_seeds = int((frame["edit"] == "noise").sum() / len(rows))
    beyond = rows.loc[rows["beyond"], "block"].tolist()
    places = f"{part_of(len(beyond), len(rows), 'block')}" if len(beyond) > 3 else _blocks(beyond)
    chance = len(rows) / (n_seeds + 1)
    about = f"about {chance:.0f}" if chance >= 1 else "fewer than 1"
    about += f" of {len(rows)}" + " at most" * (chance >= 1)  # fewer where scaling helps
    costs = f"lowers {_named(shown, minus)}" if minus else f"costs “{shown}”"
    said = (
        f"Multiplying {PART_NAMES[part]} by {factor:g} {costs} more than "
        f"{f'all {n_seeds}' if n_seeds > 1 else 'a'} random push{'es' * (n_seeds > 1)} of the same "
        f"size at {places} (by chance alone at {about})."
    )
    cost = worst["scale"] - clean
    at = f"block {worst['block']:.0f}, where it costs most ({_nats(cost, '+z.2f')})"
    if cost > -UNCHANGED:
        less = "lowers the difference" if minus else "makes it less likely"
        most = f"It {less} after no block at all."
    elif worst["beyond"]:
        more = len(beyond) > chance
        that = ": there this direction matters, not the push alone"
        most = f"So it does at {at}{that if more else ', yet at no more blocks than by chance'}."
    else:
        pushes = part_of(int(worst["worse"]), n_seeds, "random run")
        hurts = "any push hurts there" if 2 * worst["worse"] >= n_seeds else "it hardly stands out"
        most = f"At {at}, a push costs as much in {pushes}, so {hurts}."
    return f"{said} {most} {out}"


def pushed_sinks(tokens: list[str], positions: list[int]) -> str:
    """What to know of attention sinks among the tokens that are edited: they alone may be why."""
    named = listed([f"“{t}” (position {p})" for t, p in zip(tokens[:3], positions, strict=False)])
    more = f" and {len(tokens) - 3:,} more" * (len(tokens) > 3)
    are = "is an attention sink" if len(tokens) == 1 else "are attention sinks"
    return (
        f"{named}{more} {are}, with states many times as long as the others, so pushes are as much "
        "longer there and may be what hurts: choose positions without to see the others alone."
    )


def _blocks(blocks: list[int]) -> str:
    """Up to three blocks by their numbers."""
    if not blocks:
        return "no block"
    *first, last = map(str, blocks)
    return f"blocks {', '.join(first)} and {last}" if first else f"block {last} alone"


def compare_reading(frame: pd.DataFrame) -> str:
    """One sentence on `compare`: the top-1 before and after, and what rose most."""
    before, after = (frame.loc[frame[name].idxmin()] for name in ("clean_rank", "rank"))
    names = [display_candidate(row["predicted"]) for row in (before, after)]
    if names[0] == names[1]:
        return (
            f"“{names[0]}” stays first, at {display_percent(before['prob'])} instead of "
            f"{display_percent(before['clean_prob'])}."
        )
    return (
        f"“{names[1]}” ({display_percent(after['prob'])}) comes first instead of “{names[0]}”, "
        f"which falls from {display_percent(before['clean_prob'])} to "
        f"{display_percent(before['prob'])}, rank {before['rank']:,}."
    )


def grid_reading(clean: pd.DataFrame, edited: pd.DataFrame) -> str:
    """One sentence on the logit lens without and with an edit (`logit_lens.grid`)."""
    other = clean["token_id"].to_numpy() != edited["token_id"].to_numpy()
    if not other.any():
        return "With the edit every layer still says what it says without it."
    last = clean["layer"].to_numpy() == clean["layer"].max()
    return (
        f"With the edit another token leads in {part_of(other.sum(), len(other), 'cell')}, first "
        f"at layer {clean['layer'][other].min()}; at the last layer it does so at "
        f"{part_of((other & last).sum(), last.sum(), 'position')}."
    )


def _named(shown: str, minus: str) -> str:
    """The target in a sentence, a word or a pair."""
    return f"“{shown}” minus “{minus}”" if minus else f"“{shown}”"


def _plain(factor: float) -> str:
    """A factor as it stands in a sentence, with a true minus."""
    return f"{factor:g}".replace("-", "−")


def _nats(value: float, digits: str = "z.2f") -> str:
    return f"{format(value, digits)} nats".replace("-", "−")
