"""What the laminar profile says in words, and as a program with plain transformers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from strata.concepts.laminar_profile.similarity import explained
from strata.display.tokens import SPACE, fixed, listed

_MAY_BREAK = "\u200a"  # a hair space: a line may be broken here, and nothing is hidden
GROUPS = (
    "A semicolon between groups, a space between words. Left empty, each word is a group: then "
    "states of one word in different contexts are compared with those of different words."
)
CHANCE = (
    "The line of chance is across and the largest difference of the draws: only states within a "
    "group that are more alike than this differ from those across by more than in any draw."
)
CKA = (
    "CKA compares the distances between states at one layer with those at another; it does not see "
    "that a layer is turned or scaled as a whole, and what varies most decides it. Any walk whose "
    "steps pile up gives bright blocks along the diagonal: look at what is left."
)
_SAME = 5e-6  # cosines that differ by less than this are called the same


def between_layers_reading(frame: pd.DataFrame, shown: Sequence[str]) -> str:
    """One sentence on `layer_matrices`: where a state turns most, and what the final norm does.

    `shown` is the text-safe form of each token of the prompt.
    """
    last = int(frame["layer_a"].max())  # L + 1, after the final norm
    steps = frame[frame["layer_b"] == frame["layer_a"] + 1].dropna()
    if steps.empty:
        return "A centred state of a prompt of one token is zero, and zero has no direction."
    blocks = steps[steps["layer_b"] < last]
    turned = blocks.iloc[int(blocks["cosine"].argmin())]
    position = int(turned["position"])
    matrix = frame[frame["position"] == position].set_index(["layer_a", "layer_b"])["cosine"]
    return (
        f"Block {turned['layer_a']:.0f} turns the state of {_named(position, shown)} most: the "
        f"cosine between before and after is {_cosine(turned['cosine'])}. Between the embedding "
        f"and layer {last - 1} it is {_cosine(matrix[0, last - 1])}, between layer {last - 1} and "
        f"its final norm {_cosine(matrix[last - 1, last])}."
    )


def between_tokens_reading(frame: pd.DataFrame, shown: Sequence[str], n_layers: int) -> str:
    """One sentence on `token_matrices`: who is most alike at one layer, or the median at several;
    and another where only some of the tokens are drawn."""
    n_drawn = frame["position_a"].nunique()
    few = f" {n_drawn} of {len(shown)} tokens are drawn, evenly spaced."
    few = few if n_drawn < len(shown) else ""
    different = frame[frame["position_a"] < frame["position_b"]].dropna()
    if different.empty:
        return "There are no two tokens whose states have a direction to compare." + few
    layers = different["layer"].unique()
    if len(layers) > 1:
        medians = different.groupby("layer")["cosine"].median()
        named = listed(
            [f"{_cosine(m)} {_at(int(layer), n_layers)}" for layer, m in medians.items()]
        )
        return f"The median cosine of two different tokens is {named}." + few
    where = _at(int(layers[0]), n_layers)
    if len(different) == 1:
        [only] = different.to_dict("records")
        return (
            f"{where[0].upper()}{where[1:]} the states of {_both(only, shown)}, the only pair, "
            f"have a cosine of {_cosine(only['cosine'])}.{few}"
        )
    most, least = (
        different.iloc[int(which)]
        for which in (different["cosine"].argmax(), different["cosine"].argmin())
    )
    if _cosine(most["cosine"]) == _cosine(least["cosine"]):
        return (
            f"{where[0].upper()}{where[1:]} all {_pairs(len(different))} of tokens have a cosine "
            f"of {_cosine(most['cosine'])}.{few}"
        )
    return (
        f"{where[0].upper()}{where[1:]} the states of {_both(most, shown)} are most alike, cosine "
        f"{_cosine(most['cosine'])}, those of {_both(least, shown)} least, "
        f"{_cosine(least['cosine'])}.{few}"
    )


def profile_reading(frame: pd.DataFrame, drawn: pd.DataFrame) -> str:
    """One sentence on `statistics`, and another where `points` draws only a sample."""
    layers = frame[~frame["normed"].astype(bool)].dropna()
    if layers.empty:
        return "There is no pair of tokens to compare: use a longer prompt, or keep the sinks."
    first, last = layers.iloc[0], layers.iloc[-1]
    top = layers.iloc[int(layers["median"].argmax())]
    pairs = int(frame["n_pairs"].max())
    text = (
        f"The median cosine of {_pairs(pairs)} goes from {_cosine(first['median'])} at layer "
        f"{first['layer']} to {_cosine(last['median'])} at layer {last['layer']}, highest at layer "
        f"{top['layer']} ({_cosine(top['median'])}); after the final norm it is "
        f"{_cosine(frame['median'].iloc[-1])}. Of pairs of random vectors, 95% would lie between "
        f"{_cosine(last['random_low'])} and {_cosine(last['random_high'])}."
    )
    undefined = frame[frame["n_pairs"] < pairs]
    if len(undefined):
        worst = undefined.iloc[int((pairs - undefined["n_pairs"]).argmax())]
        text += (
            f" At layer {worst['layer']}, {_pairs(pairs - int(worst['n_pairs']))} have no cosine, "
            "since a state there is zero."
        )
    n_drawn = int(drawn.groupby(["layer", "normed"]).size().min())
    if n_drawn < int(frame["n_pairs"].min()):
        text += (
            f" {n_drawn:,} pairs or more of {pairs:,} are drawn at each layer, a sample that keeps "
            "both extremes; the statistics use all."
        )
    return text


def pair_reading(
    pair: pd.DataFrame, frame: pd.DataFrame, row: int, a: int, b: int, shown: Sequence[str]
) -> str:
    """One sentence on `pair` at one of its rows, and where `statistics` places it among all."""
    cosine, among = pair["cosine"].iloc[row], frame.iloc[row]
    who = f"{_of(among)} {_named(a, shown)} and {_named(b, shown)} have"
    if pd.isna(cosine):
        return f"{who} no cosine, since one of the states is zero."
    place = "in the middle half of"
    if cosine >= among["maximum"] - _SAME:
        place = "the most alike of"
    elif cosine <= among["minimum"] + _SAME:
        place = "the least alike of"
    elif cosine > among["q75"]:
        place = "in the most alike quarter of"
    elif cosine < among["q25"]:
        place = "in the least alike quarter of"
    return f"{who} a cosine of {_cosine(cosine, 3)}, {place} {_pairs(among['n_pairs'])}."


def context(shown: Sequence[str], a: int, b: int, reach: int = 12) -> str:
    """The prompt as one text in which two positions are marked ⟦so⟧, with `reach` tokens around
    each; "…" stands for what is left out. Its lines may break where a word begins only: a mark of
    a space is no space to a browser, which would break them anywhere."""
    line, gap = "", False
    for position, token in enumerate(shown):
        if min(abs(position - a), abs(position - b)) > reach:
            line, gap = line if gap else line + "…", True
            continue
        if line and token.startswith(SPACE):
            line += _MAY_BREAK
        line, gap = line + (f"⟦{token}⟧" if position in (a, b) else token), False
    return line


def unique_bug_reading(right: pd.DataFrame, wrong: pd.DataFrame) -> str:
    """What `unique(triu(C, 1))[1:]` changes in `statistics`, in one or two sentences."""
    if right.empty:
        return "There is no pair, so there is nothing to get wrong."
    off = (right[["minimum", "median"]] - wrong[["minimum", "median"]]).abs().max(axis=1)
    lost = off[right["minimum"] < -_SAME]
    merged = right["n_pairs"] - wrong["n_pairs"]  # at a negative minimum one is lost, one invented
    text = "No cosine is negative here, so the shortcut drops nothing but its own zeros."
    if len(lost):
        row, kept = right.loc[lost.idxmax()], wrong.loc[lost.idxmax()]
        text = (
            f"Wrong in {len(lost)} of {len(right)} columns: where a cosine is negative the "
            "shortcut drops the true minimum and invents a pair of cosine 0. "
            f"{_of(row)} the minimum is {_apart(row['minimum'], kept['minimum'])}, and the median "
            f"{_apart(row['median'], kept['median'])}."
        )
    if (merged > 0).any():
        worst = merged.idxmax()
        text += f" {_of(right.loc[worst])} it also merges {_pairs(int(merged[worst]))} of equal "
        text += "cosine with others."
    return text


def index_bug_reading(
    right: pd.DataFrame, wrong: pd.DataFrame, titles: Sequence[int], names: Sequence[str]
) -> str:
    """What the seed's loop index shows under each title. The first column says which token or layer
    a row belongs to; panel i of the wrong ones is number i; `names` are by that number."""
    column = right.columns[0]
    false = [(title, i) for i, title in enumerate(titles) if title != i]
    if not false:
        return "Here the loop index happens to be the number itself, so every title is right."
    off = {}
    for title, i in false:
        a, b = right[right[column] == title], wrong[wrong[column] == i]
        off[title, i] = float(abs(a["cosine"].to_numpy() - b["cosine"].to_numpy()).max())
    title, i = max(off, key=lambda panel: off[panel])
    verb = "shows" if len(false) == 1 else "show"
    return (
        f"{len(false)} of {len(titles)} panels {verb} something else than the title says: the one "
        f"titled “{names[title]}” is really “{names[i]}”, and its cosines are off by up to "
        f"{_cosine(off[title, i])}."
    )


def _apart(right: float, wrong: float) -> str:
    """Two cosines in words, with as many digits as tell them apart."""
    for digits in range(3, 7):
        is_, is_not = _cosine(right, digits), _cosine(wrong, digits)
        if is_ != is_not:
            return f"{is_}, not {is_not}"
    return f"{is_} either way"


def _cosine(value: float, digits: int = 2) -> str:
    """A cosine in words: with a real minus sign, none before a zero, and only what is 1 as 1."""
    if pd.isna(value):
        return "undefined"
    while digits < 6 and abs(value) < 1 - _SAME and round(abs(value), digits) == 1:
        digits += 1
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _named(position: int, shown: Sequence[str]) -> str:
    return f"“{shown[position]}” ({position})"


def _both(row: Mapping[str, Any] | pd.Series, shown: Sequence[str]) -> str:
    a, b = int(row["position_a"]), int(row["position_b"])
    return f"{_named(a, shown)} and {_named(b, shown)}"


def _at(layer: int, n_layers: int) -> str:
    return f"at layer {layer}" if layer <= n_layers else "after the final norm"


def _of(row: pd.Series) -> str:
    return "After the final norm" if row["normed"] else f"At layer {row['layer']}"


def _pairs(count: int) -> str:
    return "1 pair" if count == 1 else f"{count:,} pairs"


def cka_reading(frame: pd.DataFrame) -> str:
    """Of `cka`: how much of what looks like blocks of layers their distance alone gives, and which
    two layers stand out from it."""
    share = explained(frame)
    if math.isnan(share):
        return "There is nothing to compare: CKA is the same for every two layers."
    pairs = frame[frame["layer_a"] < frame["layer_b"]]
    more, less = (pairs.loc[getattr(pairs["rest"], f"idx{end}")()] for end in ("max", "min"))
    steps = pairs[pairs["layer_b"] == pairs["layer_a"] + 1]
    turn = steps.loc[steps["cka"].idxmin()]
    told = [
        f"layers {each['layer_a']:.0f} and {each['layer_b']:.0f} are {word} alike than layers so "
        f"far apart usually are, by {abs(each['rest']):.2f}"
        for each, word in ((more, "more"), (less, "less"))
        if round(abs(each["rest"]), 2)
    ]
    over = (pairs["plain"] - pairs["cka"]).mean()
    return (
        f"How far apart two layers are gives {share:.0%} of the variance of their CKA by itself"
        f"{': ' if told else ''}{', and '.join(told)}. From one layer to the next CKA is least "
        f"from layer {turn['layer_a']:.0f} to {turn['layer_b']:.0f}, {fixed(turn['cka'], 2)}. "
        f"Without the correction it would be {fixed(over, 3)} larger on average."
    )


def selectivity_reading(frame: pd.DataFrame, in_groups: bool) -> str:
    """Of `selectivity`: where states of one word, or group, are most alike beyond others."""
    known = frame.dropna(subset="difference")
    sizes = frame.iloc[0]
    what = "group of words" if in_groups else "word in different contexts"
    if known.empty:
        return f"There are no two states of one {what} in different passages to compare."
    top = known.loc[known["difference"].idxmax()]
    last = known.iloc[-1]
    beyond, n_draws = int((known["difference"] > known["high"]).sum()), int(sizes["n_draws"])
    how = "words are grouped" if in_groups else "states have words"
    chance = (
        f"at {beyond} of {len(known)} layers the difference is beyond all {n_draws} draws in which "
        f"{how} at random, as by chance alone it is at 1 of {n_draws + 1} on average, and as large "
        f"as at layer {top['layer']:.0f} it is at any layer in {top['n_as_large']:.0f} of them"
        if n_draws
        else "there is no other way to group these words, to see what chance gives"
    )
    return (
        f"Over {sizes['n_pairs']:,.0f} pairs of {sizes['n_states']:,.0f} states, two of one {what} "
        f"are most alike beyond others at layer {top['layer']:.0f}: cosine "
        f"{fixed(top['within'], 2)} against {fixed(top['across'], 2)}. At layer "
        f"{last['layer']:.0f} it is {fixed(last['within'], 2)} against {fixed(last['across'], 2)}; "
        f"{chance}."
    )
