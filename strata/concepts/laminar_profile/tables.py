"""Laminar profile: how alike the states of a prompt are, from layer to layer and token to token."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from strata.concepts import quick
from strata.concepts.laminar_profile.cosines import (
    Floats,
    Ints,
    cosines,
    every_two,
    pairs,
    random_band,
    shortcut,
)
from strata.concepts.run import check_count, check_position
from strata.concepts.sinks import kept
from strata.errors import InputError
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_JITTER = 0.14  # layers: standard deviation of the points' sideways scatter
_STATISTICS = ("minimum", "q25", "median", "q75", "maximum", "mean")
_KINDS = ("pair", "invented", "lost")


# -- the contract -----------------------------------------------------------------------------


@quick
def between_layers(trace: Trace, position: int, center: bool = False) -> pd.DataFrame:
    """How alike one token's states are at every two layers: layer_a, layer_b, cosine; all
    (L + 1)^2 ordered pairs, the diagonal included, before the final norm.

    `center` takes from each layer its mean over all positions. A state that is zero (so every
    centred one of a prompt of one token) has no direction: cosine NaN. InputError where `position`
    does not exist. Computed in float64. Seed 003.
    """
    position = check_position(trace, position)
    states = np.stack([_states(h, center)[position] for h in trace.hidden])  # (L + 1, D)
    layer_a, layer_b, cosine = every_two(states)
    return pd.DataFrame({"layer_a": layer_a, "layer_b": layer_b, "cosine": cosine})


@quick
def between_tokens(trace: Trace, layer: int, center: bool = False) -> pd.DataFrame:
    """How alike the states of every two tokens are at one layer: position_a, position_b, token_a,
    token_b, cosine; all T^2 ordered pairs, the diagonal included.

    `center` takes away that layer's mean over all positions. A zero state has no direction: cosine
    NaN. InputError unless `layer` is one of 0 to L. Computed in float64. Seed 003.
    """
    layer = _check_layer(layer, len(trace.hidden) - 1)
    a, b, cosine = every_two(_states(trace.hidden[layer], center))
    tokens = np.array(trace.tokens, dtype=object)
    return pd.DataFrame(
        {
            "position_a": a,
            "position_b": b,
            "token_a": tokens[a],
            "token_b": tokens[b],
            "cosine": cosine,
        }
    )


@quick
def profile(
    trace: Trace, skip_first: bool = True, center: bool = False, skip_sinks: bool = False
) -> pd.DataFrame:
    """How alike tokens are, layer by layer: layer, position_a, position_b, cosine; each unordered
    pair once (position_a < position_b), at layers 0 to L.

    `skip_first` leaves out position 0, often an attention sink, `skip_sinks` all that `sinks` finds
    by their norm; `center` takes from each layer its mean over the positions kept. No rows where
    fewer than two tokens are kept. A zero state has no direction: cosine NaN. Computed in float64.
    Seed 003.
    """
    left = kept(trace, skip_first, skip_sinks)
    found = [pairs(_states(h[left], center)) for h in trace.hidden]
    a, b, _ = found[0]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(len(found)), len(a)),
            "position_a": np.tile(left[a], len(found)),
            "position_b": np.tile(left[b], len(found)),
            "cosine": np.concatenate([cosine for _, _, cosine in found]),
        }
    )


# -- what the page draws: at most about 20,000 rows -------------------------------------------


def layer_matrices(
    model: Model, trace: Trace, positions: tuple[int, ...], center: bool = False
) -> pd.DataFrame:
    """`between_layers` for some tokens: position, layer_a, layer_b, cosine. Layer L + 1 stands for
    the state after the final norm, which the others are before; NaN where that has another width.

    InputError for more than 8 tokens, or for fewer where a model has very many layers.
    """
    most = min(8, max(1, 30_000 // (len(trace.hidden) + 1) ** 2))
    check_count("The number of tokens", len(positions), most)
    checked = [check_position(trace, position) for position in positions]
    layers = [_states(h, center)[checked] for h in _layers(model, trace)]
    if layers[-1].shape != layers[0].shape:  # the head reads another width: no cosine is defined
        layers[-1] = np.full_like(layers[0], np.nan)
    states = np.stack(layers)
    found = [every_two(states[:, i]) for i in range(len(checked))]  # of (L + 2, D)
    a, b, cosine = (np.concatenate(column) for column in zip(*found, strict=True))
    position = np.repeat(checked, len(states) ** 2)
    return pd.DataFrame({"position": position, "layer_a": a, "layer_b": b, "cosine": cosine})


def token_matrices(
    model: Model,
    trace: Trace,
    layers: tuple[int, ...],
    center: bool = False,
    n_max: int = 20_000,
) -> pd.DataFrame:
    """`between_tokens` at some layers: layer, position_a, position_b, cosine. Layer L + 1 stands
    for the states after the final norm.

    So many positions are taken, evenly spaced, first and last included, that there are at most
    `n_max` rows; centring is over all T positions always. InputError for more than 8 layers.
    """
    check_count("The number of layers", len(layers), 8)
    checked = [_check_layer(layer, len(trace.hidden)) for layer in layers]
    most = isqrt(check_count("n_max", n_max, 1_000_000) // len(checked))
    drawn = np.array(evenly_spaced(len(trace.tokens), min(most, len(trace.tokens))))
    rows = []
    for layer in checked:
        hidden = trace.hidden[-1] if layer == len(trace.hidden) else trace.hidden[layer]
        states = model.normed(hidden) if layer == len(trace.hidden) else hidden
        a, b, cosine = every_two(_states(states, center)[drawn])
        rows.append(
            pd.DataFrame(
                {"layer": layer, "position_a": drawn[a], "position_b": drawn[b], "cosine": cosine}
            )
        )
    return pd.concat(rows, ignore_index=True)


def statistics(
    model: Model,
    trace: Trace,
    skip_first: bool = True,
    center: bool = False,
    unique: bool = False,
    skip_sinks: bool = False,
) -> pd.DataFrame:
    """`profile` in numbers, from all its pairs: layer, normed, n_pairs, minimum, q25, median, q75,
    maximum, mean, random_low, random_high. One row a layer, and a last one, `normed`, for the
    states after the final norm. No rows where no pair is kept.

    `n_pairs` counts the pairs whose cosine is defined; the other columns are NaN where there is
    none. `random_low` to `random_high` holds 95 % of pairs of random vectors, see `random_band`.
    `unique` gives the numbers that the seed's shortcut would, see `shortcut`.
    """
    left = kept(trace, skip_first, skip_sinks)
    low, high = random_band(trace.hidden.shape[-1], len(left) if center else None)
    rows = []
    for layer, hidden in enumerate(_layers(model, trace)):
        states = _states(hidden[left], center)
        _, _, cosine = shortcut(states) if unique else pairs(states)
        defined = cosine[~np.isnan(cosine)]
        numbers = [np.nan] * len(_STATISTICS)
        if len(defined):
            numbers = [*np.quantile(defined, [0, 0.25, 0.5, 0.75, 1]), defined.mean()]
        normed = layer == len(trace.hidden)
        rows.append((layer - normed, normed, len(defined), *numbers, low, high))
    columns = ["layer", "normed", "n_pairs", *_STATISTICS, "random_low", "random_high"]
    return pd.DataFrame(rows if len(left) > 1 else rows[:0], columns=columns)


def points(
    model: Model,
    trace: Trace,
    skip_first: bool = True,
    center: bool = False,
    unique: bool = False,
    n_max: int = 20_000,
    seed: int = 0,
    skip_sinks: bool = False,
) -> pd.DataFrame:
    """What the laminar profile draws: layer, normed, position_a, position_b, cosine, jitter, kind.

    All pairs if they are at most `n_max`; otherwise a seeded sample, the same pairs at every layer,
    and each layer's two extremes. `jitter` is a sideways shift in layers, the same for a pair at
    every layer. Undefined cosines are left out.

    `kind` is "pair", except where `unique` asks for the seed's shortcut: its zero that is no pair's
    cosine is "invented", and the pair that it drops is "lost".
    """
    left, n_rows = kept(trace, skip_first, skip_sinks), len(trace.hidden) + 1
    per_layer = check_count("n_max", n_max, 1_000_000) // n_rows
    if per_layer < 4:
        raise InputError(f"n_max must be at least {4 * n_rows} to show {n_rows} layers.")
    frames = []
    for layer, hidden in enumerate(_layers(model, trace)):
        states = _states(hidden[left], center)
        a, b, cosine = pairs(states)
        kind = np.zeros(len(a), dtype=int)
        if unique:
            a, b, cosine, kind = _told_apart(a, b, cosine, *shortcut(states))
        rng = np.random.default_rng(seed)
        jitter = np.clip(rng.normal(0, _JITTER, len(a)), -2.5 * _JITTER, 2.5 * _JITTER)
        drawn = _drawn(cosine, kind > 0, per_layer, rng)
        normed = layer == len(trace.hidden)
        frames.append(
            pd.DataFrame(
                {
                    "layer": layer - normed,
                    "normed": normed,
                    "position_a": left[a[drawn]],
                    "position_b": left[b[drawn]],
                    "cosine": cosine[drawn],
                    "jitter": jitter[drawn],
                    "kind": np.array(_KINDS, dtype=object)[kind[drawn]],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def pair(
    model: Model,
    trace: Trace,
    position_a: int,
    position_b: int,
    skip_first: bool = True,
    center: bool = False,
    skip_sinks: bool = False,
) -> pd.DataFrame:
    """One pair of `profile` through all layers: layer, normed, cosine, with a last row for the
    states after the final norm. InputError where one of the two is not among the positions kept."""
    left = kept(trace, skip_first, skip_sinks).tolist()
    two = []
    for position in (position_a, position_b):
        if check_position(trace, position) not in left:
            raise InputError(
                f"Position {position} is left out of the profile; keep it to look at its pairs."
            )
        two.append(left.index(position))
    last = len(trace.hidden)
    rows = [
        (min(layer, last - 1), layer == last, cosines(_states(hidden[left], center)[two])[0, 1])
        for layer, hidden in enumerate(_layers(model, trace))
    ]
    return pd.DataFrame(rows, columns=["layer", "normed", "cosine"])


def evenly_spaced(n: int, count: int = 4) -> list[int]:
    """`count` of n positions or layers, first and last included, as the seed chooses them; each
    once, so fewer where n is smaller."""
    return sorted({int(i) for i in np.linspace(0, n - 1, count, dtype=int)})


def most_alike(frame: pd.DataFrame, n: int = 12) -> pd.DataFrame:
    """Of `between_tokens`: the n pairs of different positions that are most alike, the most alike
    first: position_a, position_b, cosine."""
    pairs = frame.loc[frame["position_a"] < frame["position_b"]].dropna()
    return pairs.nlargest(n, "cosine")[["position_a", "position_b", "cosine"]]


# -- inside -----------------------------------------------------------------------------------


def _layers(model: Model, trace: Trace) -> Iterator[torch.Tensor]:
    """(T, D) at layers 0 to L, then after the final norm."""
    yield from trace.hidden
    yield model.normed(trace.hidden[-1])


def _states(hidden: torch.Tensor, center: bool) -> Floats:
    """(n, D) in float64, less their mean if they are to be centred."""
    states: Floats = hidden.double().numpy()
    return states - states.mean(axis=0) if center and len(states) else states


def _told_apart(
    a: Ints, b: Ints, cosine: Floats, kept_a: Ints, kept_b: Ints, kept: Floats
) -> tuple[Ints, Ints, Floats, Ints]:
    """What the shortcut kept, with the kind of each (an index of `_KINDS`), and what it lost."""
    kind = np.where(kept_a == kept_b, 1, 0)
    if not kind.any():  # the zero was dropped, as was meant
        return kept_a, kept_b, kept, kind
    lost = int(np.nanargmin(cosine))
    return (
        np.append(kept_a, a[lost]),
        np.append(kept_b, b[lost]),
        np.append(kept, cosine[lost]),
        np.append(kind, 2),
    )


def _drawn(
    cosine: Floats, always: NDArray[np.bool_], n_most: int, rng: np.random.Generator
) -> Ints:
    """Which pairs of a layer are drawn, in order: all, or a sample with the extremes."""
    chosen = np.arange(len(cosine))
    if len(cosine) > n_most:
        extremes = [] if np.isnan(cosine).all() else [np.nanargmin(cosine), np.nanargmax(cosine)]
        always = np.union1d(np.flatnonzero(always), np.array(extremes, dtype=int))
        sample = rng.choice(len(cosine), n_most - 4, replace=False)
        chosen = np.union1d(sample, always)
    return chosen[~np.isnan(cosine[chosen])]


def _check_layer(layer: int, last: int) -> int:
    """The layer as an int; InputError unless it is one of 0 to `last`."""
    try:
        number = operator.index(layer)
    except TypeError:
        raise InputError(f"A layer must be a whole number, not {layer!r}.") from None
    if not 0 <= number <= last:
        raise InputError(f"Layer {number} does not exist: layers are 0 to {last}.")
    return number
