"""What maps of states say, in sentences computed from their tables, and as measures for lessons."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from strata.concepts.trajectories.measures import smoothness
from strata.display.tokens import digits, display_token, fixed, percent, with_shown

LETTERS = "ABCD"  # of prompts that share a map
CAVEAT = (
    "What may be read off: which states are near neighbours, as far as the trust goes. What may "
    "not: the distances between clusters, their sizes and places, and smoothness as such."
)
GRADES = (  # from which trust on what may be said of neighbours on a map
    (0.95, "mostly are neighbours in truth"),
    (0.8, "often are neighbours in truth, but far from always"),
    (-math.inf, "often are no neighbours in truth"),
)

SHAPE = (
    "The turning angle is between two steps of one token through the layers, the curvature between "
    "two steps from token to token at one layer. The stream grows, so late steps are long and the "
    "length is mostly theirs."
)
TWO = "A gradient needs a prompt of at least two tokens."
DROPPED = "Without the last position"
WHY_DROPPED = f"{DROPPED}: nothing after it is scored, so its gradient is exactly 0"


def silent(frame: pd.DataFrame, n_layers: int, n_tokens: int) -> str:
    """Which gradients a map of `gradient_map` leaves out beside those of the last position, in a
    sentence; '' if none. `n_layers`: L, or of the layers drawn one less."""
    missing = (n_layers + 1) * (n_tokens - 1) - len(frame)
    if not missing:
        return ""
    states = "1 more state is" if missing == 1 else f"{missing:,} more states are"
    return (
        f" {states} left out, whose gradient is exactly 0: the model foresaw what follows with a "
        "probability that rounds to 1."
    )


def disagreement(frame: pd.DataFrame, other: pd.DataFrame) -> float:
    """Of two maps of the same states: 0 where one can be moved, turned, mirrored and scaled onto
    the other, 1 where that explains nothing. Procrustes, as in SciPy."""
    one, two = (f[["x", "y"]].to_numpy() - f[["x", "y"]].to_numpy().mean(0) for f in (frame, other))
    aligned = np.linalg.svd(one.T @ two, compute_uv=False).sum()
    return max(0.0, 1 - float(aligned / (np.linalg.norm(one) * np.linalg.norm(two))) ** 2)


def reading(frame: pd.DataFrame) -> str:
    """One sentence on a map: how far to trust it."""
    first = frame.iloc[0]
    if math.isnan(first["trust"]):
        return "There are too few states here to judge the map."
    near = next(said for least, said in GRADES if round(first["trust"], 3) >= least)
    text = f"Trust {first['trust']:.3f} of 1, where chance gives 0.5: neighbours on the map {near}"
    if not math.isnan(first["kept"]):
        return f"{text}; two dimensions keep {percent(first['kept'])} of the variance."
    if math.isnan(step := smoothness(frame)):
        return f"{text}; all states are in one place on it."
    return f"{text}; a typical step between layers is {step:.1%} of the map's width."


def null_reading(frame: pd.DataFrame, walk: pd.DataFrame, again: pd.DataFrame) -> str:
    """One sentence on a map beside that of its random walk and one drawn with another seed."""
    ours, theirs = smoothness(frame), smoothness(walk)
    smooth = (
        "smooth paths alone say nothing of the model"
        if theirs < 2 * ours
        else "these paths are smoother than chance would draw them"
    )
    return (
        f"A typical step is {ours:.1%} of the map's width and in a random walk {theirs:.1%}: "
        f"{smooth}. Another seed moves {disagreement(frame, again):.0%} of this picture "
        "(0%: the same map, 100%: an unrelated one)."
    )


def norms_reading(frame: pd.DataFrame) -> str:
    """One sentence on `gradient_norms`."""
    if not frame["norm"].any():
        return "Every gradient of this text is exactly zero, since the model foresaw each token."
    top = with_shown(frame).iloc[int(frame["norm"].argmax())]
    scored = frame[frame["position"] < frame["position"].max()]
    medians = scored.groupby("layer")["norm"].median()
    return (
        f"The loss depends most on “{top['shown']}” at position {top['position']}, "
        f"layer {top['layer']} (norm {digits(top['norm'], 2)}); a typical gradient goes from "
        f"{digits(medians.iloc[0], 2)} at layer 0 to {digits(medians.iloc[-1], 2)} at layer "
        f"{medians.index[-1]}."
    )


def contexts_reading(frame: pd.DataFrame) -> str:
    """One sentence on `contexts`, about the token whose states part most."""
    if frame.empty:
        return "These prompts have no token in common."
    top = frame.loc[frame["cosine"].idxmin()]
    pair = ["token", "prompt_a", "prompt_b", "position_a"]
    path = frame[(frame[pair] == top[pair]).all(axis=1)].set_index("layer")["cosine"]
    here, there = (LETTERS[top[name]] for name in ("prompt_a", "prompt_b"))
    text = (
        f"The states of “{display_token(top['token'])}” in {here} and {there} have a cosine of "
        f"{fixed(path.iloc[0], 2)} at layer 0"
    )
    if top["layer"] == 0:
        return f"{text}, where it is lowest."
    return f"{text}; it is lowest at layer {top['layer']}, {fixed(top['cosine'], 2)}."


def shape_reading(frame: pd.DataFrame) -> str:
    """Of `shape_by_layer`: how paths turn, and where the text bends least."""
    turning, curved = frame["turning"].dropna(), frame["curvature"].dropna()
    if turning.empty:
        return "With one block a path is one step, which cannot turn."
    text = (
        f"{_whose(frame)} goes {digits(frame['length'].iloc[-1])} in all and "
        f"turns by {turning.mean():.0f}° at a layer on average (90°: as unrelated steps do)"
    )
    if curved.empty:
        if frame["n_tokens"].iloc[0] < 3:
            return f"{text}. The text is too short to bend from token to token."
        return (
            f"{text}. No token stands between two others without a sink among the three, so that "
            "the text would bend there."
        )
    first, layer = (int(frame.loc[at, "layer"]) for at in (curved.index[0], curved.idxmin()))
    least = f"at layer {layer}, by {curved.min():.0f}° (120°: as unrelated states do)"
    text += ". From token to token the text bends "
    text += (
        f"least {least}"
        if layer == first
        else (f"by {curved.iloc[0]:.0f}° at layer {first} and least {least}")
    )
    return f"{text}."


def _whose(frame: pd.DataFrame) -> str:
    """Whose path the means of `shape_by_layer` are of."""
    n_tokens, n_sinks = (int(frame[name].iloc[0]) for name in ("n_tokens", "n_sinks"))
    if n_tokens == 1:
        return "The path of the only token"
    which = ", all of them sinks," if n_sinks == n_tokens else " that is no sink"
    return f"The path of a token{which}"


def surprise_reading(found: tuple[float, float], n_tokens: int, noun: str) -> str:
    """Of `rank_correlation`: whether what a path does goes with how surprising its token is."""
    rank, share = found
    if math.isnan(rank):
        return "These are too few tokens to compare paths with surprisal."
    often = "less than 1 in 1,000" if share < 0.001 else percent(share)
    return (
        f"Over {n_tokens:,} tokens the {noun} and surprisal have a rank correlation of "
        f"{fixed(rank, 2)}, as far from 0 as in {often} of all shuffles of these tokens."
    )
