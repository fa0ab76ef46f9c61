"""The independent side of comparisons: plain transformers, with names and hooks of its own.

Nothing here uses Strata beyond the data class `Scale`; all other edits are a `Change`, whose
function a test writes itself. Loops are naive and cacheless on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from strata.trace import Scale

_BLOCKS = {
    "gpt_neox": "gpt_neox.layers",
    "opt": "model.decoder.layers",
    "biogpt": "biogpt.layers",
    **dict.fromkeys(
        ("gpt2", "gpt_bigcode", "gptj", "codegen", "gpt_neo", "bloom", "falcon"), "transformer.h"
    ),
}
_FINAL_NORM = {
    "gpt_neox": "gpt_neox.final_layer_norm",
    "opt": "model.decoder.final_layer_norm",
    "biogpt": "biogpt.layer_norm",
    "xglm": "model.layer_norm",
    "lfm2": "model.embedding_norm",
    "phi": "model.final_layernorm",
    "persimmon": "model.final_layernorm",
}
_POST_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
# family -> modules whose output is added to the stream; several names: whichever the block has
_WRITES: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("gpt2", "gpt_bigcode", "gptj", "codegen", "gpt_neo"), ("attn", "mlp")),
    "gpt_neox": ("attention", "mlp"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "falcon": ("self_attention", "mlp"),
    **dict.fromkeys(("opt", "xglm", "biogpt"), ("self_attn", "fc2")),
    **dict.fromkeys(
        ("gemma2", "gemma3_text", "gemma4_text", "olmo2", "olmo3", "exaone4"), _POST_NORMS
    ),
    "glm4": ("post_self_attn_layernorm", "post_mlp_layernorm"),
    "granitemoe": ("self_attn", "block_sparse_moe"),
    "hyperclovax": ("post_norm1", "post_norm2"),
    "lfm2": ("self_attn|conv", "feed_forward"),
    "qwen3_5_text": ("self_attn|linear_attn", "mlp"),
}


@dataclass(frozen=True)
class Change:
    """What becomes of a part of a block: a function of (T, D) and of what entered the block, too.
    Block -1 is what enters block 0."""

    block: int
    part: str
    function: Callable[[Tensor, Tensor], Tensor]


@dataclass
class Run:
    """One forward pass of one prompt: states (L + 1, T, D), writes (L, T, D), logits (T, V)."""

    states: list[Tensor] = field(default_factory=list)
    attn: list[Tensor] = field(default_factory=list)
    mlp: list[Tensor] = field(default_factory=list)
    logits: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def hidden(self) -> Tensor:
        return torch.stack(self.states)


class Plain:
    """A transformers model, its blocks and its write modules."""

    def __init__(self, network: Any) -> None:
        self.network = network
        config = network.config
        family = config.model_type
        self.blocks: list[nn.Module] = list(
            network.get_submodule(_BLOCKS.get(family, "model.layers"))
        )
        default = "transformer.ln_f" if family in _BLOCKS else "model.norm"
        self.norm_path = _FINAL_NORM.get(family, default)
        attn, mlp = _WRITES.get(family, ("self_attn", "mlp"))
        self.attn = [_module(block, attn) for block in self.blocks]
        self.mlp = [_module(block, mlp) for block in self.blocks]
        self.write_scale = getattr(config, "residual_multiplier", 1.0)
        if family == "minicpm3":
            self.write_scale = config.scale_depth / math.sqrt(config.num_hidden_layers)

    @torch.no_grad()
    def run(self, ids: Tensor, edits: Sequence[Scale | Change] = ()) -> Run:
        """Every state and write of a prompt, ids (T,), the edits applied by plain hooks."""
        run = Run()
        with _hooks() as handles:
            self._edit(handles, edits, len(ids))
            for part, modules in (("attn", self.attn), ("mlp", self.mlp)):
                for module in modules:
                    keep = _keeper(getattr(run, part), len(ids), self.write_scale)
                    handles.append(module.register_forward_hook(keep))
            for block in self.blocks:
                handles.append(block.register_forward_pre_hook(_input_keeper(run.states)))
            keep = _keeper(run.states, len(ids), 1.0)
            handles.append(self.blocks[-1].register_forward_hook(keep))
            run.logits = self.network(input_ids=ids[None], use_cache=False).logits[0]
        return run

    @torch.no_grad()
    def official_states(self, ids: Tensor) -> tuple[Tensor, ...]:
        """transformers' own `hidden_states`, (T, D) each; the last is after the final norm."""
        output = self.network(input_ids=ids[None], use_cache=False, output_hidden_states=True)
        return tuple(state[0] for state in output.hidden_states)

    @torch.no_grad()
    def greedy(
        self,
        ids: Tensor,
        n_tokens: int,
        edits: Sequence[Scale | Change] = (),
        guess: Sequence[int] = (),
    ) -> list[int]:
        """The greedy continuation, reading the whole prefix again for each token.

        A `guess` is read in one run, and is returned if it is what each prefix chooses.
        """
        end = self.network.config.eos_token_id
        if guess and self._chooses(ids, guess, edits):
            whole = len(guess) == n_tokens or (len(guess) < n_tokens and guess[-1] == end)
            if whole and end not in guess[:-1]:
                return list(guess)
        start = len(ids)
        for _ in range(n_tokens):
            with _hooks() as handles:
                self._edit(handles, edits, len(ids))
                logits = self.network(input_ids=ids[None], use_cache=False).logits[0, -1]
            ids = torch.cat([ids, logits.argmax()[None]])
            if int(ids[-1]) == end:
                break
        return ids[start:].tolist()

    @torch.no_grad()
    def _chooses(self, ids: Tensor, guess: Sequence[int], edits: Sequence[Scale | Change]) -> bool:
        text = torch.cat([ids, torch.tensor(guess[:-1], dtype=ids.dtype)])
        with _hooks() as handles:
            self._edit(handles, edits, len(text))
            logits = self.network(input_ids=text[None], use_cache=False).logits[0]
        return logits[len(ids) - 1 :].argmax(dim=-1).tolist() == list(guess)

    def gradients(self, ids: Tensor) -> Tensor:
        """(L + 1, T, D): the gradient of the mean cross-entropy by a zero added to each state."""
        nudges: list[Tensor] = []

        def nudge(state: Tensor) -> Tensor:
            nudges.append(torch.zeros_like(state).requires_grad_(True))
            return state + nudges[-1]

        def enter(module: nn.Module, args: Any) -> Any:
            return (nudge(args[0]), *args[1:])

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            changed = nudge(_first(output))
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        with _hooks() as handles, torch.enable_grad():
            handles += [block.register_forward_pre_hook(enter) for block in self.blocks]
            handles.append(self.blocks[-1].register_forward_hook(leave))
            logits = self.network(input_ids=ids[None], use_cache=False).logits[0]
            loss = F.cross_entropy(logits[:-1].float(), ids[1:])
            return torch.cat(torch.autograd.grad(loss, nudges))

    def _edit(self, handles: list[Any], edits: Sequence[Scale | Change], length: int) -> None:
        places = {"stream": self.blocks, "attn": self.attn, "mlp": self.mlp}
        for edit in edits:
            if isinstance(edit, Scale):
                module = places[edit.part][edit.block]
                handles.append(module.register_forward_hook(_scaler(edit, length)))
            elif edit.block < 0:
                handles.append(self.blocks[0].register_forward_pre_hook(_first_changer(edit)))
            else:
                entered: list[Tensor] = []
                block, module = self.blocks[edit.block], places[edit.part][edit.block]
                handles.append(block.register_forward_pre_hook(_input_keeper(entered)))
                handles.append(module.register_forward_hook(_changer(edit, entered, length)))


