"""How alike whole layers are (CKA), beside what the distance between layers gives by itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts import apart
from strata.concepts.run import check_count
from strata.corpus import Sample

Floats = NDArray[np.float64]
STATES = 500  # of the sample: their products of all layers are held at once


def debiased_cka(layers: list[Tensor]) -> Floats:
    """Of each two of some layers' states of the same tokens, (n, D) each: (layers, layers).

    Linear CKA, a cosine of the matrices of all products of two states, each centred: 1 where one
    layer's states are the other's turned and scaled as a whole, 0 where they have nothing to do
    with each other. Products of a state with itself are left out and the centring is corrected for
    it (Song et al. 2012), as Murphy et al. 2024 ask for: plain CKA (Kornblith et al. 2019) of
    unrelated states is far above 0 unless n is much larger than D. It may be below 0 by chance. At
    least 4 states; NaN where all states of a layer are equal. Known bias: it is decided by the few
    directions in which states vary most, so that one giant number makes two layers alike.
    """
    found = torch.stack([_centred(layer.double()) for layer in layers])  # (layers, n * n)
    return _cosines(found)


def plain_cka(layers: list[Tensor]) -> Floats:
    """The same without the correction, from 0 to 1: the bias is what it has above it."""
    products = []
    for layer in layers:
        x = layer.double() - layer.double().mean(dim=0)
        products.append((x @ x.T).flatten())
    return _cosines(torch.stack(products))


def by_distance(matrix: Floats) -> Floats:
    """What the distance between layers gives by itself: in the place of each entry the mean of all
    entries as far from the diagonal (a Toeplitz matrix)."""
    n = len(matrix)
    far = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    of = [matrix[far == d] for d in range(n)]
    known = [each[~np.isnan(each)] for each in of]
    means = np.array([each.mean() if len(each) else np.nan for each in known])
    return means[far]


@apart
def cka(sample: Sample, n: int = STATES) -> pd.DataFrame:
    """How alike each two layers of the stream are over states of many texts: layer_a, layer_b, cka
    (`debiased_cka`), plain (`plain_cka`), distance (`by_distance` of cka), rest (cka - distance);
    all (L + 1)^2 ordered pairs. Of the first `n` states of the sample, whose order is random."""
    n = check_count("The number of states", min(n, len(sample)), len(sample))
    layers = [sample.states(layer)[:n] for layer in sample.layers("stream")]
    found = debiased_cka(layers)
    alone = by_distance(found)
    a, b = np.indices(found.shape)
    return pd.DataFrame(
        {
            "layer_a": a.ravel(),
            "layer_b": b.ravel(),
            "cka": found.ravel(),
            "plain": plain_cka(layers).ravel(),
            "distance": alone.ravel(),
            "rest": (found - alone).ravel(),
        }
    )


def explained(frame: pd.DataFrame) -> float:
    """Of `cka`: the share, 0 to 1, of the variance of CKA between different layers that the
    distance between them gives; NaN where it does not vary."""
    pairs = frame[frame["layer_a"] < frame["layer_b"]].dropna(subset="cka")
    total = float(((pairs["cka"] - pairs["cka"].mean()) ** 2).sum())
    return 1 - float((pairs["rest"] ** 2).sum()) / total if total > 1e-12 else np.nan


def _centred(x: Tensor) -> Tensor:
    """(n, D) -> (n * n,): products of each two different states, centred so that rows and columns
    sum to 0 and the diagonal stays out (U-centring)."""
    n = len(x)
    x = x - x.mean(dim=0)  # changes nothing of what comes out, and keeps its digits
    k = x @ x.T
    k.fill_diagonal_(0)
    rows = k.sum(dim=1) / (n - 2)
    k = k - rows[:, None] - rows[None] + k.sum() / ((n - 1) * (n - 2))
    k.fill_diagonal_(0)
    return k.flatten()


def _cosines(vectors: Tensor) -> Floats:
    products = (vectors @ vectors.T).numpy()
    lengths = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(products / np.outer(lengths, lengths))
