"""Heads by plain transformers: its own attention written out, and slices of the projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tests import tiny as tiny_models
from tests.plain import Plain

# From a block.
PROJECTIONS = {
    "gpt2": "attn.c_proj",
    "gpt_neo": "attn.attention.out_proj",
    "gpt_neox": "attention.dense",
    "bloom": "self_attention.dense",
    "falcon": "self_attention.dense",
    "opt": "self_attn.out_proj",
    "lfm2": "self_attn.out_proj",
}
BEHIND = {"gemma2": "post_attention_layernorm", "olmo2": "post_attention_layernorm"}


class Eager(Plain):
    """The same tiny model, by an attention that has its weights."""

    def __init__(self, network: Any) -> None:
        super().__init__(network)
        network.set_attn_implementation("eager")
        self.family = network.config.model_type
        self.n_heads = network.config.num_attention_heads

    @torch.no_grad()
    def attentions(self, ids: Tensor) -> dict[int, Tensor]:
        """(H, T, T) by block, of those that have any."""
        found = self.network(input_ids=ids[None], use_cache=False, output_attentions=True)
        blocks = [b for b in range(len(self.blocks)) if self.projection(b) is not None]
        assert len(found.attentions) == len(blocks)
        return {b: each[0] for b, each in zip(blocks, found.attentions, strict=True)}

    def projection(self, block: int) -> Any:
        try:
            return self.blocks[block].get_submodule(
                PROJECTIONS.get(self.family, "self_attn.o_proj")
            )
        except AttributeError:
            return None

    @contextmanager
    def editing(self, block: int, head: int, change: Callable[[Tensor], Tensor]) -> Any:
        """While open, what a head hands on, (T, width), is what `change` makes of it."""

        def hook(module: nn.Module, args: Any) -> Any:
            rows = args[0].reshape(-1, args[0].shape[-1]).clone()
            width = rows.shape[-1] // self.n_heads
            columns = slice(head * width, (head + 1) * width)
            rows[:, columns] = change(rows[:, columns].clone())
            return (rows.reshape(args[0].shape), *args[1:])

        handle = self.projection(block).register_forward_pre_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    @torch.no_grad()
    def handed_on(self, ids: Tensor, block: int) -> Tensor:
        """(H, T, width) that the heads of a block hand on."""
        kept: list[Tensor] = []
        handle = self.projection(block).register_forward_pre_hook(
            lambda m, args: kept.append(args[0].reshape(len(ids), self.n_heads, -1).clone())
        )
        try:
            self.network(input_ids=ids[None], use_cache=False)
        finally:
            handle.remove()
        return kept[0].transpose(0, 1)

    @torch.no_grad()
    def writes(self, ids: Tensor, block: int, position: int) -> Tensor:
        """(H + 1, D): what each head adds, and last what is added whatever they hand on."""
        module = self.projection(block)
        weight = module.weight if hasattr(module, "in_features") else module.weight.T  # (D, H * W)
        given = self.handed_on(ids, block)[:, position]  # (H, width)
        bias = torch.zeros(len(weight)) if module.bias is None else module.bias
        apart = weight.reshape(len(weight), self.n_heads, -1)  # (D, H, width)
        parts = [*torch.einsum("dhw,hw->hd", apart, given), bias]
        if self.family in BEHIND:
            norm = self.blocks[block].get_submodule(BEHIND[self.family])
            parts = [frozen(norm, part, torch.stack(parts).sum(dim=0)) for part in parts]
        return torch.stack(parts) * self.write_scale

    @torch.no_grad()
    def written(self, block: int, head: int, part: Tensor, given: Tensor) -> Tensor:
        """(D,): what a head adds that hands on `part` (width,), where all heads of the block
        together hand on `given` (H, width)."""
        module = self.projection(block)
        weight = module.weight if hasattr(module, "in_features") else module.weight.T  # (D, H * W)
        apart = weight.reshape(len(weight), self.n_heads, -1)
        added = apart[:, head] @ part
        if self.family in BEHIND:
            bias = 0 if module.bias is None else module.bias
            norm = self.blocks[block].get_submodule(BEHIND[self.family])
            added = frozen(norm, added, weight @ given.flatten() + bias)
        return added * self.write_scale


def frozen(norm: nn.Module, part: Tensor, end: Tensor) -> Tensor:
    """A part of a state through a norm whose scale is that at `end`, its bias left out; by the
    formulas of both norms."""
    if isinstance(norm, nn.LayerNorm):
        scale = (end.var(correction=0) + norm.eps).rsqrt()
        return norm.weight * (part - part.mean()) * scale
    eps = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    weight = 1 + norm.weight if "Gemma" in type(norm).__name__ else norm.weight
    return weight * part * (end.pow(2).mean() + eps).rsqrt()


def eager(name: str) -> Eager:
    return Eager(tiny_models.build(name))


def logits_of(plain: Eager, parts: Sequence[Tensor], end: Tensor, token_id: int) -> list[float]:
    """What parts of the last state add to a logit before any cap, by hand."""
    row = plain.network.get_output_embeddings().weight[token_id].detach().double()
    norm = plain.network.get_submodule(plain.norm_path)
    scale = 1 / getattr(plain.network.config, "logits_scaling", 1.0)
    return [float(frozen(norm, part, end).detach().double() @ row) * scale for part in parts]
