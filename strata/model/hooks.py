"""Hooks for the length of one call: write states and writes down, apply edits, leave no trace.

Outputs are never changed in place (others may hold them), and every hook is removed in any case,
since hooks sit on modules that all learners share. For the same reason a hook hears the runs of its
own thread only, see `here`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from strata.errors import InputError
from strata.model.architecture import Architecture
from strata.trace import Part, Scale


def here(function: Callable[..., Any], elsewhere: Callable[..., Any] | None = None) -> Any:
    """The function in the thread that asks for it; in others `elsewhere`, or nothing (None)."""
    thread = get_ident()

    def heard(*args: Any, **kwargs: Any) -> Any:
        if get_ident() == thread:
            return function(*args, **kwargs)
        return None if elsewhere is None else elsewhere(*args, **kwargs)

    return heard


def check_edits(edits: Sequence[Scale], n_layers: int, n_tokens: int) -> tuple[Scale, ...]:
    """The edits as a tuple; InputError where a block, part, factor or position is out of range."""
    for edit in edits:
        if not isinstance(edit, Scale):
            raise InputError(f"An edit must be a Scale, not {type(edit).__name__}.")
        if edit.part not in ("stream", "attn", "mlp"):
            raise InputError(f"An edit's part is stream, attn or mlp, not {edit.part!r}.")
        if not (type(edit.block) is int and 0 <= edit.block < n_layers):
            raise InputError(f"Block {edit.block} does not exist: blocks are 0 to {n_layers - 1}.")
        if not (isinstance(edit.factor, (int, float)) and math.isfinite(edit.factor)):
            raise InputError(f"A factor must be a finite number, not {edit.factor}.")
        for position in edit.positions or ():
            if not (type(position) is int and 0 <= position < n_tokens):
                raise InputError(
                    f"Position {position} does not exist: positions are 0 to {n_tokens - 1}."
                )
    return tuple(edits)


class Recorder:
    """Context manager: while open, one forward pass is edited and, if asked, written down.

    After the pass `hidden` is (L + 1, B, T, D) and `writes` (2, L, B, T, D), both in the model's
    dtype and on its device, writes unscaled, after the edits. A recorder also follows a
    generation with a KV cache: it counts the tokens that it has seen, so positions are absolute.
    """

    def __init__(
        self, architecture: Architecture, edits: Sequence[Scale] = (), *, record: bool = True
    ) -> None:
        self.architecture = architecture
        self.edits = tuple(edits)
        self.record = record
        self.hidden = torch.empty(0)
        self.writes: Tensor | None = None
        self._seen = 0
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
        parts: tuple[tuple[Part, Sequence[nn.Module]], ...] = (
            ("attn", self.architecture.attn),
            ("mlp", self.architecture.mlp),
            ("stream", self.architecture.blocks),
        )
        first = self.architecture.blocks[0]
        self._handles.append(first.register_forward_pre_hook(here(self._begin), with_kwargs=True))
        for part, modules in parts:
            for block, module in enumerate(modules):
                edits = [e for e in self.edits if e.part == part and e.block == block]
                if edits or self.record:
                    hook = here(self._hook(part, block, edits))
                    self._handles.append(module.register_forward_hook(hook))

    def _close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state = args[0] if args else kwargs["hidden_states"]  # (B, T, D)
        self._batch, length, _ = state.shape
        self._span = range(self._seen, self._seen + length)
        self._seen += length
        if not self.record:
            return
        n_layers = len(self.architecture.blocks)
        # Outside inference mode, so that a researcher may use what was captured in autograd.
        with torch.inference_mode(False):
            like = {"dtype": state.dtype, "device": state.device}
            self.hidden = torch.empty(n_layers + 1, *state.shape, **like)
            if self.architecture.attn:
                self.writes = torch.empty(2, n_layers, *state.shape, **like)
        self.hidden[0].copy_(state)

    def _hook(self, part: Part, block: int, edits: list[Scale]) -> Callable[..., Any]:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            value = output[0] if isinstance(output, tuple) else output
            # Some MLPs hand on (B * T, D).
            shaped = value.reshape(self._batch, len(self._span), value.shape[-1])  # (B, T, D)
            for edit in edits:
                shaped = self._scaled(shaped, edit)
            if self.record and part == "stream":
                self.hidden[block + 1].copy_(shaped)
            elif self.record and self.writes is not None:
                # A copy, since parallel blocks add attention to the MLP's output in place.
                self.writes[("attn", "mlp").index(part), block].copy_(shaped)
            if not edits:
                return None
            changed = shaped.reshape(value.shape)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return hook

    def _scaled(self, state: Tensor, edit: Scale) -> Tensor:
        if edit.positions is None:
            return state * edit.factor
        factors = state.new_ones(len(self._span), 1)
        for i, position in enumerate(self._span):
            if position in edit.positions:
                factors[i] = edit.factor
        return state * factors
