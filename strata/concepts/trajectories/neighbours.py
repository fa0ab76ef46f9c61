"""Nearest neighbours, exact: for maps of states, and for judging how far such a map can be trusted.

Distances are computed in float64, a few rows at a time, so that memory stays bounded and the same
states give the same neighbours however many threads compute them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.errors import InputError

METRICS = ("cosine", "euclidean")
_CELLS = 4_000_000  # distances held at a time


def unit(points: Tensor) -> Tensor:
    """(n, D) -> (n, D) in float64, each row scaled to length 1; InputError for a row of zeros."""
    points = points.double()
    norms = points.norm(dim=-1, keepdim=True)  # (n, 1)
    if not bool((norms > 0).all()):
        raise InputError("A state of zero has no direction, so cosine cannot place it: drop it.")
    return points / norms


def nearest(points: Tensor, k: int, metric: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each point's k nearest, itself first: indices (n, k) int32 and distances (n, k) float32."""
    indices, distances = [], []
    for start, chunk in _distances(points, metric):
        own = torch.arange(len(chunk))
        chunk[own, start + own] = -1.0  # before any duplicate
        found = chunk.topk(k, largest=False)
        indices.append(found.indices.int())
        distances.append(found.values.clamp_min_(0).float())
    return torch.cat(indices).numpy(), torch.cat(distances).numpy()


def trust(points: Tensor, coordinates: NDArray[Any], metric: str, k: int = 15) -> float:
    """Trustworthiness of a map: 1 where the k nearest on it are the k nearest in truth, about 0.5
    where they are any points at all. Venna and Kaski 2001, as in scikit-learn.

    `points` (n, D) and `coordinates` (n, 2). Fewer neighbours are used where n <= 2 k; NaN for
    fewer than 3 points. Equal distances count as the better rank.
    """
    n = len(points)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan")
    drawn, _ = nearest(torch.as_tensor(coordinates), k + 1, "euclidean")
    neighbours = torch.as_tensor(drawn[:, 1:].astype(np.int64))  # (n, k)
    excess = 0
    for start, chunk in _distances(points, metric):
        own = torch.arange(len(chunk))
        chunk[own, start + own] = torch.inf
        distance = chunk.gather(1, neighbours[start : start + len(chunk)])  # (rows, k)
        farthest = chunk.topk(k, largest=False).values[:, -1:]  # (rows, 1)
        for column in (distance.where(distance > farthest, torch.nan)).T:
            wrong = (~column.isnan()).nonzero()[:, 0]  # rows that have a false neighbour here
            rank = (chunk[wrong] < column[wrong, None]).sum(dim=1) + 1
            excess += int((rank - k).clamp_min(0).sum())
    return 1 - excess * 2 / (n * k * (2 * n - 3 * k - 1))


def _distances(points: Tensor, metric: str) -> Iterator[tuple[int, Tensor]]:
    """Rows of the (n, n) distances in float64: the first row's number, then the rows."""
    points = unit(points) if metric == "cosine" else points.double()
    squares = (points**2).sum(dim=-1)  # (n,)
    n_rows = max(1, _CELLS // len(points))
    for start in range(0, len(points), n_rows):
        rows = points[start : start + n_rows]
        products = rows @ points.T  # (rows, n)
        if metric == "cosine":
            yield start, products.neg_().add_(1)
        else:
            squared = products.mul_(-2).add_(squares).add_(squares[start : start + n_rows, None])
            yield start, squared.clamp_min_(0).sqrt_()
