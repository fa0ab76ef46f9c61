"""Going on with a text, token by token."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria

from strata.errors import InputError
from strata.model.limits import turning_point


def generated(
    network: Any, config: Any, ids: Tensor, n_tokens: int, settings: dict[str, Any]
) -> Any:
    """What transformers' `generate` gives for a continuation of (1, T) token ids.

    `settings` are those of a `GenerationConfig`, `progress`, which is called at each token and may
    raise, and `drawn`, which chooses the tokens (None: the likeliest). With a KV cache, except
    where the text grows over the model's turning point.
    """
    length, turn = ids.shape[1], turning_point(config)
    # Keys in the cache were turned by the frequencies of short texts.
    turns = turn is not None and length <= turn < length + n_tokens
    chosen = {"do_sample": False, "max_new_tokens": n_tokens, "use_cache": not turns, **settings}
    progress, drawn = chosen.pop("progress", None), chosen.pop("drawn", None)
    return network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(**chosen),
        logits_processor=[drawn] if drawn else None,
        stopping_criteria=[_Report(progress, length, n_tokens)] if progress else None,
    )


def end_ids(network: Any, tokenizer: Any) -> set[int]:
    """The token ids at which a text ends."""
    configured = network.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    return {i for i in (*listed, tokenizer.eos_token_id) if isinstance(i, int)}


def drawn(temperature: float, seed: int) -> LogitsProcessor | None:
    """What draws each next token; None at temperature 0, where the likeliest is taken. InputError
    unless it is a finite number from 0 on, and the seed a whole one from 0 to 2^63 - 1."""
    if not isinstance(temperature, int | float) or not 0 <= temperature < math.inf:
        raise InputError(f"A temperature must be a number from 0 on, not {temperature!r}.")
    if type(seed) is not int or not 0 <= seed < 2**63:
        raise InputError(f"A seed must be a whole number from 0 on, not {seed!r}.")
    return _Drawn(temperature, seed) if temperature else None


class _Drawn(LogitsProcessor):
    """Draws each next token from softmax(logits / temperature), and leaves no other to choose.

    By numbers of its own, so that the same seed gives the same tokens whatever else is drawn in
    this process meanwhile, which transformers' own sampling does not.
    """

    def __init__(self, temperature: float, seed: int) -> None:
        self.temperature = temperature
        self.numbers = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        logits = scores.double().cpu()  # (B, V)
        likeliest = logits.max(dim=-1, keepdim=True).values  # taken off, since T may be tiny
        prob = ((logits - likeliest) / self.temperature).softmax(dim=-1)
        token_ids = torch.multinomial(prob, 1, generator=self.numbers)  # (B, 1)
        return torch.full_like(scores, -torch.inf).scatter(1, token_ids.to(scores.device), 0.0)


class _Report(StoppingCriteria):
    """Tells how far a generation is; the callable may raise to end it."""

    def __init__(self, progress: Callable[[float, str], None], start: int, n_tokens: int) -> None:
        self.progress, self.start, self.n_tokens = progress, start, n_tokens

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        done = input_ids.shape[1] - self.start
        self.progress(done / self.n_tokens, f"token {done} of {self.n_tokens}")
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
