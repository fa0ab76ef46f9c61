"""Which states are so much longer than the others that they decide every mean: one rule for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

FAR = 10.0  # times the typical norm of its layer from which on a state is a sink's
_GROWTH = 4.0  # times: more than the typical norm grows from one layer to the next


def norms_of(hidden: Tensor) -> NDArray[np.float64]:
    """(L + 1, T, D) states of a prompt -> (L + 1, T), their norms."""
    return hidden.double().norm(dim=-1).numpy()


def which(norms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(L + 1, T) norms -> (T,): which tokens are attention sinks.

    A token is one if at some layer its state's norm is ten times the typical one there or more.
    Typical is the median norm of the layer's states, but from layer 2 on at most four times what
    was typical at the layer before: where most tokens are sinks, as in a word repeated, the median
    is theirs.
    """
    return np.asarray((ratios_to(norms, typical_of(norms)) >= FAR).any(axis=0))


def ratios_to(norms: NDArray[np.float64], typical: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L + 1, T): each norm over what is typical of its layer; 0 where that is 0."""
    there = typical[:, None]  # (L + 1, 1)
    return np.divide(norms, there, out=np.zeros_like(norms), where=there > 0)


def typical_of(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L + 1,): the typical norm of each layer, see `which`."""
    typical = np.median(norms, axis=1)
    for layer in range(2, len(typical)):
        if typical[layer - 1] > 0:
            typical[layer] = min(typical[layer], _GROWTH * typical[layer - 1])
    return typical
