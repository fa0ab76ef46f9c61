"""Traces built by hand, so that a concept's numbers can be held against NumPy and SciPy."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from strata.model import convert_gguf
from strata.trace import Trace
from strata.weights import sources
from strata.weights.catalogue import resolve

HOSTILE = ("<img src=x onerror=alert(1)>", "\u202egnp", "\x00", "![](http://x)", "", "\ufffd")


def trace(
    layers: int = 4, tokens: int = 6, d_model: int = 16, vocabulary: int = 50, seed: int = 0
) -> Trace:
    """Random states and logits; the tokens are hostile text."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return Trace(
        text="hostile " * tokens,
        tokens=tuple(HOSTILE[t % len(HOSTILE)] for t in range(tokens)),
        token_ids=torch.randint(vocabulary, (tokens,), generator=generator),
        hidden=normal(layers, tokens, d_model) * 3 + 1,
        writes=normal(2, layers - 1, tokens, d_model),
        logits=normal(tokens, vocabulary) * 4,
    )


def with_logits(logits: Tensor, token_ids: Iterable[int] | None = None) -> Trace:
    """A trace whose logits (T, V) are given."""
    ids = torch.tensor(list(token_ids or [0] * len(logits)))
    names = tuple(f"t{i}" for i in ids.tolist())
    states = torch.ones(2, len(logits), 3)
    return Trace("", names, ids, states, torch.zeros(2, 1, len(logits), 3), logits)


def decoder() -> Any:
    """Stands in for a model where only `decode` is called: id 7 is "t7"."""
    return SimpleNamespace(decode=lambda ids, after=(): tuple(f"t{int(i)}" for i in ids))


def bundled_folder() -> str:
    """Where the bundled model's converted weights are, as plain transformers reads them."""
    return str(sources.folder(resolve("smollm2-135m"), convert_gguf))
