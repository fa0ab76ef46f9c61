"""Runs into which states of another run are put: one run for each cell of a patch map.

A cell is a layer (or what a part added on the way to it) and a position. The states that are put
in come from a trace of a prompt with as many tokens, so that position stands for position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from strata.model.blocks import here, state_in, state_of, with_state
from strata.model.hooks import Recorder
from strata.trace import Part, Trace

if TYPE_CHECKING:
    from strata.model.model import Model

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Cell:
    """Where a state is put in: for "stream" `hidden[layer]` at a position, for "attn" and "mlp"
    what that part of block `layer - 1` adds there."""

    layer: int
    position: int
    part: Part = "stream"


def whole_runs(
    model: Model,
    trace: Trace,
    source: Trace,
    cells: Sequence[Sequence[Cell]],
    progress: Progress | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """The last state of each run, all of its cells patched: pairs of indices of `cells` and (n, D),
    by a run of all blocks each. Slow, and right for every model."""
    for i, some in enumerate(cells):
        with _patched(model, source, some):
            hidden, _, _ = model.forward([trace.token_ids], Recorder(model.architecture))
        if progress:
            progress((i + 1) / len(cells), f"{len(cells)} patched runs")
        yield [i], hidden[-1, 0, -1:]


@contextmanager
def _patched(model: Model, source: Trace, cells: Sequence[Cell]) -> Iterator[None]:
    """While open, a run of one prompt has these states of the source."""
    handles = []
    try:
        for cell in cells:
            for module, state, enters in _places(model, source, cell):
                handles.append(_put(module, state, cell.position, enters))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _places(model: Model, source: Trace, cell: Cell) -> Iterator[tuple[nn.Module, Tensor, bool]]:
    """Modules, the (D,) that each gives (or is given, where `enters`) at the cell's position."""
    architecture = model.architecture
    if cell.part == "stream":
        enters = cell.layer == 0
        module = architecture.blocks[0 if enters else cell.layer - 1]
        yield module, source.hidden[cell.layer, cell.position], enters
        return
    block = cell.layer - 1
    written = source.attn if cell.part == "attn" else source.mlp
    [write] = dict(architecture.parts())[cell.part][block]
    yield write.module, written[block, cell.position] / write.scale, False


def _put(module: nn.Module, state: Tensor, position: int, enters: bool) -> Any:
    def put(value: Tensor) -> Tensor:
        rows = value.reshape(-1, len(state)).clone()  # (T, D), of one prompt
        rows[position] = state.to(rows)
        return rows.reshape(value.shape)

    def leave(module: nn.Module, args: Any, output: Any) -> Any:
        return with_state(output, put(state_of(output)))

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        state = put(state_in(args, kwargs))
        if args:
            return (state, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": state}

    if enters:
        return module.register_forward_pre_hook(here(enter), with_kwargs=True)
    return module.register_forward_hook(here(leave))


def estimates(
    model: Model,
    trace: Trace,
    part: Part,
    measured: Callable[[Tensor], Tensor],
) -> Tensor:
    """The gradient of one number of a run with respect to each state, (L + 1, T, D), or to what a
    part of each block adds, (L, T, D). `measured` makes it of the (V,) logits of the last position.
    """
    architecture = model.architecture
    kept: list[Tensor] = []

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaf = state_in(args, kwargs).detach().requires_grad_(True)
        if part == "stream":
            kept.append(leaf)
        if args:
            return (leaf, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": leaf}

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        state = state_of(output)
        kept.append(state)
        return with_state(output, state * 1)  # a later block may add to it in place

    first, *_ = architecture.blocks
    handles = [first.register_forward_pre_hook(here(begin), with_kwargs=True)]
    scales: list[float] = []
    try:
        if part == "stream":
            modules = list(architecture.blocks)
        else:
            writes = [block[0] for block in dict(architecture.parts())[part]]
            modules, scales = [w.module for w in writes], [w.scale for w in writes]
        handles += [module.register_forward_hook(here(after)) for module in modules]
        with torch.inference_mode(False), torch.enable_grad():
            ids = trace.token_ids[None].to(model.device).clone()
            logits = model._network(input_ids=ids, use_cache=False, return_dict=True).logits
            grads = torch.autograd.grad(measured(logits[0, -1].float()), kept)
    finally:
        for handle in handles:
            handle.remove()
    n_tokens = len(trace.tokens)
    found = torch.stack([grad.reshape(n_tokens, -1).float().cpu() for grad in grads])
    return found / torch.tensor(scales)[:, None, None] if scales else found
