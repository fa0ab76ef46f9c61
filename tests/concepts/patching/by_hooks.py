"""Patched runs by plain hooks on an independent copy: a forward pass a cell, no cache, no batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from strata.trace import Trace
from tests.plain import Plain

Cells = Sequence[tuple[str, int, int]]  # part, layer, position


def module_of(plain: Plain, part: str, layer: int) -> nn.Module:
    places = {"stream": plain.blocks, "attn": plain.attn, "mlp": plain.mlp}
    return places[part][max(0, layer - 1)]


def logits_of(plain: Plain, ids: Tensor, cells: Cells, source: Trace) -> Tensor:
    """(V,) of the last position, with what the source has at each cell; float64."""
    handles = []
    for part, layer, position in cells:
        if part == "stream":
            state = source.hidden[layer, position]
        else:
            written = source.attn if part == "attn" else source.mlp
            state = written[layer - 1, position] / plain.write_scale
        module = module_of(plain, part, layer)

        def put(value: Tensor, state: Tensor = state, position: int = position) -> Tensor:
            rows = value.reshape(len(ids), -1).clone()
            rows[position] = state
            return rows.reshape(value.shape)

        def enter(module: Any, args: Any, put: Any = put) -> Any:
            return (put(args[0]), *args[1:])

        def leave(module: Any, args: Any, output: Any, put: Any = put) -> Any:
            return (put(output[0]), *output[1:]) if isinstance(output, tuple) else put(output)

        if part == "stream" and layer == 0:
            handles.append(module.register_forward_pre_hook(enter))
        else:
            handles.append(module.register_forward_hook(leave))
    try:
        with torch.no_grad():
            return plain.network(input_ids=ids[None], use_cache=False).logits[0, -1].double()
    finally:
        for handle in handles:
            handle.remove()


def value_of(logits: Tensor, target: Sequence[int]) -> float:
    return float(sum(sign * logits[i] for sign, i in zip((1, -1), target, strict=False)))


def every_cell(n_layers: int, n_tokens: int, part: str) -> Iterator[tuple[str, int, int]]:
    for layer, position in itertools.product(
        range(part != "stream", n_layers + 1), range(n_tokens)
    ):
        yield part, layer, position


def slopes(
    plain: Plain, ids: Tensor, part: str, target: Sequence[int]
) -> tuple[float, list[Tensor]]:
    """The target, and its gradient (T, D) with respect to each layer or write: by a zero added."""
    nudges: list[Tensor] = []

    def nudged(value: Tensor) -> Tensor:
        nudges.append(torch.zeros_like(value).requires_grad_(True))
        return value + nudges[-1]

    def enter(module: Any, args: Any) -> Any:
        return (nudged(args[0]), *args[1:])

    def leave(module: Any, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (nudged(output[0]), *output[1:])
        return nudged(output)

    handles = []
    for layer in range(part != "stream", len(plain.blocks) + 1):
        module = module_of(plain, part, layer)
        if layer == 0:
            handles.append(module.register_forward_pre_hook(enter))
        else:
            handles.append(module.register_forward_hook(leave))
    try:
        logits = plain.network(input_ids=ids[None], use_cache=False).logits[0, -1]
    finally:
        for handle in handles:
            handle.remove()
    value = logits[target[0]] - (logits[target[1]] if len(target) > 1 else 0)
    found = torch.autograd.grad(value, nudges)
    return value.item(), [each.reshape(len(ids), -1) for each in found]
