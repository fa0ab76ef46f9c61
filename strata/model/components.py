"""Principal components of a sample of states."""

from __future__ import annotations

import torch
from torch import Tensor

from strata.errors import InputError


def check_components(k: int, most: int) -> None:
    if not 0 <= k <= most:
        raise InputError(
            f"This sample has {max(most, 0)} principal components, so {k} of them cannot be had; "
            "give more text, or ask for fewer."
        )


def principal(states: Tensor) -> tuple[Tensor, Tensor]:
    """(n, D) -> (D,) mean and (m, D) directions of variance about it, the largest first, their
    largest entries positive; float32."""
    if not len(states):
        raise InputError("This sample has nothing but attention sinks; give more text.")
    mean = states.double().mean(dim=0)
    _, sizes, rows = torch.linalg.svd(states.double() - mean, full_matrices=False)
    least = float(sizes.max()) * max(states.shape) * torch.finfo(torch.float32).eps
    rows = rows[sizes > least]
    largest = rows.gather(1, rows.abs().argmax(dim=1, keepdim=True))
    return mean.float(), (rows * largest.sign()).float()
