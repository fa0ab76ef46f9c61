"""Where an attention puts what its heads read beside one another, before it projects it back."""

from __future__ import annotations

from typing import Any

from torch import nn

from strata.errors import ModelError
from strata.model.architecture import Architecture

# Paths from a block and from there, as families name them; of several the first that exists.
_ATTENTION = (
    "self_attn",
    "attn.attention",
    "attn",
    "self_attention",
    "attention.self",
    "attention",
    "multi_head_attention",
)
_PROJECTION = ("o_proj", "out_proj", "c_proj", "dense", "wo")


def projection(architecture: Architecture, block: int) -> tuple[nn.Module, int]:
    """The module by which a block's attention projects its heads' outputs, which lie behind one
    another in what it is given, and how many heads there are. ModelError where that is unknown."""
    found, heads = _projection(architecture.blocks[block]), architecture.n_heads
    width = _width(found) if found is not None else None
    paired = architecture.family == "diffllama"  # a head there is what two of them differ by
    if found is None and not isinstance(heads, int):
        raise ModelError(
            f"There are no attention heads in this {architecture.family} model, so none are told "
            "apart, patched or edited; whole blocks and parts are."
        )
    if found is None or not isinstance(heads, int) or width is None or width % heads or paired:
        raise ModelError(
            f"Where the heads of block {block} are in this {architecture.family} model is not "
            "known, so they are not told apart, patched or edited; whole blocks and parts are."
        )
    return found, heads


def columns(module: Any, n_heads: int, head: int) -> slice:
    """Where a head lies in what its projection is given."""
    width = (_width(module) or 0) // n_heads
    return slice(head * width, (head + 1) * width)


def _projection(block: nn.Module) -> nn.Module | None:
    for path in _ATTENTION:
        for name in _PROJECTION:
            try:
                return block.get_submodule(f"{path}.{name}")
            except AttributeError:
                continue
    return None


def _width(module: Any) -> int | None:
    """How many numbers a projection reads of each token."""
    if hasattr(module, "in_features"):
        return int(module.in_features)
    weight = getattr(module, "weight", None)  # GPT-2's projections keep theirs the other way round
    return None if weight is None or weight.ndim != 2 else int(weight.shape[0])
