"""Tails through blocks of the commonest form, straight from their weights.

Llama's blocks, and those of families that changed no more than sizes and biases, do what is written
here and nothing else. Written out, several of their steps become one: query, key and value come
from one product, a gate is multiplied and a part added while a product is written down, and the
last block computes what it hands on at last positions only. Products are oneDNN's, which take a
sixth less time than a module's own on the processors that were tried.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from strata.model.tails import Kept, Tails, Unfit

_FORMS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
_MLP = ("gate_proj", "up_proj", "down_proj")
_SPAN = 22  # tokens of whole tails that attend at once: each is held against the keys of all
_AT_ONCE = 1_000  # tokens that go through a product, for which weights are laid out


class _Product:
    """What a linear module computes, its weights laid out for many tokens."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _AT_ONCE)
        self.bias = bias

    def __call__(self, states: Tensor, then: str = "none") -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(
            states, self.weight, self.bias, then, [], ""
        )
        return made

    def joined(self, states: Tensor, other: Tensor, how: str) -> Tensor:
        """ "add"-ed to another, or "mul"-tiplied by it."""
        made: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            states, other, self.weight, self.bias, how
        )
        return made


@dataclass(frozen=True)
class _Ready:
    """Of one block: its products, and what tokens attend to beside their tail's own."""

    read: _Product  # query, key and value: (heads + 2 * key heads) * W numbers
    write: _Product
    gate: _Product
    up: _Product
    down: _Product
    turn: Tensor  # (T, 1, W / 2), complex: by how much a position turns a query or a key
    keys: Tensor  # (1, key heads, T, W) of the trace
    values: Tensor
    mask: Tensor  # (N, T + N) to be added


