"""Many edited runs of one prompt, each computed only from its edit upwards, all in one batch.

A run that is edited at block b is the clean run up to there. So row after row joins a growing
batch: it starts from the clean state at its edit and goes through the blocks above, together with
the rows that were edited lower down. Exact, and several times faster than a forward pass per edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from strata.errors import InputError
from strata.model.architecture import Architecture
from strata.model.blocks import here, state_in, state_of, with_state
from strata.model.hooks import Recorder
from strata.trace import Part, Scale, Trace


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
    edits: Sequence[Scale],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """The last state of each edited run: pairs of some indices n of `edits` and (n, D), in the
    network's dtype and on its device, until every edit had its turn.

    `trace` is the clean run of the prompt; MLP edits need its writes. One edit a run.
    `progress` is called after each block and may raise.
    """
    if trace.edits:
        raise InputError("A replay starts from a clean run, and this one was edited.")
    if not edits:
        return
    inputs = inputs_of(network, architecture, trace.token_ids)

    def start_of(edit: Scale) -> int:
        """The first block that an edited run goes through."""
        return edit.block + (not _is_within(architecture, edit))

    # As they join: what is scaled within its block has to go through it.
    order = sorted(range(len(edits)), key=lambda i: (edits[i].block, start_of(edits[i])))
    n_layers = len(architecture.blocks)
    total = sum(n_layers - start_of(edit) for edit in edits)
    done = 0

    def advance(n_rows: int) -> None:
        nonlocal done
        done += n_rows
        if progress:
            progress(done / max(1, total), f"{len(edits)} edited runs")

    at_once = _rows_at_once(network, trace)
    for start in range(0, len(order), at_once):
        group = order[start : start + at_once]
        rows = [edits[i] for i in group]
        yield group, _last_states(network, architecture, inputs, trace, rows, advance)


def whole_runs(
    forward: Callable[[Sequence[Tensor], Recorder], tuple[Tensor, Tensor | None, Tensor]],
    architecture: Architecture,
    trace: Trace,
    edits: Sequence[Scale],
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[tuple[list[int], Tensor]]:
    """The same pairs by one run of all blocks for each edit, for models whose blocks hand more to
    one another than the state (`ModelCheck.replay_ok`). `forward`: see `Model.forward`."""
    if trace.edits:
        raise InputError("A replay starts from a clean run, and this one was edited.")
    for i, edit in enumerate(edits):
        hidden, _, _ = forward([trace.token_ids], Recorder(architecture, [edit]))
        if progress:
            progress((i + 1) / len(edits), f"{len(edits)} edited runs")
        yield [i], hidden[-1, 0, -1:]


@torch.inference_mode()
def _last_states(
    network: Any,
    architecture: Architecture,
    inputs: Sequence[Inputs],
    trace: Trace,
    edits: Sequence[Scale],
    advance: Callable[[int], None],
) -> Tensor:
    """(n, D): edits in the order in which they join, one growing batch."""

    def join(batch: Tensor, states: Sequence[Tensor]) -> Tensor:
        rows = torch.stack(list(states)).to(network.device, network.dtype)  # (n, T, D)
        return torch.cat([batch, rows])

    clean = trace.hidden  # (L + 1, T, D)
    batch = clean[:0, ...].to(network.device, network.dtype)  # no rows yet
    for block in range(edits[0].block, len(architecture.blocks)):
        joining = [edit for edit in edits if edit.block == block]
        within = [edit for edit in joining if _is_within(architecture, edit)]
        after = [edit for edit in joining if edit not in within]
        if within:
            batch = join(batch, [clean[block]] * len(within))
        if len(batch):
            module = architecture.blocks[block]
            given = inputs[block]
            args, kwargs = (repeated(each, len(batch)) for each in (given.args, given.kwargs))
            with _scaled_rows(architecture, block, batch, within):
                output = module(batch.reshape(*batch.shape[:2], *given.form), *args, **kwargs)
            batch = state_of(output).reshape(batch.shape)
            advance(len(batch))
        if after:
            batch = join(batch, [_edited(trace, edit) for edit in after])
    return batch[:, -1].clone()


def _is_within(architecture: Architecture, edit: Scale) -> bool:
    """Whether an edit is made inside its block, where something may still read what it changed."""
    if edit.part == "mlp":  # one module, whose write is the last thing that a block adds
        return len(architecture.mlp[edit.block]) > 1
    return edit.part == "attn"


def _edited(trace: Trace, edit: Scale) -> Tensor:
    """(T, D): what enters the block above the edit."""
    clean = trace.hidden[edit.block + 1]  # (T, D)
    if edit.part == "stream":
        changed = clean * edit.factor
    else:  # summed as the model sums it: taking a large write away again would cost digits
        kept = trace.hidden[edit.block]
        if trace.residual:
            kept = kept * trace.residual[edit.block]
        below = kept + trace.attn[edit.block]
        changed = below + edit.factor * trace.mlp[edit.block]
    return torch.where(_chosen(edit, len(clean)), changed, clean)


def _chosen(edit: Scale, n_tokens: int) -> Tensor:
    """(T, 1): which positions an edit scales."""
    chosen = torch.zeros(n_tokens, 1, dtype=torch.bool)
    chosen[slice(None) if edit.positions is None else list(edit.positions)] = True
    return chosen


@contextmanager
def _scaled_rows(
    architecture: Architecture, block: int, batch: Tensor, edits: Sequence[Scale]
) -> Iterator[None]:
    """While open, writes of a block are scaled in the last rows of the batch, one edit a row."""
    n_rows, n_tokens, _ = batch.shape
    handles = []

    def scaler(part: Part) -> Any:
        factors = torch.ones(n_rows, n_tokens, 1)
        for row, edit in enumerate(edits, start=n_rows - len(edits)):
            if edit.part == part:
                factors[row][_chosen(edit, n_tokens)] = edit.factor
        factors = factors.to(batch)

        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            write = state_of(output)
            return with_state(output, (write.reshape(batch.shape) * factors).reshape(write.shape))

        return here(hook)

    try:
        for part, writes in architecture.parts():
            if any(edit.part == part for edit in edits):
                hook = scaler(part)
                handles += [each.module.register_forward_hook(hook) for each in writes[block]]
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
