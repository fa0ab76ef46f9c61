"""How the cosine of two random directions is distributed, exactly, and how far a sample is from it.

The directions of isotropic Gaussian vectors in d dimensions are uniform on a sphere, so for the
cosine c of two of them (1 + c) / 2 has a Beta((d - 1) / 2, (d - 1) / 2) distribution: mean 0 and
variance 1 / d. In one dimension there are two directions only, so half of all cosines are -1 and
half are +1; two dimensions give the arcsine law, three a flat one.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from strata.concepts.run import check_count

Floats = NDArray[np.float64]

WIDEST = 1_000_000  # dimensions
POINTS = 1_000  # quantiles that stand for a whole distribution
_ONE = 1 - 1e-6  # a cosine beyond it is a spike of dimension 1, rounded


def density(cosine: ArrayLike, d: int) -> Floats:
    """Density at each cosine, for d dimensions; infinite at -1 and 1 for d = 2, and for d = 1
    zero but there. InputError unless d is a whole number from 1."""
    d = check_count("The number of dimensions", d, WIDEST)
    c = np.asarray(cosine, dtype=np.float64)
    if d == 1:
        return np.where(np.abs(c) == 1, np.inf, 0.0)
    with np.errstate(divide="ignore"):
        log = special.xlog1py((d - 3) / 2, -(c**2)) - special.betaln(0.5, (d - 1) / 2)
    return np.where(np.abs(c) <= 1, np.exp(log), 0.0)


def cumulative(cosine: ArrayLike, d: int) -> Floats:
    """Share of pairs with at most this cosine, for d dimensions; d = 1: 1/2 from -1 to below 1."""
    d = check_count("The number of dimensions", d, WIDEST)
    c = np.clip(np.asarray(cosine, dtype=np.float64), -1, 1)
    if d == 1:
        return np.where(c >= _ONE, 1.0, np.where(c >= -1, 0.5, 0.0))
    half = (d - 1) / 2
    return special.betainc(half, half, (1 + c) / 2)


def curve(d: int, low: float = -1.0, high: float = 1.0, points: int = 400) -> pd.DataFrame:
    """The density as a line to draw from `low` to `high`: cosine, density. Of one dimension its
    spikes within these limits, with a density that is missing."""
    if check_count("The number of dimensions", d, WIDEST) == 1:
        spikes = [c for c in (-1.0, 1.0) if low <= c <= high]
        return pd.DataFrame({"cosine": spikes, "density": [np.nan] * len(spikes)})
    edges = np.linspace(max(low, -1), min(high, 1), points + 1)
    middle = (edges[1:] + edges[:-1]) / 2  # never -1 or 1, where two dimensions are infinite
    return pd.DataFrame({"cosine": middle, "density": density(middle, d)})


def quantile(share: float, d: int) -> float:
    """The cosine that this share of pairs does not exceed, for d dimensions."""
    d = check_count("The number of dimensions", d, WIDEST)
    if d == 1:
        return -1.0 if share <= 0.5 else 1.0
    half = (d - 1) / 2
    return float(2 * special.betaincinv(half, half, share) - 1)


def even_ranks(n: int, points: int = POINTS) -> NDArray[np.int64]:
    """Of n ordered values, the ranks of `points + 1` evenly spaced quantiles, first and last
    included; all n ranks where there are fewer."""
    return np.unique(np.rint(np.linspace(0, n - 1, points + 1)).astype(np.int64))


def ks_distance(cosines: ArrayLike, ranks: ArrayLike, d: int) -> float:
    """Kolmogorov-Smirnov distance: the largest difference between the shares of pairs below any
    cosine, in the sample and for random directions in d dimensions. From 0 to 1.

    `cosines` are order statistics of the sample and `ranks` their ranks, first and last included,
    as from `even_ranks`. Between two ranks the distance can be larger by at most their difference
    in shares, so the answer is at most 1 / 1,000 too small.
    """
    c, ranks = np.asarray(cosines, dtype=np.float64), np.asarray(ranks)
    n = ranks[-1] + 1
    up_to = cumulative(c, d)
    below = up_to if d > 1 else np.where(c <= -_ONE, 0.0, 0.5)  # a spike has two sides
    return float(max(((ranks + 1) / n - up_to).max(), (below - ranks / n).max()))


def best_dimension(cosines: ArrayLike, ranks: ArrayLike, most: int) -> int:
    """Of 1 to `most` dimensions the one whose distribution is nearest, by `ks_distance`.

    At each cosine the share for d dimensions rises or falls steadily with d, so the distance falls
    and then rises: halving the interval finds its minimum.
    """
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        if ks_distance(cosines, ranks, middle) <= ks_distance(cosines, ranks, middle + 1):
            high = middle
        else:
            low = middle + 1
    return low