class Fused(Tails):
    """See the module. `Unfit` for blocks of another form, number type or device."""

    def __init__(self, kept: Kept, positions: Sequence[int]) -> None:
        super().__init__(kept, positions)
        blocks: Any = kept.architecture.blocks
        if not all(map(_fits, blocks)):
            raise Unfit
        self.blocks, attention = blocks, blocks[0].self_attn
        self.width, self.scaling = int(attention.head_dim), float(attention.scaling)
        self.shared = int(attention.num_key_value_groups)  # heads that share a key
        self.n_keys = attention.k_proj.out_features // self.width  # key heads
        edges = [0]
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            if start > edges[-1] and end >= edges[-1] + _SPAN:
                edges.append(start)
        spans = [slice(*both) for both in pairwise([*edges, len(self.at)])]
        self.spans = [(span, span) for span in spans]
        self._ready: tuple[int, _Ready] | None = None

    def run(self, block: int, batch: Tensor) -> Tensor:
        return self._through(block, batch, batch, self.spans)

    def ended(self, block: int, batch: Tensor) -> Tensor:
        return self._through(block, batch, batch[:, self.ends], [(self.ends, slice(None))])

    def _through(
        self, number: int, batch: Tensor, asking: Tensor, spans: Sequence[tuple[Any, slice]]
    ) -> Tensor:
        """(n, m, D): what a block makes of the states `asking`, some of `batch`, (n, N, D).
        `spans`: which tokens these are, and whose keys of their tails they see."""
        block = self.blocks[number]
        ready, n_rows = self._of(number), len(batch)
        query, *own = self._read(block, batch, ready.read, ready.turn[self.at])
        found = []
        for at, span in spans:
            key, value = (
                torch.cat([kept.expand(n_rows, -1, -1, -1), each[:, :, span]], dim=2)
                for kept, each in zip((ready.keys, ready.values), own, strict=True)
            )
            read = functional.scaled_dot_product_attention(
                query[:, at].unflatten(2, (self.n_keys, -1)).transpose(1, 2).flatten(2, 3),
                key,
                value,
                attn_mask=self._seen_by(ready.mask[at], span),
                scale=self.scaling,
            )  # (n, key heads, tokens * heads that share, W)
            found.append(read.unflatten(2, (-1, self.shared)).transpose(1, 2).flatten(2))
        state = asking.reshape(-1, asking.shape[-1])
        heads = torch.cat(found, dim=1).flatten(0, 1)  # (n * m, heads * W)
        state = ready.write.joined(heads, state, "add")
        normed = _normed(block.post_attention_layernorm, state)
        wide = ready.up.joined(normed, ready.gate(normed, "swish"), "mul")
        return ready.down.joined(wide, state, "add").reshape(asking.shape)

    def _read(
        self, block: Any, states: Tensor, product: _Product, turn: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(n, m, D) -> (n, m, heads, W) queries and (n, key heads, m, W) keys, both turned, and
        values."""
        normed = _normed(block.input_layernorm, states.reshape(-1, states.shape[-1]))
        every = product(normed).reshape(*states.shape[:2], -1, self.width)
        turned, values = every.split([every.shape[2] - self.n_keys, self.n_keys], dim=2)
        pairs = torch.view_as_complex(turned.unflatten(-1, (-1, 2))) * turn
        turned = torch.view_as_real(pairs).flatten(-2)
        query, keys = turned.split([turned.shape[2] - self.n_keys, self.n_keys], dim=2)
        return query, keys.transpose(1, 2), values.transpose(1, 2)

    def _seen_by(self, mask: Tensor, span: slice) -> Tensor:
        """(1, 1, tokens * heads that share, T + span): what is added to the scores of some."""
        n_tokens = self.kept.n_tokens
        some = torch.cat([mask[:, :n_tokens], mask[:, n_tokens:][:, span]], dim=1)
        return some.repeat_interleave(self.shared, dim=0)[None, None]

    def _of(self, number: int) -> _Ready:
        """Made once for all rows that go through a block."""
        if self._ready is None or self._ready[0] != number:
            block, given = self.blocks[number], self.kept.arguments[number]
            three = [getattr(block.self_attn, name) for name in _ATTENTION[:3]]
            read = _Product(
                self._paired([each.weight for each in three]),
                None if three[0].bias is None else self._paired([each.bias for each in three]),
            )
            modules = [block.self_attn.o_proj, *(getattr(block.mlp, name) for name in _MLP)]
            write, gate, up, down = (_Product(each.weight, each.bias) for each in modules)
            cos, sin = (
                each[0].float().chunk(2, dim=-1)[0] for each in given["position_embeddings"]
            )
            turn = torch.complex(cos, sin)[:, None]  # (T, 1, W / 2)
            states = self.kept.states[number][None]
            _, keys, values = self._read(block, states, read, turn)
            mask = self._mask(given["attention_mask"])[0, 0]
            if mask.dtype == torch.bool:
                mask = torch.zeros(mask.shape).masked_fill_(~mask, -torch.inf)
            self._ready = number, _Ready(read, write, gate, up, down, turn, keys, values, mask)
        return self._ready[1]

    def _paired(self, three: Sequence[Tensor]) -> Tensor:
        """Rows of query, key and value behind one another, those of the first two in another order:
        beside each other two that a position turns together, which are half a head apart. A product
        of query and key does not notice."""
        turned = [each.unflatten(0, (-1, 2, self.width // 2)) for each in three[:2]]
        return torch.cat([*(each.transpose(1, 2).flatten(0, 2) for each in turned), three[2]])


def _fits(block: Any) -> bool:
    """Whether this is what a block does; what is not seen here, a comparison will."""
    if type(block).__name__ not in _FORMS or not torch.backends.mkldnn.is_available():
        return False
    attention, mlp = block.self_attn, block.mlp
    modules = [getattr(attention, n) for n in _ATTENTION] + [getattr(mlp, n) for n in _MLP]
    return all(
        type(each) is nn.Linear
        and each.weight.dtype == torch.float32
        and each.weight.device.type == "cpu"
        for each in modules
    ) and mlp.config.hidden_act in ("silu", "swish")


def _normed(norm: Any, states: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(states, dim=-1, keepdim=True)
    mean = size.square_().div_(states.shape[-1]).add_(norm.variance_epsilon)
    return (states * mean.rsqrt_()).mul_(norm.weight)
