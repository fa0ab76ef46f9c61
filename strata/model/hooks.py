"""Hooks for the length of one call: write states and writes down, apply edits, leave no trace.

Outputs are never changed in place (others may hold them), and every hook is removed in any case,
since hooks sit on modules that all learners share. For the same reason a hook hears the runs of its
own thread only, see `here`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from strata.errors import InputError
from strata.model.architecture import Architecture, Write
from strata.model.blocks import here, state_in, state_of, with_state
from strata.trace import Part, Scale

LARGEST_FACTOR = 1e6


def check_edits(edits: Sequence[Scale], n_layers: int, n_tokens: int) -> tuple[Scale, ...]:
    """The edits as a tuple; InputError where a block, part, factor or position is out of range."""
    if not isinstance(edits, Sequence):
        raise InputError(f"Edits must be a list of Scale, not {type(edits).__name__}.")
    for edit in edits:
        if not isinstance(edit, Scale):
            raise InputError(f"An edit must be a Scale, not {type(edit).__name__}.")
        if edit.part not in ("stream", "attn", "mlp"):
            raise InputError(f"An edit's part is stream, attn or mlp, not {edit.part!r}.")
        if not (type(edit.block) is int and 0 <= edit.block < n_layers):
            raise InputError(f"Block {edit.block} does not exist: blocks are 0 to {n_layers - 1}.")
        # Beyond that states leave what float32 can hold; a comparison takes NaN and huge integers.
        if not (isinstance(edit.factor, (int, float)) and abs(edit.factor) <= LARGEST_FACTOR):
            raise InputError("A factor must be a finite number, at most a million in size.")
        if not isinstance(edit.positions, Sequence | None):
            raise InputError("Positions of an edit must be a tuple of whole numbers, or None.")
        for position in edit.positions or ():
            if not (type(position) is int and 0 <= position < n_tokens):
                raise InputError(
                    f"Position {position} does not exist: positions are 0 to {n_tokens - 1}."
                )
    return tuple(edits)


@contextmanager
def between_blocks(blocks: Sequence[nn.Module], let_others: Callable[[], None]) -> Iterator[None]:
    """Inside, `let_others` is called before each block of a run of this thread. It may have the
    model run in another thread, of which this run hears nothing."""
    heard = here(lambda *_: let_others())
    handles = [block.register_forward_pre_hook(heard) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Recorder:
    """Context manager: while open, one forward pass is edited and, if asked, written down.

    After the pass `hidden` is (L + 1, B, T, D) and `writes` (2, L, B, T, D), both in the model's
    dtype and on its device, after the edits; with `apart`, `outputs` holds what each write module
    gave, (B, T, D), unscaled. A stream of several rows is one of D numbers, row after row.
    With `states_only` the head, a fifth of a small model, reads the first row of the batch only.

    A recorder also follows a generation: it counts the tokens that it has seen, so positions are
    absolute. One token at a time goes on where the last call ended; several are the whole text
    once more, as where a model drops its cache and begins anew.
    """

    def __init__(
        self,
        architecture: Architecture,
        edits: Sequence[Scale] = (),
        *,
        record: bool = True,
        apart: bool = False,
        states_only: bool = False,
    ) -> None:
        self.architecture = architecture
        self.edits = tuple(edits)
        self.record = record
        self.apart = apart
        self.states_only = states_only
        self.hidden = torch.empty(0)
        self.writes: Tensor | None = None
        self.outputs: dict[Part, list[list[Tensor]]] = {}
        self._span = range(0)
        self._batch = 0
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Recorder:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def _open(self) -> None:
        architecture = self.architecture
        self._hear(architecture.blocks[0], self._begin)
        if self.states_only:
            first = here(lambda module, args: (args[0][:1], *args[1:]))
            self._handles.append(architecture.head.register_forward_pre_hook(first))
        for part, writes in architecture.parts():
            self.outputs[part] = [[] for _ in writes]
            for block, modules in enumerate(writes):
                edits = [e for e in self.edits if e.part == part and e.block == block]
                for write in modules if edits or self.record else ():
                    hook = self._write_hook(part, block, write, len(modules) == 1, edits)
                    self._handles.append(write.module.register_forward_hook(here(hook)))
        for block, module in enumerate(architecture.blocks):
            edits = [e for e in self.edits if e.part == "stream" and e.block == block]
            if edits or self.record:
                hook = self._stream_hook(block, edits)
                self._handles.append(module.register_forward_hook(here(hook)))

    def _hear(self, module: nn.Module, begin: Callable[..., None]) -> None:
        self._handles.append(module.register_forward_pre_hook(here(begin), with_kwargs=True))

    def _close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = state_in(args, kwargs)
        state = state.reshape(*state.shape[:2], -1)  # (B, T, D)
        self._batch, length, _ = state.shape
        start = self._span.stop if length == 1 else 0
        self._span = range(start, start + length)
        if not self.record:
            return
        n_layers = len(self.architecture.blocks)
        # Outside inference mode, so that a researcher may use what was captured in autograd.
        with torch.inference_mode(False):
            self.hidden = state.new_empty(n_layers + 1, *state.shape)
            if self.architecture.has_writes:
                self.writes = state.new_zeros(2, n_layers, *state.shape)
        self.hidden[0].copy_(state)

    def _stream_hook(self, block: int, edits: list[Scale]) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = state_of(output)
            state = self._shaped(value)
            for edit in edits:
                state = self._scaled(state, edit)
            if self.record:
                self.hidden[block + 1].copy_(state)
            return with_state(output, state.reshape(value.shape)) if edits else None

        return hook

    def _write_hook(
        self, part: Part, block: int, write: Write, alone: bool, edits: list[Scale]
    ) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = state_of(output)
            added = self._shaped(value)
            for edit in edits:
                added = self._scaled(added, edit)
            if self.apart:
                self.outputs[part][block].append(added.clone())
            if self.record and self.writes is not None:
                written = self.writes[("attn", "mlp").index(part), block]
                scaled = added if write.scale == 1.0 else added * write.scale
                # A copy, since parallel blocks add attention to the MLP's output in place.
                if alone:
                    written.copy_(scaled)
                else:
                    written.add_(scaled)
            return with_state(output, added.reshape(value.shape)) if edits else None

        return hook

    def _shaped(self, value: Tensor) -> Tensor:
        """(B, T, D): some MLPs hand on (B * T, D). T is what this block reads of the call: all, or
        only its end, where a model needs no more for what it says next."""
        n_tokens = value.shape[1] if value.ndim > 2 else len(value) // self._batch
        return value.reshape(self._batch, n_tokens, -1)

    def _scaled(self, state: Tensor, edit: Scale) -> Tensor:
        if edit.positions is None:
            return state * edit.factor
        n_tokens = state.shape[1]
        factors = state.new_ones(n_tokens, 1)
        for i, position in enumerate(self._span[-n_tokens:]):
            if position in edit.positions:
                factors[i] = edit.factor
        return state * factors
