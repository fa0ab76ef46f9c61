"""What a number by layer says over a set: means, intervals, differences against chance.

All functions take arrays (prompts or pairs, layers) in float64. Layers at which a number is missing
for any of them are missing in the answer; whoever asks leaves out prompts that have no number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
LEVEL = 0.05  # of a family of layers: what chance alone may reach in 1 of 20 sets
N_DRAWS = 9_999  # of signs or groups: a p-value is then known to 0.0001 at best
_EXACT = 13  # pairs: up to so many all their signs are tried, 2^13 of them
_SPREAD = 1e-10  # of what it is a part: less is rounding, so no spread is taken for less
_EQUAL = 1e-5  # by so much two sizes of t may differ by rounding alone


@dataclass(frozen=True)
class Difference:
    """Two conditions compared layer by layer, (layers,) each: mean (of the first less the second),
    low and high (95 % interval by Student's t, of each layer by itself), t, p (of a layer by
    itself), p_layers (corrected for all layers). `n`: pairs, or prompts of the smaller condition.

    p: the share of draws in which chance alone gives a |t| as large; p_layers: in which it gives
    one at any layer, so the largest over layers is compared (Westfall and Young 1993, single step;
    Nichols and Holmes 2002), which holds the family-wise rate however layers hang together.
    """

    mean: Floats
    low: Floats
    high: Floats
    t: Floats
    p: Floats
    p_layers: Floats
    n: int


def interval(values: Floats) -> tuple[Floats, Floats, Floats]:
    """(n, layers) -> the mean of each layer, and its 95 % interval by Student's t over prompts."""
    n = len(values)
    mean = values.mean(axis=0)
    if n < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def paired(differences: Floats, n_draws: int = N_DRAWS, seed: int = 0) -> Difference:
    """(pairs, layers) differences within pairs, against chance: if a pair's two prompts might as
    well be exchanged, each difference is as likely with the other sign. The same signs are drawn
    for all layers. Of up to 13 pairs all signs are tried."""
    n = len(differences)
    mean, low, high = interval(differences)
    t = _one_sample_t(mean, _squares(differences), n)
    null = _one_sample_t(_signs(n, n_draws, seed) @ differences / n, _squares(differences), n)
    return Difference(mean, low, high, t, *_p_values(t, null, exact=n <= _EXACT), n)


def independent(a: Floats, b: Floats, n_draws: int = N_DRAWS, seed: int = 0) -> Difference:
    """(n, layers) and (m, layers) of two groups that are not paired, against chance: if a prompt
    might as well be of the other condition, any n of them are as likely. t is Welch's, so that
    conditions may be spread unequally."""
    n, m = len(a), len(b)
    together = np.concatenate([a, b])  # (n + m, layers)
    mean = a.mean(axis=0) - b.mean(axis=0)
    spread = [x.var(axis=0, ddof=1) / len(x) for x in (a, b)]
    whole = sum(spread)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = whole**2 / sum(s**2 / (len(x) - 1) for s, x in zip(spread, (a, b), strict=True))
        half = np.where(whole == 0, 0.0, stats.t.ppf(0.975, freedom) * np.sqrt(whole))
    as_seen = np.repeat([1.0, 0.0], [n, m])
    chosen = np.vstack([as_seen, _groups(n, m, n_draws, seed)])  # (1 + draws, n + m)
    t, *null = _welch_t(chosen, together, n, m)
    p_values = _p_values(t, np.array(null))
    return Difference(mean, mean - half, mean + half, t, *p_values, min(n, m))


def by_signs(differences: Floats, n_draws: int, seed: int = 0) -> Floats:
    """(pairs, layers) -> (draws, layers): the mean difference where each pair's two prompts were
    exchanged or not by chance, the same for all layers; what `paired` counts, some draws of it."""
    n = len(differences)
    return np.random.default_rng(seed).choice([-1.0, 1.0], (n_draws, n)) @ differences / n


def by_groups(a: Floats, b: Floats, n_draws: int, seed: int = 0) -> Floats:
    """(n, layers) and (m, layers) -> (draws, layers): the difference of the means where any n of
    all prompts are taken for the first group; what `independent` counts."""
    n, m = len(a), len(b)
    together = np.concatenate([a, b])
    sums = _groups(n, m, n_draws, seed) @ together
    return sums / n - (together.sum(axis=0) - sums) / m


def least_p(n: int, m: int = 0, *, two_sided: bool = True) -> float:
    """The smallest p-value that n pairs can give, or n prompts against m without pairs: of few all
    signs, or groups, are few."""
    if not m:
        return min(1.0, (1 + two_sided) / 2**n)
    return min(1.0, (1 + (two_sided and n == m)) / comb(n + m, n))