def _scaler(edit: Scale, length: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        value = _first(output)
        factors = torch.full((length, 1), 1.0 if edit.positions else edit.factor)
        for position in edit.positions or ():
            if position < length:
                factors[position] = edit.factor
        changed = (value.reshape(length, -1) * factors).reshape(value.shape)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def _changer(edit: Change, entered: list[Tensor], length: int) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        value = _first(output)
        changed = edit.function(value.reshape(length, -1), entered[-1]).reshape(value.shape)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def _first_changer(edit: Change) -> Any:
    def hook(module: nn.Module, args: Any) -> Any:
        return (edit.function(args[0][0], args[0][0])[None], *args[1:])

    return hook


def _keeper(kept: list[Tensor], length: int, scale: float) -> Any:
    def hook(module: nn.Module, args: Any, output: Any) -> None:
        kept.append(_first(output).reshape(length, -1).clone() * scale)

    return hook


def _input_keeper(kept: list[Tensor]) -> Any:
    def hook(module: nn.Module, args: Any) -> None:
        kept.append(args[0][0].clone())

    return hook


@contextmanager
def _hooks() -> Iterator[list[Any]]:
    handles: list[Any] = []
    try:
        yield handles
    finally:
        for handle in handles:
            handle.remove()


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _module(block: nn.Module, names: str) -> nn.Module:
    for name in names.split("|"):
        try:
            return block.get_submodule(name)
        except AttributeError:
            continue
    raise AttributeError(f"no {names} in {type(block).__name__}")
