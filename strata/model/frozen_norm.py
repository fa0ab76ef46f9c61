"""The final norm made linear, so that each part of a state can be read as logits by itself.

A norm is not linear: it divides by a size that all parts of the state decide together. With that
size taken from one finished state ("frozen") the rest of the norm is linear, and what the
embedding and all writes contribute adds up to the logits: direct logit attribution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from strata.errors import ModelError
from strata.model.architecture import Architecture

_PROBE = 1e4  # large against the epsilon that norms add to a variance
_TOLERANCE = 1e-4  # of the largest entry of the normed state


@dataclass(frozen=True)
class FrozenNorm:
    """The final norm, weight * C(x) * scale + bias, with its scale taken from given states.

    C takes away the mean of x or does nothing. What goes through must have shapes that broadcast
    with the states': (..., D). Logits are those before any cap.
    """

    architecture: Architecture
    weight: Tensor  # (D,)
    bias: Tensor  # (D,)
    centred: bool
    scale: Tensor  # (..., 1): one for each state

    def normed(self, part: Tensor) -> Tensor:
        """What a part of the states becomes in the normed state, (..., D), the bias left out."""
        return self.weight * _centre(part, self.centred) * self.scale

    def logits(self, part: Tensor) -> Tensor:
        """(..., D) -> (..., V): what a part of the states adds to the logits, biases left out."""
        return self._through_head(self.normed(part))

    def logits_of(self, normed: Tensor, vocabulary: slice, out: Tensor) -> Tensor:
        """(N, D) of `normed` -> (N, v): the same for a part of the vocabulary, in the memory of
        `out`."""
        torch.mm(normed, self.matrix[vocabulary].T, out=out)
        return out.mul_(self.architecture.logit_scale)

    def along(self, part: Tensor, direction: Tensor) -> Tensor:
        """(..., D) -> (...): what a part of the states adds to one logit, or to a difference of
        logits, whose row of the head, or difference of rows, is `direction` (D,); in float64."""
        return self.normed(part).double() @ direction.double() * self.architecture.logit_scale

    def norm_bias(self) -> Tensor:
        """(V,): what the norm's bias adds to the logits of every state."""
        return self._through_head(self.bias)

    def head_bias(self) -> Tensor:
        """(V,): what the head's bias adds to the logits of every state."""
        bias: Tensor | None = getattr(self.architecture.head, "bias", None)
        if bias is None:
            return torch.zeros_like(self.matrix[:, 0])
        return bias * self.architecture.logit_scale

    @property
    def matrix(self) -> Tensor:
        """The head, one row a token."""
        return self.architecture.head.get_parameter("weight")  # (V, D)

    def _through_head(self, normed: Tensor) -> Tensor:
        return F.linear(normed, self.matrix) * self.architecture.logit_scale

    def at(self, positions: slice) -> FrozenNorm:
        """The same for some of the states, along their last axis but one."""
        return replace(self, scale=self.scale[..., positions, :])


def freeze(architecture: Architecture, states: Tensor) -> FrozenNorm:
    """The final norm frozen at each of some states, (..., D).

    Weight, bias and centring are found by asking the norm, not by its class: the bias is what it
    makes of zero, the weight what it makes of +1, -1, +1, ...; a norm that takes away the mean
    makes nothing of a constant. ModelError where a norm is not of this kind.
    """
    norm = architecture.norm
    signs = torch.ones_like(states.reshape(-1, states.shape[-1])[0])  # (D,)
    signs[1::2] = -1
    bias = norm(torch.zeros_like(signs))
    if bias.shape != signs.shape:
        raise ModelError(_refusal(architecture))
    weight = (norm(_PROBE * signs) - bias) * signs
    centred = torch.equal(norm(_PROBE * torch.ones_like(signs)), bias)
    frozen = FrozenNorm(architecture, weight, bias, centred, states.new_ones(1))
    normed = norm(states)  # (..., D)
    unscaled, wanted = frozen.normed(states).double(), (normed - bias).double()
    size = (unscaled * unscaled).sum(dim=-1, keepdim=True).clamp_min(1e-300)
    scale = ((wanted * unscaled).sum(dim=-1, keepdim=True) / size).float()
    frozen = replace(frozen, scale=scale)
    error = (frozen.normed(states) + bias - normed).abs().amax(dim=-1)
    if not bool((error <= _TOLERANCE * normed.abs().amax(dim=-1).clamp_min(1e-30)).all()):
        raise ModelError(_refusal(architecture))
    return frozen


def _centre(part: Tensor, centred: bool) -> Tensor:
    return part - part.mean(dim=-1, keepdim=True) if centred else part


def _refusal(architecture: Architecture) -> str:
    return (
        f"The final norm of this {architecture.family} model is not a scaling that can be held "
        "fixed, so its logits cannot be attributed to single writes; all other views work."
    )
