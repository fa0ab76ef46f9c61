"""In how many directions states vary near each of them: intrinsic dimension, and its worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from torch import Tensor

from strata.concepts import apart, costs, unhurried
from strata.concepts.gaussian_baseline.tables import (
    effective_dimension,
    pair_cosines,
    participation_ratio,
)
from strata.concepts.run import check_count
from strata.corpus import Sample, sampling
from strata.errors import InputError
from strata.model.hooks import between_blocks
from strata.runtime.stepping_aside import step_aside

if TYPE_CHECKING:
    from strata.model import Model

Floats = NDArray[np.float64]
Progress = Callable[[float, str], None]

SCALES = (2, 4, 8)  # the farther of the two neighbours that a scale compares
NULLS = ("shuffled words", "random blocks")
KNOWN = (1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 500)  # dimensions of Gaussian noise
_FEWEST = 20  # different states that an estimate needs
_PASSAGES = 9_000  # tokens of Strata's passages, which a null runs anew
COLUMNS = ("twonn", *(f"at_{k}" for k in SCALES), "participation_ratio", "effective_dimension")


def different(states: Tensor | ArrayLike) -> Floats:
    """The rows (n, D) that differ from each other, each once, in order of their first appearance.

    Of two equal states the nearest neighbour is at distance 0, which no estimate of a dimension can
    use; at layer 0 all states of one token are equal.
    """
    x = np.ascontiguousarray(torch.as_tensor(states, dtype=torch.float32).numpy())
    _, first = np.unique(x + 0.0, axis=0, return_index=True)  # + 0.0: -0 is 0
    return x[np.sort(first)].astype(np.float64)


def nearest_distances(states: Floats, k: int = SCALES[-1]) -> Floats:
    """The Euclidean distances of each state (n, D) to its k nearest others: (n, k), ascending.

    They are found by products, which lose the digits of small distances between long states, and
    then measured by differences.
    """
    x = torch.from_numpy(states - states.mean(axis=0))
    squares = x.square().sum(dim=1)
    apart_by = squares[:, None] + squares[None] - 2 * (x @ x.T)  # (n, n)
    apart_by.fill_diagonal_(torch.inf)
    near = apart_by.topk(k, dim=1, largest=False).indices  # (n, k)
    found = torch.stack([(x - x[near[:, i]]).norm(dim=1) for i in range(k)], dim=1)
    return found.sort(dim=1).values.numpy()


def two_nn(distances: Floats) -> float:
    """The dimension in which the second neighbour is as far beyond the first as it is here (TwoNN).

    In d dimensions of locally even density the ratio of the two distances has the distribution
    1 - ratio^-d; d is the slope of a line through (log ratio, -log(1 - share of smaller ratios)),
    without the tenth of largest ratios. Facco et al. 2017, as scikit-dimension computes it.
    Known bias: far too small from some 20 dimensions on, more so for fewer states, since points in
    many dimensions are nearly all as far apart as each other; see `known_dimension`. It sees one
    scale only, and noise below it counts as dimensions. `distances`: (n, 2 or more), none 0.
    """
    from skdim.id import TwoNN  # here: importing it takes a second, and not every server needs it

    return float(TwoNN(dist=True).fit(distances[:, :2]).dimension_)


def gride(distances: Floats, k: int) -> float:
    """The same by the k-th and the (k / 2)-th neighbour, by maximum likelihood (Gride, Denti et al.
    2022): the larger k, the larger the scale. For k = 2 it is (n - 1) / sum of log ratios.

    Known bias: as of `two_nn`, and towards the dimension of what the states lie on as a whole.
    `distances`: (n, k or more). NaN where all ratios are 1.
    """
    near, far = k // 2, k
    logs = np.log(distances[:, far - 1] / distances[:, near - 1])
    logs = logs[logs > 0]  # of a tie the likelihood knows nothing
    if len(logs) < 2:
        return math.nan
    n, total = len(logs), float(logs.sum())

    def slope(d: float) -> float:  # of the log-likelihood; it falls with d
        between = (far - near - 1) * float((logs / -np.expm1(-d * logs)).sum())
        return (n - 1) / d + between - (far - 1) * total

    high = 1.0
    while slope(high) > 0:
        high *= 2
    return float(brentq(slope, 1e-9, high, xtol=1e-10))


def estimates(states: Tensor | ArrayLike) -> dict[str, float]:
    """All that is said of the dimension of some states (n, D): n_states (different ones), n_equal
    (left out, being equal to one of those), twonn, at_2, at_4, at_8 (`gride`), participation_ratio
    and effective_dimension (both of the different ones, centred). NaN for fewer than 20."""
    total = len(torch.as_tensor(states))
    x = different(states)
    found: dict[str, float] = {"n_states": len(x), "n_equal": total - len(x)}
    if len(x) < _FEWEST:
        return found | dict.fromkeys(COLUMNS, math.nan)
    distances = nearest_distances(x)
    found["twonn"] = two_nn(distances)
    found |= {f"at_{k}": gride(distances, k) for k in SCALES}
    found["participation_ratio"] = participation_ratio(x)
    cosines = pair_cosines(x, center=True)
    found["effective_dimension"] = effective_dimension(cosines[np.isfinite(cosines)])
    return found


@apart
def intrinsic(sample: Sample, progress: Progress | None = None) -> pd.DataFrame:
    """The dimension of each layer of each part: layer, part, n_first (first tokens of a text, which
    are left out: a few giant states would decide all that is linear), the numbers of `estimates`,
    and with_first, the participation ratio with them (NaN where none was sampled)."""
    rest = sample.position > 0
    places = [(part, layer) for part in sample.parts for layer in sample.layers(part)]
    rows = []
    for i, (part, layer) in enumerate(places):
        if progress is not None:
            progress(i / len(places), f"Neighbours at place {i + 1} of {len(places)}")
        states = sample.states(layer, part)
        with_first = math.nan if rest.all() else participation_ratio(different(states))
        row = {"layer": layer, "part": part, "n_first": int((~rest).sum())}
        rows.append(row | estimates(states[torch.from_numpy(rest)]) | {"with_first": with_first})
    return pd.DataFrame(rows)


@apart
def known_dimension(n: int, d_model: int, seed: int = 0) -> pd.DataFrame:
    """What the same estimates say of as many states of Gaussian noise in a known number of
    dimensions: dimension, and the numbers of `estimates`. Up to `d_model` dimensions, and always
    that many. Where twonn is below dimension, it is by so much too small for the states as well."""
    n, d_model = check_count("The number of states", n, sampling.MOST), int(d_model)
    rng = np.random.default_rng(seed)
    known = [d for d in KNOWN if d < d_model]
    return pd.DataFrame(
        [{"dimension": d, **estimates(rng.standard_normal((n, d)))} for d in (*known, d_model)]
    )


@unhurried
@costs(lambda n_tokens, n_layers, params: max(n_tokens, _PASSAGES))
def intrinsic_null(
    model: Model,
    sample: Sample,
    null: str,
    skip: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What chance gives: the table of `intrinsic` for the stream of as many states, once more read
    from the same texts, with the words of each in another order ("shuffled words"), or with all
    that the blocks learned replaced by Gaussian noise ("random blocks", `model.random_twin`).

    `skip`: without first tokens and attention sinks. Its states have 16 bits. InputError for
    another null."""
    if null not in NULLS:
        raise InputError(f"A null is one of {', '.join(NULLS)}, not {null!r}.")
    texts, read = list(sample.texts), model
    if null == "random blocks":
        read = model.random_twin(seed)
    else:
        rng = np.random.default_rng(seed)
        texts = [" ".join(rng.permutation(text.split())) for text in texts]
    with between_blocks(read.architecture.blocks, step_aside):
        drawn = sampling.sample(
            read,
            texts,
            sample.n_asked,
            seed,
            skip_first=skip,
            skip_sinks=skip,
            compact=True,
            progress=progress,
        )
    found = intrinsic(drawn, progress)
    return found.assign(null=null)
