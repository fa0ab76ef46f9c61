"""Many edited runs of one prompt, each computed only from its edit upwards, all in one batch.

A run that is edited at block b is the clean run up to there. So row after row joins a growing
batch: it starts from the clean state at its edit and goes through the blocks above, together with
the rows that were edited lower down. Exact, and several times faster than a forward pass per edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from strata.errors import InputError
from strata.model.architecture import Architecture
from strata.model.blocks import here, state_in, state_of, with_state
from strata.model.head_slices import columns, projection
from strata.model.hooks import Recorder
from strata.model.operations import Operation
from strata.trace import Trace


@dataclass(frozen=True)
class Inputs:
    """What a block is called with besides its state, and the form of that: (D,), or the rows of a
    stream of several."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    form: tuple[int, ...]


_BYTES = 128 * 2**20  # memory that the rows of one batch may take while a block runs


def replay(
    network: Any,
    architecture: Architecture,
    trace: Trace,
    operations: Sequence[Operation],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """The last state of each edited run: pairs of some indices n of `operations` and (n, D), in the
    network's dtype and on its device, until every one had its turn.

    `trace` is the clean run of the prompt. One operation a run. `progress` is called after each
    block and may raise.
    """
    _require_clean(trace)
    if not operations:
        return
    inputs = inputs_of(network, architecture, trace.token_ids)
    # As they join: what is made within a block goes through it, last of all that do.
    order = sorted(
        range(len(operations)), key=lambda i: (_start(operations[i]), _is_within(operations[i]))
    )
    n_layers = len(architecture.blocks)
    total = sum(n_layers - _start(operation) for operation in operations)
    done = 0

    def advance(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        if progress:
            progress(done / max(1, total), f"{len(operations)} edited runs")

    at_once = _rows_at_once(network, trace)
    for start in range(0, len(order), at_once):
        group = order[start : start + at_once]
        rows = [operations[i] for i in group]
        yield group, _last_states(network, architecture, inputs, trace, rows, advance)


def whole_runs(
    forward: Callable[[Sequence[Tensor], Recorder], tuple[Tensor, Tensor | None, Tensor]],
    architecture: Architecture,
    trace: Trace,
    operations: Sequence[Operation],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """The same pairs by one run of all blocks for each, for models whose blocks hand more to one
    another than the state (`ModelCheck.replay_ok`). `forward`: see `Model.forward`."""
    _require_clean(trace)
    for i, operation in enumerate(operations):
        hidden, _, _ = forward([trace.token_ids], Recorder(architecture, [operation]))
        if progress:
            progress((i + 1) / len(operations), f"{len(operations)} edited runs")
        yield [i], hidden[-1, 0, -1:]


def _require_clean(trace: Trace) -> None:
    if trace.edits:
        raise InputError("A replay starts from a clean run, and this one was edited.")


def _is_within(operation: Operation) -> bool:
    """Whether an edit is made inside its block, on what a part adds or a head hands on there."""
    return operation.edit.part != "stream" or operation.edit.head is not None


def _start(operation: Operation) -> int:
    """The first block that an edited run goes through."""
    return operation.edit.block + (not _is_within(operation))


@torch.inference_mode()
def _last_states(
    network: Any,
    architecture: Architecture,
    inputs: Sequence[Inputs],
    trace: Trace,
    operations: Sequence[Operation],
    advance: Callable[[int], None],
) -> Tensor:
    """(n, D): edited runs in the order in which they join, one growing batch."""
    clean = trace.hidden  # (L + 1, T, D)
    span = range(clean.shape[1])
    batch = clean[:0, ...].to(network.device, network.dtype)  # no rows yet

    def entering(operation: Operation, block: int) -> Tensor:
        """(1, T, D): what enters the first block of an edited run."""
        state = clean[block, None].to(batch)
        if _is_within(operation):
            return state
        below = clean[operation.edit.block, None].to(batch) if block else None
        return operation(state, span, entered=below)

    for block in range(_start(operations[0]), len(architecture.blocks) + 1):
        joining = [operation for operation in operations if _start(operation) == block]
        batch = torch.cat([batch, *(entering(operation, block) for operation in joining)])
        if block == len(architecture.blocks):
            break
        given = inputs[block]
        args, kwargs = (repeated(each, len(batch)) for each in (given.args, given.kwargs))
        with _edited_rows(architecture, block, len(batch), filter(_is_within, joining)):
            module = architecture.blocks[block]
            output = module(batch.reshape(*batch.shape[:2], *given.form), *args, **kwargs)
        batch = state_of(output).reshape(batch.shape)
        advance(len(batch))
    return batch[:, -1].clone()


@contextmanager
def _edited_rows(
    architecture: Architecture, block: int, n_rows: int, operations: Iterable[Operation]
) -> Iterator[None]:
    """While open, what parts of a block add, or heads hand on, is edited in the last rows of the
    batch, one operation a row."""
    rows = list(operations)
    first = n_rows - len(rows)
    handles = []

    def on_heads(module: nn.Module, args: tuple[Any, ...]) -> Any:
        _, n_heads = projection(architecture, block)
        given = args[0].reshape(n_rows, -1, args[0].shape[-1]).clone()  # (n, T, heads * width)
        for row, operation in zip(given[first:], rows, strict=True):
            if operation.edit.head is not None:
                where = columns(module, n_heads, operation.edit.head)
                row[:, where] = operation(row[None, :, where], range(len(row)))[0]
        return given.reshape(args[0].shape), *args[1:]

    def is_of(operation: Operation, part: str) -> bool:
        return operation.edit.part == part and operation.edit.head is None

    def editor(part: str, module: int) -> Any:
        def hook(_: nn.Module, args: Any, output: Any) -> Any:
            value = state_of(output)
            added = value.reshape(n_rows, -1, value.shape[-1])  # (n, T, D)
            span = range(added.shape[1])
            edited = [
                operation(row[None], span, module) if is_of(operation, part) else row[None]
                for row, operation in zip(added[first:], rows, strict=True)
            ]
            return with_state(output, torch.cat([added[:first], *edited]).reshape(value.shape))

        return here(hook)

    try:
        if any(operation.edit.head is not None for operation in rows):
            module, _ = projection(architecture, block)
            handles.append(module.register_forward_pre_hook(here(on_heads)))
        for part, writes in architecture.parts():
            if any(is_of(operation, part) for operation in rows):
                for i, write in enumerate(writes[block]):
                    handles.append(write.module.register_forward_hook(editor(part, i)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def inputs_of(
    network: Any, architecture: Architecture, token_ids: Tensor, *, use_cache: bool = False
) -> list[Inputs]:
    """What each block is called with besides the state: masks and rotary angles, which differ by
    block but depend on positions only.

    So they are found without computing: all blocks above the first hand on what the first gave,
    and the head what it was given.
    """
    inputs: list[Inputs] = []
    first, *others = architecture.blocks
    given: list[Any] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        form = tuple(state_in(args, kwargs).shape[2:])
        rest = {name: value for name, value in kwargs.items() if name != "hidden_states"}
        inputs.append(Inputs(args[1:], rest, form))

    handles = [
        block.register_forward_pre_hook(here(keep), with_kwargs=True)
        for block in architecture.blocks
    ]
    after = here(lambda module, args, output: given.append(output))
    handles.append(first.register_forward_hook(after))
    try:
        for block in others:
            block.forward = here(lambda *args, **kwargs: given[0], elsewhere=block.forward)
        head = architecture.head
        head.forward = here(lambda state: state, elsewhere=head.forward)
        ids = token_ids[None].to(network.device)
        network(input_ids=ids, use_cache=use_cache, return_dict=True)
    finally:
        for handle in handles:
            handle.remove()
        for module in (*others, architecture.head):
            vars(module).pop("forward", None)
    return inputs


def repeated(given: Any, n_rows: int) -> Any:
    """Arguments for one row as arguments for many: what has rows (or heads, in ALiBi) first."""
    if isinstance(given, Tensor):
        return given.repeat(n_rows, *[1] * (given.ndim - 1)) if given.ndim > 1 else given
    if isinstance(given, tuple):
        return tuple(repeated(each, n_rows) for each in given)
    if isinstance(given, dict):
        return {name: repeated(each, n_rows) for name, each in given.items()}
    return given


def _rows_at_once(network: Any, trace: Trace) -> int:
    """How many rows fit into the memory bound, by what a block keeps of each: states and the
    MLP's wider ones, and attention scores, where they are written down."""
    _, n_tokens, d_model = trace.hidden.shape
    config = network.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 1
    numbers = n_tokens * (12 * d_model + 2 * heads * n_tokens)
    return max(1, int(_BYTES / (numbers * network.dtype.itemsize)))
