"""Cosines between states, on bare arrays, and what chance alone would give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import hyp2f1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def cosines(states: Floats) -> Floats:
    """(n, D) -> (n, n); NaN where a state is zero."""
    with np.errstate(invalid="ignore"):
        unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    return np.clip(unit @ unit.T, -1, 1)


def every_two(states: Floats) -> tuple[Ints, Ints, Floats]:
    """All n^2 ordered pairs of states: first, second, cosine."""
    a, b = np.indices((len(states), len(states)))
    return a.ravel(), b.ravel(), cosines(states).ravel()


def pairs(states: Floats) -> tuple[Ints, Ints, Floats]:
    """Each unordered pair of states once: first, second, cosine."""
    a, b = np.triu_indices(len(states), 1)
    return a, b, cosines(states)[a, b]


def shortcut(states: Floats) -> tuple[Ints, Ints, Floats]:
    """The pairs as the seed takes them, `torch.unique(torch.triu(C, 1))[1:]` in float32, which is
    wrong in three ways.

    The zeros below the diagonal are meant to be the smallest value, which [1:] drops. Once a cosine
    is negative it drops the true minimum and keeps a zero that is no pair's (here first = second =
    0). Pairs of equal cosine become one.
    """
    a, b, cosine = pairs(states)
    zeros = np.zeros(min(1, len(states)), int)  # all those below the diagonal, at the first of them
    a, b, cosine = np.append(zeros, a), np.append(zeros, b), np.append(zeros, cosine)
    value, where = np.unique(cosine.astype(np.float32), return_index=True)
    return a[where[1:]], b[where[1:]], value[1:].astype(np.float64)


def random_band(
    d_model: int, n_centred: int | None = None, share: float = 0.95
) -> tuple[float, float]:
    """Between which two cosines this share of pairs of random (Gaussian) vectors lies.

    Of free vectors the cosine is spread around 0: (1 + cosine) / 2 is Beta((D - 1) / 2,
    (D - 1) / 2). `n_centred` vectors from which their own mean was taken lean away from each
    other: any two correlate by -1 / (n - 1), and their cosine has Hotelling's distribution of a
    sample correlation (1953) with D degrees of freedom. NaN for fewer than two.
    """
    if n_centred is not None and n_centred < 3:
        only = -1.0 if n_centred == 2 else np.nan
        return only, only
    if d_model == 1:
        return -1.0, 1.0
    rho = 0.0 if n_centred is None else -1 / (n_centred - 1)
    z = np.arctanh(rho) + np.linspace(-40, 40, 20_001) / np.sqrt(d_model - 1)  # Fisher's scale
    cosine = np.tanh(z)
    log_density = (
        -(d_model - 1) * np.logaddexp(z, -z)  # log of (1 - cosine^2)^((D - 1) / 2), less a constant
        - (d_model - 0.5) * np.log1p(-rho * cosine)
        + np.log(hyp2f1(0.5, 0.5, d_model + 0.5, (1 + rho * cosine) / 2))
    )
    density = np.exp(log_density - log_density.max())
    cumulative = np.cumsum(density) - density / 2
    tails = (1 - share) / 2, (1 + share) / 2
    low, high = np.interp(np.array(tails) * cumulative[-1], cumulative, z)
    return float(np.tanh(low)), float(np.tanh(high))
