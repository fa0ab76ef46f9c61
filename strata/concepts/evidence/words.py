"""What the figures of a set say, in sentences computed from its tables."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

import pandas as pd

from strata.concepts.evidence.compared import Compared, Hypothesis
from strata.concepts.evidence.probing import LINEAR, MEANS, WORDS
from strata.concepts.evidence.statistics import LEVEL
from strata.display.tokens import digits, display_text, stretches

_HALVES = {
    "explored": "the explored half",
    "held_out": "the half that was held out",
    "all": "the whole set",
}


def some(found: Compared) -> str:
    """How many pairs, or prompts, there are: "12 pairs"."""
    if found.paired:
        return f"{found.n} pairs"
    return " and ".join(f"{len(rows)} prompts" for rows in found.rows.values())


def of_half(n_pairs: int) -> str:
    """What half of so many pairs can show, by `python -m tests.alarms`."""
    return (
        f"{(n_pairs + 1) // 2} of {n_pairs} pairs are shown. From 12 pairs an effect of 0.8 "
        "standard deviations is found in 4 of 10 sets, from 24 in 9 of 10: what is not shown may "
        "be there."
    )


def means_reading(frame: pd.DataFrame, quantity: str) -> str:
    """On `means`: each condition at the layer where they lie furthest apart for the width of their
    intervals."""
    wide = frame.pivot(index="layer", columns="condition", values="mean")
    width = frame.assign(width=frame["high"] - frame["low"]).groupby("layer")["width"].mean()
    apart = wide.max(axis=1) - wide.min(axis=1)
    apart = apart[apart > 1e-9 * frame["mean"].abs().max()]  # less is rounding
    if apart.empty:
        return f"{quantity}: the means of all conditions are the same at every layer."
    layer = int((apart / width[apart.index]).idxmax())  # without any width: infinite
    told = ", ".join(
        f"“{display_text(row.condition)}” {digits(row.mean)} ({digits(row.low)} to "
        f"{digits(row.high)})"
        for row in frame[frame["layer"] == layer].itertuples()
    )
    return (
        f"{quantity}, at layer {layer}, where the conditions lie furthest apart for the width of "
        f"their intervals: {told}."
    )


def difference_reading(
    frame: pd.DataFrame, found: Compared, conditions: Sequence[str], half: str
) -> str:
    """On `differences`: at how many layers the two conditions differ more than chance would, once
    all layers are asked, and how many would seem to if each were asked alone."""
    a, b = (f"“{display_text(name)}”" for name in conditions)
    n_layers = len(frame)
    if not n_layers:
        return f"At no layer do {a} and {b} have numbers that could be compared."
    sure, alone = frame[frame["survives"]], int((frame["p"] <= LEVEL).sum())
    where = f"in {_HALVES[half]} ({some(found)})"
    if (least := found.least_p(conditions)) > LEVEL:
        return (
            f"{some(found)} are too few to tell {a} from {b} by: even the clearest difference "
            f"that there can be comes by chance in {least:.0%} of sets."
        )
    by_chance = f"{LEVEL * n_layers:.1f}"
    if sure.empty:
        seem = {0: "none would", 1: "1 would seem to"}.get(alone, f"{alone} would seem to")
        return (
            f"At none of {n_layers} layer{'s' * (n_layers != 1)} do {a} and {b} differ more than "
            f"chance would by itself in 1 of 20 sets, {where}. Asked one by one, {seem}; chance "
            f"alone gives about {by_chance} of {n_layers} on average."
        )
    best = frame.loc[frame["t"].abs().idxmax()]
    larger = "larger" if best["difference"] > 0 else "smaller"
    return (
        f"{_layers(sure['layer'].tolist(), n_layers)} differ{'s' * (len(sure) == 1)} more than "
        f"chance would by itself in 1 of 20 sets, {where}. It is surest at layer "
        f"{int(best['layer'])}, where {a} is {larger} than {b} by "
        f"{digits(abs(best['difference']))} ({_interval(best)}). Asked one by one, {alone} "
        f"would; chance alone gives about {by_chance} of {n_layers} on average."
    )


def hypothesis(claim: Hypothesis, quantity: str, conditions: Sequence[str]) -> str:
    """A hypothesis in words."""
    a, b = (f"“{display_text(name)}”" for name in conditions)
    where = (
        f"layer {claim.low}" if claim.low == claim.high else f"layers {claim.low} to {claim.high}"
    )
    return (
        f"{quantity} is {'larger' if claim.larger else 'smaller'} for {a} than for {b} at {where}"
    )


def outcome_reading(
    outcome: pd.DataFrame,
    claim: Hypothesis,
    found: Compared,
    quantity: str,
    conditions: Sequence[str],
    number: int,
    *,
    seen: bool = False,
) -> str:
    """On `outcome`: the hypothesis, and what the half that was held out says of it; `number`: how
    many were written about this half, by which p is multiplied (Bonferroni); `seen`: these numbers
    had been on the screen before it was written, so nothing follows from them."""
    row = outcome.iloc[0]
    difference, effect = float(row["difference"]), abs(float(row["effect"]))
    told = f"it is {'larger' if difference > 0 else 'smaller'} by {digits(abs(difference))}"
    if difference == 0:
        told = "there is no difference"
    deviations = "" if isnan(effect) else f"; {effect:.1f} standard deviations"
    if found.least_p(conditions, two_sided=False) * number > LEVEL:
        said = "so few cannot show it, whatever they are"
    elif row["p"] * number <= LEVEL:
        said = "it holds there too"
    elif row["p_contrary"] * number <= LEVEL:
        said = "it is the other way round there"
    else:
        said = "that is no more than chance gives, so it is not shown"
    said = f"{said} ({_p(row['p'], number)})"
    if seen:
        said = (
            "these numbers were on the screen before you wrote it, so they are no test of it; that "
            "takes prompts that nobody looked at"
        )
    return (
        f"You wrote: {hypothesis(claim, quantity, conditions)}. In the half that was held out "
        f"({some(found)}) {told} ({_interval(row)}{deviations}): {said}."
    )


def probe_reading(frame: pd.DataFrame, conditions: Sequence[str], half: str) -> str:
    """On `probe`: how often it tells the conditions apart where it does best, what shuffled labels
    give when they may choose their layer too, and what the words alone give."""
    a, b = (f"“{display_text(name)}”" for name in conditions)
    linear, means, words = (frame[frame["method"] == name] for name in (LINEAR, MEANS, WORDS))
    best, other = _best(linear), _best(means)
    first, alone = linear.iloc[0], words.iloc[0]
    plain = (
        "tell them apart no better than chance"
        if alone["as_good"]
        else "tell them apart too, so a probe need not read more than these"
    )
    return (
        f"A linear probe, tried on prompts that had no part in fitting it, tells {a} from {b} best "
        f"at {_where(linear, best)}: it is right for {_of(best)} prompts in {_HALVES[half]}. With "
        f"shuffled labels it is right for {best['shuffled_mean'] * best['n']:.1f} there on "
        f"average, and {_as_good(best, 'as_good')} at any layer: "
        f"{'no more than' if best['as_good'] else 'more than'} chance gives. The difference of "
        f"means is right for {_of(other)} at {_where(means, other)}; {_as_good(other, 'as_good')}. "
        f"At layer 0, where the state is the last token's embedding, the probe is right for "
        f"{_of(first)}. The words alone, as the mean embedding of all tokens ({_of(alone)}), "
        f"{plain}."
    )


def held_out_probe_reading(
    frame: pd.DataFrame, layer: int, conditions: Sequence[str], number: int
) -> str:
    """On `probe` of a half that was held out: what it says of the probe at the layer that was
    written down; `number`: how many were written about this half, by which p is multiplied."""
    a, b = (f"“{display_text(name)}”" for name in conditions)
    row = frame[(frame["method"] == LINEAR) & (frame["layer"] == layer)].iloc[0]
    p = (1 + row["as_good_here"]) / (1 + row["n_shuffles"])
    holds = "it holds there too"
    if p * number > LEVEL:
        holds = "that is no more than chance gives, so it is not shown"
    return (
        f"You wrote: a linear probe tells {a} from {b} at layer {layer}. Fitted on the explored "
        f"half and tried on the half that was held out, it is right for {_of(row)} prompts there. "
        f"With shuffled labels it is right for {row['shuffled_mean'] * row['n']:.1f} on average, "
        f"and {_as_good(row, 'as_good_here')}: {holds} ({_p(p, number)})."
    )


def left_out(found: Compared, *, of_a_word: bool) -> str:
    """Which prompts have no such number, `of_a_word` that is expected next; "" where all have."""
    if not found.left_out:
        return ""
    total = found.left_out + sum(map(len, found.rows.values()))
    why = ": their word is not one token here, or the other's too" if of_a_word else ""
    return f"without {found.left_out} of {total} prompts, which have no such number{why}"


def _best(frame: pd.DataFrame) -> pd.Series:
    """The row that is right most often, the first of several."""
    return frame.loc[frame["right"].idxmax()]


def _where(frame: pd.DataFrame, best: pd.Series) -> str:
    """The layer of that row, and how many others do as well."""
    others = int((frame["right"] == best["right"]).sum()) - 1
    also = f" (as well at {others} other{'s' * (others > 1)})" if others else ""
    return f"layer {best['layer']}{also}"


def _as_good(row: pd.Series, where: str) -> str:
    """How many shuffles are right as often: "none of 20 shuffles does as well"."""
    count = int(row[where])
    return f"{count or 'none'} of {row['n_shuffles']} shuffles do{'es' * (count < 2)} as well"


def _of(row: pd.Series) -> str:
    return f"{row['right']:g} of {row['n']}"


def _layers(layers: list[int], total: int) -> str:
    """Some layers: "Layers 3 to 5 and 9 (4 of 31)"."""
    return f"Layer{'s' * (len(layers) > 1)} {stretches(layers)} ({len(layers)} of {total})"


def _interval(row: pd.Series) -> str:
    """The 95 % interval of a difference, whichever is larger said as above 0."""
    low, high = row["low"], row["high"]
    if row["difference"] < 0:
        low, high = -high, -low
    return f"95 % interval {digits(low + 0.0)} to {digits(high + 0.0)}"  # 0, never -0


def _p(p: float, number: int) -> str:
    """A p-value, multiplied by how many hypotheses were written on this half."""
    p = min(1.0, p * number)
    told = "p is less than 0.0005" if p < 0.0005 else f"p = {p:.3f}"
    return told + f", multiplied by {number}, the hypotheses on this half" * (number > 1)
