"""The Gaussian baseline: are a model's states spread like random directions, and of how many
dimensions? Seed 001."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import special
from torch import Tensor

from strata.concepts.gaussian_baseline import words
from strata.concepts.gaussian_baseline.density import (
    POINTS,
    best_dimension,
    even_ranks,
    ks_distance,
)
from strata.concepts.run import check_count
from strata.corpus import Sample
from strata.errors import InputError
from strata.trace import Part

Pairs = Literal["all", "within", "between"]
Floats = NDArray[np.float32]

BINS = 200  # of a histogram, as in the seed
CONTEXT = 10  # tokens shown before a sampled one
_NONE = "No two of these states can be compared; sample more token positions."
_NOTHING = 0.1  # an excess below this share of the baseline is sampling noise: nothing to explain


# -- the contract -----------------------------------------------------------------------------


def pair_cosines(states: Tensor | ArrayLike, center: bool = False, drop_top: int = 0) -> Floats:
    """How alike states are: the cosines between the first half of them (rows) and the second half
    (columns), (n, D) -> (n // 2, n - n // 2) float32.

    `center` takes the mean over all n from each; `drop_top` leaves out the k dimensions of largest
    variance. A state that is zero has no direction: NaN. InputError for fewer than two states, or
    if no dimension is left. Seed 001.
    """
    kept = _treated(states, center, drop_top)
    unit = kept / kept.norm(dim=1, keepdim=True)
    half = len(unit) // 2
    return (unit[:half] @ unit[half:].T).clamp_(-1, 1).numpy()


def gaussian_cosines(n: int, d_model: int, n_dims: int, seed: int) -> Floats:
    """The same for n vectors of Gaussian noise in which only the first `n_dims` of `d_model`
    coordinates are not zero. InputError unless n_dims is one of 1 to d_model. Seed 001."""
    n_dims = check_count("The number of dimensions", n_dims, d_model)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, d_model, generator=generator)
    noise[:, n_dims:] = 0
    return pair_cosines(noise)


def effective_dimension(cosines: ArrayLike) -> float:
    """In how many dimensions random directions are spread as widely: 1 / variance of the cosines;
    infinite where these are all equal."""
    variance = float(np.var(np.asarray(cosines), dtype=np.float64))
    return 1 / variance if variance else math.inf


def participation_ratio(states: Tensor | ArrayLike, center: bool = True) -> float:
    """Over how many directions the states' variance is spread: (sum of the covariance's
    eigenvalues)^2 / sum of their squares, from 1 to D.

    Without `center` of the second moments. From n samples of an isotropic Gaussian it is about
    1 / (1 / D + 1 / n), not D. NaN where all states are equal.
    """
    x = _treated(states, center).double()
    gram = x.T @ x if x.shape[1] <= len(x) else x @ x.T  # they share their eigenvalues
    trace, squares = float(gram.trace()), float(gram.square().sum())
    return trace**2 / squares if squares else math.nan


# -- one layer and part -----------------------------------------------------------------------


def histogram(
    sample: Sample,
    layer: int,
    part: Part = "stream",
    center: bool = False,
    drop_top: int = 0,
    pairs: Pairs = "all",
    zoom: bool = False,
) -> pd.DataFrame:
    """How the cosines of all pairs are spread: left, right (edges of a bin), count, density.

    200 bins from -1 to 1, or with `zoom` from the smallest to the largest cosine. `pairs`: all, or
    those within one text, or those between two. Seed 001.
    """
    cosines, _ = _selected(sample, layer, part, center, drop_top, pairs)
    edges = np.linspace(-1, 1, BINS + 1)
    if zoom and cosines.min() < cosines.max():
        edges = np.linspace(cosines.min(), cosines.max(), BINS + 1)
    count, _ = np.histogram(cosines, BINS, (edges[0], edges[-1]))
    density = count / len(cosines) / np.diff(edges)
    return pd.DataFrame(
        {"left": edges[:-1], "right": edges[1:], "count": count, "density": density}
    )


def quantiles(
    sample: Sample,
    layer: int,
    part: Part = "stream",
    center: bool = False,
    drop_top: int = 0,
    pairs: Pairs = "all",
) -> pd.DataFrame:
    """The pairs at 1,001 evenly spaced quantiles, from the least to the most alike: rank (among all
    pairs, by cosine), quantile, cosine, and for both tokens, a and b: text_a, position_a, before_a
    (ten tokens), token_a, next_a (missing where the text ends). Seed 001.

    It is also the whole distribution to a thousandth, see `ks_distance` in density.py.
    """
    cosines, cells = _selected(sample, layer, part, center, drop_top, pairs)
    order = np.argsort(cosines)
    ranks = even_ranks(len(cosines))
    half = len(sample) // 2
    a, b = np.divmod(cells[order[ranks]], len(sample) - half)
    columns: dict[str, object] = {
        "rank": ranks,
        "quantile": ranks / max(1, len(cosines) - 1),
        "cosine": cosines[order[ranks]].astype(np.float64),
    }
    for name, rows in (("a", a), ("b", b + half)):
        contexts = [_context(sample, row) for row in rows.tolist()]
        columns[f"text_{name}"] = sample.text[rows]
        columns[f"position_{name}"] = sample.position[rows]
        for key, values in zip(
            ("before", "token", "next"), zip(*contexts, strict=True), strict=True
        ):
            columns[f"{key}_{name}"] = list(values)
    return pd.DataFrame(columns)


def summary(
    sample: Sample,
    layer: int,
    part: Part = "stream",
    center: bool = False,
    drop_top: int = 0,
    pairs: Pairs = "all",
) -> pd.DataFrame:
    """The cosines of all pairs in numbers, one row: n_pairs, dims (D less what was dropped), mean,
    spread (standard deviation), mean_square, effective_dimension, participation_ratio, ks_full
    (Kolmogorov-Smirnov distance to random directions in all dims), best_dimension (the nearest
    there is), ks_best, ks_error (how much too small both distances can be)."""
    cosines, _ = _selected(sample, layer, part, center, drop_top, pairs)
    states = _treated(sample.states(layer, part), center, drop_top)
    frame = pd.DataFrame([_in_numbers(cosines, states.shape[1])])
    ratio = participation_ratio(states, center)
    frame.insert(6, "participation_ratio", ratio)
    return frame


def dimensions(sample: Sample, layer: int, part: Part = "stream") -> pd.DataFrame:
    """Each dimension over the n states: dim, mean, variance, share (of the variance of all),
    kurtosis (excess: 0 for a Gaussian, with a standard error of about sqrt(24 / n)). D rows."""
    x = sample.states(layer, part).double().numpy()  # (n, D)
    mean = x.mean(axis=0)
    squares = (x - mean) ** 2
    m2, m4 = squares.mean(axis=0), (squares**2).mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.DataFrame(
            {
                "dim": np.arange(x.shape[1]),
                "mean": mean,
                "variance": m2 * len(x) / (len(x) - 1),
                "share": m2 / m2.sum(),
                "kurtosis": m4 / m2**2 - 3,
            }
        )


def normality(sample: Sample, layer: int, dim: int, part: Part = "stream") -> pd.DataFrame:
    """One dimension against a Gaussian, quantile by quantile: expected, observed (both in standard
    deviations from the mean), text, position, token. At most 401 rows, the extremes included.

    InputError where the dimension does not exist or is the same in all states.
    """
    states = sample.states(layer, part)
    d_model = states.shape[1]
    if not 0 <= dim < d_model:
        raise InputError(f"Dimension {dim} does not exist: dimensions are 0 to {d_model - 1}.")
    x = states[:, dim].double().numpy()
    if x.min() == x.max():
        raise InputError(f"Dimension {dim} is the same in all states, so it has no quantiles.")
    order = np.argsort(x, kind="stable")
    ranks = even_ranks(len(x), 400)
    rows = order[ranks]
    return pd.DataFrame(
        {
            "expected": special.ndtri((ranks + 0.5) / len(x)),
            "observed": (x[rows] - x.mean()) / x.std(),
            "text": sample.text[rows],
            "position": sample.position[rows],
            "token": [sample.tokens[sample.text[row]][sample.position[row]] for row in rows],
        }
    )


# -- several layers and parts -----------------------------------------------------------------


def decomposition(sample: Sample, layer: int, drop_top: int = 3) -> pd.DataFrame:
    """What sets the states at a layer apart from random directions, in three steps: part, step
    ("raw"; "centred": less the mean over the sample; "dropped": also without the `drop_top`
    dimensions of largest variance), the numbers of `summary`, and `explained`.

    For random directions in D dimensions the mean squared cosine is 1 / D. `explained` is the share
    of the raw states' excess over it that a step takes away, missing for the raw states, and where
    there is hardly an excess. Negative: the step brings excess out. `largest` is the norm of the
    largest raw state over the median: where it is high, a few states decide the mean.
    """
    rows = []
    for part in sample.parts:
        if layer not in sample.layers(part):
            continue
        states, before, excess = sample.states(layer, part), math.nan, math.nan
        norms = states.norm(dim=1)
        largest = float(norms.max() / norms.median())
        for step, center, drop in (
            ("raw", False, 0),
            ("centred", True, 0),
            ("dropped", True, drop_top),
        ):
            cosines = pair_cosines(states, center, drop)
            numbers = _in_numbers(cosines, states.shape[1] - drop)
            square = numbers["mean_square"]
            if step == "raw":
                floor = 1 / states.shape[1]
                excess = square - floor if square > (1 + _NOTHING) * floor else math.nan
            explained = (before - square) / excess
            before = square
            rows.append(
                {"part": part, "step": step, **numbers, "explained": explained, "largest": largest}
            )
    return pd.DataFrame(rows)


def glance(
    sample: Sample,
    center: bool = False,
    drop_top: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """The whole model: layer, part and the numbers of `summary` but the participation ratio, for
    each layer of each part. A write is at the layer that it makes."""
    places = [(part, layer) for part in sample.parts for layer in sample.layers(part)]
    rows = []
    for i, (part, layer) in enumerate(places):
        if progress is not None:
            progress(i / len(places), f"Layer {layer} of {words.PARTS[part]}")
        states = sample.states(layer, part)
        cosines = pair_cosines(states, center, drop_top)
        rows.append(
            {"layer": layer, "part": part, **_in_numbers(cosines, states.shape[1] - drop_top)}
        )
    return pd.DataFrame(rows)


def archive(sample: Sample, layer: int, part: Part = "stream") -> pd.DataFrame:
    """The states of one layer and part as a file to download: one row, content (the bytes of a
    NumPy .npz file with states (n, D), text (n,), position (n,))."""
    file = io.BytesIO()
    states = sample.states(layer, part).numpy()
    np.savez(file, allow_pickle=False, states=states, text=sample.text, position=sample.position)
    return pd.DataFrame({"content": [file.getvalue()]})


# -- inside -----------------------------------------------------------------------------------


def _treated(states: Tensor | ArrayLike, center: bool, drop_top: int = 0) -> Tensor:
    """(n, D) -> (n, D - drop_top) float32."""
    x = torch.as_tensor(states, dtype=torch.float32, device="cpu").detach()
    if x.ndim != 2 or len(x) < 2:
        raise InputError("Cosines of pairs need at least two states, as a matrix of (n, D).")
    if not 0 <= drop_top < x.shape[1]:
        raise InputError(
            f"Of {x.shape[1]} dimensions 0 to {x.shape[1] - 1} can be dropped, not {drop_top}."
        )
    if center:
        x = x - x.mean(dim=0, dtype=torch.float64).float()
    if drop_top:
        order = x.var(dim=0).argsort(descending=True, stable=True)
        x = x[:, order[drop_top:].sort().values]
    return x


def _selected(
    sample: Sample, layer: int, part: Part, center: bool, drop_top: int, pairs: Pairs
) -> tuple[Floats, NDArray[np.int64]]:
    """The cosines of the pairs asked for, and their cells in the flattened matrix."""
    cosines = pair_cosines(sample.states(layer, part), center, drop_top).ravel()
    keep = np.isfinite(cosines)
    if pairs != "all":
        half = len(sample) // 2
        same = (sample.text[:half, None] == sample.text[None, half:]).ravel()
        keep &= same if pairs == "within" else ~same
    if not keep.any():
        raise InputError(_NONE)
    return cosines[keep], np.flatnonzero(keep)


def _in_numbers(cosines: Floats, dims: int) -> dict[str, float]:
    ordered = np.sort(cosines, axis=None)
    ordered = ordered[
        : np.searchsorted(ordered, np.float32("nan"))
    ]  # pairs without a cosine come last
    if not ordered.size:
        raise InputError(_NONE)
    ranks = even_ranks(len(ordered))
    kept = ordered[ranks]
    best = best_dimension(kept, ranks, dims)
    mean = float(ordered.mean(dtype=np.float64))
    ordered -= np.float32(mean)  # squares of large numbers would lose the digits of small spreads
    variance = float(np.vdot(ordered, ordered)) / len(ordered)
    return {
        "n_pairs": len(ordered),
        "dims": dims,
        "mean": mean,
        "spread": math.sqrt(variance),
        "mean_square": variance + mean**2,
        "effective_dimension": 1 / variance if variance else math.inf,
        "ks_full": ks_distance(kept, ranks, dims),
        "best_dimension": best,
        "ks_best": ks_distance(kept, ranks, best),
        "ks_error": 1 / POINTS,
    }


def _context(sample: Sample, row: int) -> tuple[str, str, str | None]:
    """The tokens before a sampled one, itself, and the one after it."""
    tokens, at = sample.tokens[sample.text[row]], sample.position[row]
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    return "".join(tokens[max(0, at - CONTEXT) : at]), tokens[at], after