def one_sided(differences: Floats, larger: bool, n_draws: int = N_DRAWS, seed: int = 0) -> float:
    """The p-value of one hypothesis that was written before these (pairs,) differences were seen:
    that their mean is above 0 (`larger`) or below; by signs, as in `paired`."""
    n, signed = len(differences), differences if larger else -differences
    mean = _signs(n, n_draws, seed) @ signed / n
    return _share(mean >= signed.mean() - _least(signed), exact=n <= _EXACT)


def one_sided_groups(
    a: Floats, b: Floats, larger: bool, n_draws: int = N_DRAWS, seed: int = 0
) -> float:
    """The same of two groups that are not paired, (n,) and (m,): that the mean of the first is
    above that of the second, or below."""
    n, m = len(a), len(b)
    values = np.concatenate([a, b]) * (1 if larger else -1)
    chosen = _groups(n, m, n_draws, seed) @ values
    means = chosen / n - (values.sum() - chosen) / m
    return _share(means >= values[:n].mean() - values[n:].mean() - _least(values), exact=False)


def halves(names: Sequence[str], seed: int = 0) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The places of the explored and of the held-out half, each in order. Which name is in which
    half depends on the names and the seed only, not on their order, and not on what is measured."""
    order = sorted(
        range(len(names)),
        key=lambda i: hashlib.sha256(f"{seed}\0{names[i]}".encode()).digest(),
    )
    explored = (len(names) + 1) // 2
    return tuple(sorted(order[:explored])), tuple(sorted(order[explored:]))


# -- inside -----------------------------------------------------------------------------------


def _signs(n: int, n_draws: int, seed: int) -> Floats:
    """(draws, n) of -1 and 1: all there are for few pairs, else drawn."""
    if n <= _EXACT:
        every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return np.asarray(1 - 2 * every, dtype=np.float64)
    return np.random.default_rng(seed).choice([-1.0, 1.0], (n_draws, n))


def _groups(n: int, m: int, n_draws: int, seed: int) -> Floats:
    """(draws, n + m) of 0 and 1, n of them 1."""
    ones = np.repeat([1.0, 0.0], [n, m])
    return np.random.default_rng(seed).permuted(np.tile(ones, (n_draws, 1)), axis=1)


def _squares(differences: Floats) -> Floats:
    return (differences**2).sum(axis=0)


def _one_sample_t(mean: Floats, squares: Floats, n: int) -> Floats:
    """t of means (..., layers) of n numbers whose squares sum to `squares`, which no sign changes;
    0 where all are 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.maximum(squares - n * mean**2, _SPREAD * squares)
        return np.where(squares > 0, mean / np.sqrt(left / (n - 1) / n), 0.0 * squares)


def _welch_t(chosen: Floats, values: Floats, n: int, m: int) -> Floats:
    """(draws, layers) Welch's t of the chosen n rows against the other m; 0 where all are equal."""
    centred = values - values.mean(axis=0)  # the squares below would else lose digits
    sums, squares = chosen @ centred, chosen @ centred**2
    total, whole = centred.sum(axis=0), (centred**2).sum(axis=0)
    means = sums / n, (total - sums) / m
    spread = (squares - n * means[0] ** 2) / (n - 1) / n + (whole - squares - m * means[1] ** 2) / (
        m - 1
    ) / m
    with np.errstate(invalid="ignore", divide="ignore"):
        t = (means[0] - means[1]) / np.sqrt(np.maximum(spread, _SPREAD * whole / (n + m)))
    rounding = (n + m) * np.square(_SPREAD * np.abs(values).max(axis=0))
    return np.where(whole <= rounding, 0.0 * whole, t)


def _p_values(t: Floats, null: Floats, exact: bool = False) -> tuple[Floats, Floats]:
    """(layers,) t and (draws, layers) of chance -> p of each layer, and p over all layers."""
    size, sizes = np.abs(t), np.abs(null)
    known = ~np.isnan(t)
    p, p_layers = np.full_like(t, np.nan), np.full_like(t, np.nan)
    if not known.any():
        return p, p_layers
    limit = size[known] * (1 - _EQUAL)
    largest = sizes[:, known].max(axis=1)
    p[known] = [
        _share(sizes[:, i] >= at, exact) for i, at in zip(np.flatnonzero(known), limit, strict=True)
    ]
    p_layers[known] = [_share(largest >= at, exact) for at in limit]
    return p, p_layers


def _share(as_large: NDArray[np.bool_], exact: bool) -> float:
    """Of all draws, those as large; where they are drawn, what was seen is counted as one."""
    n, total = int(as_large.sum()), len(as_large)
    return n / total if exact else (n + 1) / (total + 1)


def _least(values: Floats) -> float:
    return 1e-12 * float(np.abs(values).max(initial=0.0))
