"""Reading states as logits, about 100 rows at a time, so that memory does not grow with layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor, nn

from strata.concepts.run import check_run
from strata.errors import InputError, ModelError
from strata.model.architecture import Architecture
from strata.model.frozen_norm import FrozenNorm, freeze
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

Mode = Literal[
    "states", "deltas_own_norm", "deltas_frozen_norm", "attn_frozen_norm", "mlp_frozen_norm"
]
Mistake = Literal["none", "norm_twice", "no_norm"]
MODES: tuple[str, ...] = get_args(Mode)
MISTAKES: tuple[str, ...] = get_args(Mistake)

ROWS = 100  # rows of logits at a time and thread: 20 MB at V = 50,000


@dataclass(frozen=True)
class Reading:
    """States or writes of one run, (n, T, D), and how they become logits.

    `layers` names the n rows, `positions` the T columns, `token_ids` the whole prompt, which is
    not known of bare states. `frozen` is None where each row goes through the norm itself.
    """

    architecture: Architecture  # norm and head in float32
    states: Tensor  # (n, T, D)
    final: Tensor  # (T, D): hidden[L], where a norm is frozen
    layers: tuple[int, ...]
    positions: tuple[int, ...]
    tokens: tuple[str, ...]
    mode: str = "states"
    frozen: FrozenNorm | None = None
    mistake: str = "none"
    token_ids: tuple[int, ...] = ()

    def window(self, start: int, width: int, stride: int = 1) -> Reading:
        """Positions `start` to `start + width`, every `stride`-th layer and always the last."""
        rows = [*range(0, len(self.layers) - 1, stride), len(self.layers) - 1]
        span = slice(start, start + width)
        return replace(
            self,
            states=self.states[rows, span],
            final=self.final[span],
            layers=tuple(self.layers[row] for row in rows),
            positions=self.positions[span],
            tokens=self.tokens[span],
            frozen=self.frozen and self.frozen.at(span),
        )

    def in_one_row(self) -> Reading:
        """All cells as the positions of a single layer, so that each chunk of them is full."""
        n_layers, n_tokens = self.shape
        frozen = self.frozen
        if frozen is not None:
            scale = frozen.scale.expand(n_layers, n_tokens, 1).reshape(-1, 1)
            frozen = replace(frozen, scale=scale)
        n_cells = n_layers * n_tokens
        states = self.states.reshape(1, n_cells, self.states.shape[-1])
        return replace(
            self,
            states=states,
            layers=(0,),
            positions=tuple(range(n_cells)),
            tokens=("",) * n_cells,
            frozen=frozen,
        )

    @torch.inference_mode()
    def logits(self, rows: slice, span: slice) -> Tensor:
        """(rows, span, V): logits, or before any cap what was added to them if the norm is
        frozen."""
        states = self.states[rows, span].to(self.device)
        if self.frozen is not None:
            return self.frozen.at(span).logits(states)
        if self.mistake == "norm_twice" and rows.stop == len(self.layers):
            states = torch.cat([states[:-1], self.architecture.normed(states[-1:])])
        if self.mistake == "no_norm":
            return replace(self.architecture, norm=nn.Identity()).unembed(states)
        return self.architecture.unembed(states)

    def spans(self) -> list[slice]:
        """The positions, a few at a time: about 100 rows with all their layers."""
        n_layers, n_tokens = self.shape
        n_columns = max(1, ROWS // max(1, n_layers))
        return [slice(i, min(i + n_columns, n_tokens)) for i in range(0, n_tokens, n_columns)]

    def chunks(self, span: slice) -> Iterator[tuple[slice, Tensor]]:
        """(rows, logits) of all layers at some positions, about 100 rows at a time, the last layer
        first.

        Who lets go of the logits before asking for the next saves the memory, and much of the time
        that fresh memory costs.
        """
        n_layers, _ = self.shape
        n_rows = max(1, ROWS // (span.stop - span.start))
        for end in range(n_layers, 0, -n_rows):
            rows = slice(max(0, end - n_rows), end)
            yield rows, self.logits(rows, span)

    @torch.inference_mode()
    def parts(self, span: slice, width: int) -> Iterator[Tensor]:
        """(span, v): logits of some cells of a single row, `width` tokens of the vocabulary at a
        time, in order of their ids. Each overwrites the last."""
        states = self.states[0, span].to(self.device)
        norm = self.architecture if self.frozen is None else self.frozen.at(span)
        normed = norm.normed(states)
        kept = normed.new_empty(len(normed), min(width, self.d_vocab))
        for left in range(0, self.d_vocab, width):
            vocabulary = slice(left, min(left + width, self.d_vocab))
            yield norm.logits_of(normed, vocabulary, out=kept[:, : vocabulary.stop - left])

    @property
    def d_vocab(self) -> int:
        """V: one logit for each."""
        return len(self.architecture.head.get_parameter("weight"))

    @property
    def ends_in_the_output(self) -> bool:
        """Whether the last row is what the model really says."""
        return self.mode == "states" and self.mistake == "none"

    def final_logits(self, span: slice) -> Tensor:
        """(span, V): what the model really says at these positions."""
        with torch.inference_mode():
            return self.architecture.unembed(self.final[span].to(self.device))

    @property
    def device(self) -> torch.device:
        return next(self.architecture.head.parameters()).device

    @property
    def shape(self) -> tuple[int, int]:
        """(n, T): one cell for each."""
        return self.states.shape[0], self.states.shape[1]

    def index(self) -> dict[str, Any]:
        """The columns layer, position and token, one row a cell, layer by layer."""
        n_layers, n_tokens = self.shape
        return {
            "layer": [layer for layer in self.layers for _ in range(n_tokens)],
            "position": list(self.positions) * n_layers,
            "token": list(self.tokens) * n_layers,
        }


def read(
    model: Model, trace_or_states: Trace | Tensor, mode: str = "states", mistake: str = "none"
) -> Reading:
    """What a mode reads of a trace, or of bare states (layers, T, D) without writes.

    InputError for an unknown mode, wrong states, or writes of bare states; ModelError where the
    model's lens or its writes are refused.
    """
    if mode not in MODES:
        raise InputError(f"A mode is one of {', '.join(MODES)}, not {mode!r}.")
    if mistake not in MISTAKES:
        raise InputError(f"A mistake is one of {', '.join(MISTAKES)}, not {mistake!r}.")
    if mistake != "none" and mode != "states":
        raise InputError("The common mistakes are about states; choose the mode states.")
    if model.lens_refusal:
        raise ModelError(model.lens_refusal)
    hidden, tokens = _states(model, trace_or_states)
    architecture = model.float_head
    if mistake != "none" and model.d_head != model.d_model:
        raise InputError(
            f"The head of this {model.family} model reads {model.d_head} numbers and a state has "
            f"{model.d_model}, so this mistake cannot be made with it."
        )
    states, layers = hidden, tuple(range(len(hidden)))
    if mode != "states":
        layers = layers[1:]
        if isinstance(trace_or_states, Trace):
            states = _added(trace_or_states, mode)
        elif mode.startswith("deltas"):
            states = hidden.diff(dim=0)
        else:
            raise InputError("Bare states hold no attention or MLP writes; give a trace.")
    frozen = None
    if mode.endswith("frozen_norm"):
        frozen = frozen_at_the_end(model, hidden)
    positions = tuple(range(len(tokens)))
    ids = tuple(trace_or_states.token_ids.tolist()) if isinstance(trace_or_states, Trace) else ()
    return Reading(
        architecture, states, hidden[-1], layers, positions, tokens, mode, frozen, mistake, ids
    )


def _added(trace: Trace, mode: str) -> Tensor:
    """(L, T, D): what each block or part added, in frozen modes what is left of it at the end."""
    added = {"attn": lambda: trace.attn, "mlp": lambda: trace.mlp}
    states: Tensor = added.get(mode.split("_")[0], lambda: trace.added)()
    return trace.carried(states) if mode.endswith("frozen_norm") else states


def frozen_at_the_end(model: Model, hidden: Tensor) -> FrozenNorm:
    """The final norm with its scale taken from hidden[L] at each position."""
    if model.lens_refusal:
        raise ModelError(model.lens_refusal)
    with torch.inference_mode():
        return freeze(model.float_head, hidden[-1].to(model.device))


def _states(model: Model, trace_or_states: Trace | Tensor) -> tuple[Tensor, tuple[str, ...]]:
    if isinstance(trace_or_states, Trace):
        check_run(model, trace_or_states)
        return trace_or_states.hidden, trace_or_states.tokens
    try:
        states = torch.as_tensor(trace_or_states)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"Give a run, as “model.capture” makes it, or states, not {trace_or_states!r:.40}."
        ) from None
    if states.ndim != 3 or states.shape[-1] != model.d_model or not len(states):
        raise InputError(
            f"Bare states have the shape (layers, tokens, {model.d_model}), "
            f"not {tuple(states.shape)}."
        )
    return states.detach().float().cpu(), tuple(map(str, range(states.shape[1])))
