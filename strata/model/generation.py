"""Going on with a text, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria

from strata.model.limits import turning_point


def generated(
    network: Any, config: Any, ids: Tensor, n_tokens: int, settings: dict[str, Any]
) -> Any:
    """What transformers' `generate` gives for a greedy continuation of (1, T) token ids.

    `settings` are those of a `GenerationConfig`, and `progress`, which is called at each token and
    may raise. With a KV cache, except where the text grows over the model's turning point.
    """
    length, turn = ids.shape[1], turning_point(config)
    # Keys in the cache were turned by the frequencies of short texts.
    turns = turn is not None and length <= turn < length + n_tokens
    chosen = {"do_sample": False, "max_new_tokens": n_tokens, "use_cache": not turns, **settings}
    progress = chosen.pop("progress", None)
    return network.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        generation_config=GenerationConfig(**chosen),
        stopping_criteria=[_Report(progress, length, n_tokens)] if progress else None,
    )


class _Report(StoppingCriteria):
    """Tells how far a generation is; the callable may raise to end it."""

    def __init__(self, progress: Callable[[float, str], None], start: int, n_tokens: int) -> None:
        self.progress, self.start, self.n_tokens = progress, start, n_tokens

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        done = input_ids.shape[1] - self.start
        self.progress(done / self.n_tokens, f"token {done} of {self.n_tokens}")
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
