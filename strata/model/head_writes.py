"""What each head of attention adds to the stream: its slice of the output projection.

Heads lie behind one another in what an attention's output projection is given, and the projection
is linear: so what it gives is a sum, one term a head, and its bias. Where a norm stands between the
projection and the stream (Gemma 2, OLMo 2) it is made linear by holding its scale fixed, as the
final norm is for a logit's parts. Whether the terms add up to what attention added is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strata.edits import Edit, Noise, Replace, Scale, Skip
from strata.errors import InputError, ModelError
from strata.model.blocks import here
from strata.model.frozen_norm import FrozenNorm, freeze
from strata.model.head_slices import projection
from strata.model.hooks import Recorder
from strata.trace import AGREEMENT, Trace

if TYPE_CHECKING:
    from strata.model.model import Model


@dataclass(frozen=True)
class Projected:
    """How the H heads of a block, W numbers each, are projected into the stream, float32, CPU."""

    matrix: Tensor  # (H, W, D)
    own_bias: Tensor  # (D,) the projection's
    scale: float  # by which the model adds what its attention gives
    norm: FrozenNorm | None = None  # behind the projection, at n positions

    def added(self, given: Tensor, head: int) -> Tensor:
        """(n, W) that a head hands on -> (n, D) that it adds to the stream."""
        return self._through(given @ self.matrix[head]) * self.scale

    def bias(self) -> Tensor:
        """(n, D) or (D,): what is added whatever the heads hand on."""
        own = self._through(self.own_bias)
        return (own if self.norm is None else own + self.norm.bias) * self.scale

    def _through(self, part: Tensor) -> Tensor:
        return part if self.norm is None else self.norm.normed(part)


@dataclass(frozen=True)
class HeadWrites:
    """What the heads of a block add at one position, and how far their sum and the bias are from
    what attention added, as a share of the largest entry of either; float32, CPU."""

    block: int
    heads: Tensor  # (H, D)
    bias: Tensor  # (D,)
    error: float


def head_writes(model: Model, trace: Trace, position: int) -> list[HeadWrites]:
    """Of each block that has heads, what they add at a position of a run, edits and all: `heads`
    and `bias` sum to `trace.attn[block, position]`.

    One run of the model. Blocks with another token mixer (a convolution, a state space) are left
    out. ModelError where no block's heads are known, where they do not add up, and where writes are
    refused; InputError where an edit put something else in the place of what attention added.
    """
    written = trace.attn[:, position]  # (L, D)
    known = _projections(model)
    operations = model._resolved(trace.edits, trace.token_ids, len(trace.token_ids))
    given: dict[int, tuple[Tensor, Tensor]] = {}
    with _kept({module: block for block, (module, _) in known.items()}, given):
        model.forward([trace.token_ids], Recorder(model.architecture, operations, record=False))
    found = []
    for block, (_, n_heads) in known.items():
        share = _share(trace, block, position)
        entered, left = (each[position : position + 1] for each in given[block])
        how = projected(model, block, left)
        slices = entered[0].reshape(n_heads, -1)  # (H, W)
        heads = torch.cat([how.added(slices[h : h + 1], h) for h in range(n_heads)]) * share
        bias = how.bias().reshape(-1) * share  # (D,)
        apart = (heads.sum(dim=0) + bias - written[block]).abs().max()
        size = max(float(each.abs().max()) for each in (heads, written[block]))
        error = float(apart) / max(size, 1e-30)
        if not error <= AGREEMENT:
            raise ModelError(_refusal(model, block))
        found.append(HeadWrites(block, heads, bias, error))
    return found


def projected(model: Model, block: int, output: Tensor | None = None) -> Projected:
    """How a block's heads are projected, a norm behind the projection frozen at the (n, D) that the
    projection gives; None: as far as the projection, without factor and norm. ModelError where what
    follows the projection is neither nothing nor a norm."""
    module, n_heads = projection(model.architecture, block)
    matrix = module.get_parameter("weight").detach().float().cpu()
    if not hasattr(module, "in_features"):  # GPT-2's keep theirs the other way round
        matrix = matrix.T
    bias = getattr(module, "bias", None)
    own = torch.zeros(len(matrix)) if bias is None else bias.detach().float().cpu()
    writes = model.architecture.attn[block]
    if len(writes) != 1:
        raise ModelError(_refusal(model, block))
    [write] = writes
    matrix = matrix.T.reshape(n_heads, -1, len(matrix))  # (H, W, D)
    how = Projected(matrix, own, write.scale)
    if output is None:
        return replace(how, scale=1.0)
    if any(module is each for each in write.module.modules()):
        return how
    if "norm" not in type(write.module).__name__.lower():
        raise ModelError(_refusal(model, block))
    try:
        with torch.inference_mode():
            frozen = freeze(replace(model.architecture, norm=write.module), output.to(model.device))
    except ModelError:
        raise ModelError(_refusal(model, block)) from None
    weight, shift, scale = (each.cpu() for each in (frozen.weight, frozen.bias, frozen.scale))
    return replace(how, norm=replace(frozen, weight=weight, bias=shift, scale=scale))


def _projections(model: Model) -> dict[int, tuple[nn.Module, int]]:
    """The projection and the number of heads of each block where they are known; ModelError if
    that is nowhere."""
    found, refusal = {}, None
    for block in range(model.n_layers):
        try:
            found[block] = projection(model.architecture, block)
        except ModelError as error:
            refusal = error
    if not found and refusal is not None:
        raise refusal
    return found


@contextmanager
def _kept(blocks: dict[nn.Module, int], given: dict[int, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """While open, a run of one prompt puts down what each projection is given, edits and all, and
    what it gives, by block: (T, heads * width) and (T, D)."""

    def keep(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        rows = (each.reshape(-1, each.shape[-1]).float().cpu() for each in (args[0], output))
        entered, left = rows
        given[blocks[module]] = entered, left

    handles = [module.register_forward_hook(here(keep)) for module in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _share(trace: Trace, block: int, position: int) -> float:
    """How much of what a block's heads wrote the run's edits left there."""
    share = 1.0
    for edit in trace.edits:
        if edit.block != block or not _is_at(edit, position) or edit.head is not None:
            continue
        match edit:
            case Skip():
                share = 0.0
            case Scale(part="attn", factor=factor):
                share *= factor
            case Replace(part="attn") | Noise(part="attn"):
                raise InputError(
                    f"This run puts something else in the place of what attention adds at block "
                    f"{block}, so its heads do not add up to it."
                )
    return share


def _is_at(edit: Edit, position: int) -> bool:
    return edit.positions is None or position in edit.positions


def _refusal(model: Model, block: int) -> str:
    return (
        f"What the heads of block {block} write does not add up to what attention adds in this "
        f"{model.family} model, which does more between them than a projection and a norm; the "
        "heads' attention and all other pages work."
    )
