"""Hooks for the length of one call: write states and writes down, make edits, leave no trace.

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

from strata.edits import leaves_out
from strata.model.architecture import Architecture, Write
from strata.model.blocks import here, state_in, state_of, with_state, with_state_in
from strata.model.head_slices import columns, projection
from strata.model.operations import Operation
from strata.trace import EMBEDDING, Part


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
    gave, (B, T, D), unscaled, in the architecture's order (they may run in another). A stream of
    several rows is one of D numbers, row after row.
    With `states_only` the head, a fifth of a small model, reads the first row of the batch only.

    A recorder also follows a generation: it counts the tokens that it has seen, so positions are
    absolute. One token at a time goes on where the last call ended; several are the whole text
    once more, as where a model drops its cache and begins anew.
    """

    def __init__(
        self,
        architecture: Architecture,
        operations: Sequence[Operation] = (),
        *,
        record: bool = True,
        apart: bool = False,
        states_only: bool = False,
    ) -> None:
        self.architecture = architecture
        self.operations = tuple(operations)
        self.record = record
        self.apart = apart
        self.states_only = states_only
        self.hidden = torch.empty(0)
        self.writes: Tensor | None = None
        self.outputs: dict[Part, list[list[Tensor]]] = {}
        self._span = range(0)
        self._batch = 0
        self._entered: dict[int, Tensor] = {}  # blocks that are skipped: what entered them
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
            self.outputs[part] = [[torch.empty(0)] * len(modules) for modules in writes]
            for block, modules in enumerate(writes):
                made = self._made(part, block)
                for i, write in enumerate(modules) if made or self.record else ():
                    hook = self._write_hook(part, block, i, write, len(modules) == 1, made)
                    self._handles.append(write.module.register_forward_hook(here(hook)))
        for operation in self.operations:
            if operation.edit.head is not None:
                module, n_heads = projection(architecture, operation.edit.block)
                where = columns(module, n_heads, operation.edit.head)
                hook = here(self._head_hook(operation, where))
                self._handles.append(module.register_forward_pre_hook(hook))
        for block, module in enumerate(architecture.blocks):
            made = self._made("stream", block)
            if any(leaves_out(operation.edit) for operation in made):
                self._hear(module, self._keep_entered(block))
            if made or self.record:
                hook = self._stream_hook(block, made)
                self._handles.append(module.register_forward_hook(here(hook)))

    def _made(self, part: Part, block: int) -> list[Operation]:
        """The operations on a part of a block, in their order; those on its heads are apart."""
        whole = [o for o in self.operations if o.edit.head is None]
        return [o for o in whole if o.edit.part == part and o.edit.block == block]

    def _hear(self, module: nn.Module, begin: Callable[..., Any]) -> None:
        self._handles.append(module.register_forward_pre_hook(here(begin), with_kwargs=True))

    def _close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = state_in(args, kwargs)
        state = value.reshape(*value.shape[:2], -1)  # (B, T, D)
        self._batch, length, _ = state.shape
        start = self._span.stop if length == 1 else 0
        self._span = range(start, start + length)
        made = self._made("stream", EMBEDDING)
        for operation in made:
            state = operation(state, self._span)
        if self.record:
            n_layers = len(self.architecture.blocks)
            # Outside inference mode, so that a researcher may use what was captured in autograd.
            with torch.inference_mode(False):
                self.hidden = state.new_empty(n_layers + 1, *state.shape)
                if self.architecture.has_writes:
                    self.writes = state.new_zeros(2, n_layers, *state.shape)
            self.hidden[0].copy_(state)
        return with_state_in(args, kwargs, state.reshape(value.shape)) if made else None

    def _keep_entered(self, block: int) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            state = state_in(args, kwargs)
            # A copy, since some blocks add to what entered them in place.
            self._entered[block] = state.reshape(*state.shape[:2], -1).clone()

        return hook

    def _head_hook(self, operation: Operation, where: slice) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            given = self._shaped(args[0]).clone()  # (B, T, heads * width)
            given[..., where] = operation(given[..., where], self._span)
            return given.reshape(args[0].shape), *args[1:]

        return hook

    def _stream_hook(self, block: int, made: list[Operation]) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = state_of(output)
            state = self._shaped(value)
            for operation in made:
                state = operation(state, self._span, entered=self._entered.get(block))
                if self.writes is not None and leaves_out(operation.edit):
                    self.writes[:, block, :, operation.where(self._span)] = 0
            if self.record:
                self.hidden[block + 1].copy_(state)
            return with_state(output, state.reshape(value.shape)) if made else None

        return hook

    def _write_hook(
        self, part: Part, block: int, i: int, write: Write, alone: bool, made: list[Operation]
    ) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = state_of(output)
            added = self._shaped(value)
            for operation in made:
                added = operation(added, self._span, module=i)
            if self.apart:
                self.outputs[part][block][i] = added.clone()
            if self.record and self.writes is not None:
                written = self.writes[("attn", "mlp").index(part), block]
                scaled = added if write.scale == 1.0 else added * write.scale
                # A copy, since parallel blocks add attention to the MLP's output in place.
                if alone:
                    written.copy_(scaled)
                else:
                    written.add_(scaled)
            return with_state(output, added.reshape(value.shape)) if made else None

        return hook

    def _shaped(self, value: Tensor) -> Tensor:
        """(B, T, D): some MLPs hand on (B * T, D). T is what this block reads of the call: all, or
        only its end, where a model needs no more for what it says next."""
        n_tokens = value.shape[1] if value.ndim > 2 else len(value) // self._batch
        return value.reshape(self._batch, n_tokens, -1)
