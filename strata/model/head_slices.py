"""Where an attention puts what its heads read beside one another, before it projects it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from strata.errors import ModelError

if TYPE_CHECKING:
    from strata.model.model import Model

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
_HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads", "attention_heads")


def projection(model: Model, block: int) -> tuple[nn.Module, int]:
    """The module by which a block's attention projects its heads' outputs, which lie behind one
    another in what it is given, and how many heads there are. ModelError where that is unknown."""
    found = _projection(model.architecture.blocks[block])
    heads = next(filter(None, (getattr(model.config, name, None) for name in _HEADS)), None)
    width = _width(found) if found is not None else None
    paired = model.family == "diffllama"  # a head there is what two of them differ by
    if found is None or not isinstance(heads, int) or width is None or width % heads or paired:
        raise ModelError(
            f"Where the heads of block {block} are in this {model.family} model is not known, so "
            "it is not patched by head."
        )
    return found, heads


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
