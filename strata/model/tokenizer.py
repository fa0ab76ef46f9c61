"""Text to token ids and back, with every refusal in one place."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from strata.errors import InputError

_CHARACTERS_PER_TOKEN = 200  # no text within the token limit is longer; spares the tokenizer


class Tokenizer:
    """A model's tokenizer with the longest prompt it may be given, in tokens.

    Safe to share between threads, which fast tokenizers are not: each call waits for the other.
    """

    def __init__(self, inner: Any, limit: int) -> None:
        self.inner = inner
        self.limit = limit
        self._decoded: dict[int, str] = {}
        self._lock = Lock()

    def encode(self, text: str) -> Tensor:
        """(T,) token ids of a prompt; InputError if it is empty, not text, or too long."""
        if not isinstance(text, str):
            raise InputError(f"A prompt must be text, not {type(text).__name__}.")
        if len(text) > _CHARACTERS_PER_TOKEN * self.limit:
            raise InputError(
                f"The prompt has {len(text):,} characters, far over the limit of {self.limit} "
                "tokens; shorten it."
            )
        try:
            token_ids = self._ids(text) if text else []
        except (UnicodeError, TypeError):
            raise InputError("The prompt holds characters that are not valid Unicode.") from None
        if not token_ids:
            raise InputError("The prompt is empty; type at least one word.")
        if len(token_ids) > self.limit:
            raise InputError(
                f"The prompt has {len(token_ids)} tokens and the limit is {self.limit}; shorten it."
            )
        return torch.tensor(token_ids, dtype=torch.int64)  # (T,)

    def word(self, text: str) -> list[int]:
        """The token ids of a word, without a start token, which belongs before a prompt only."""
        try:
            return list(self._ids(text, add_special_tokens=False))
        except (UnicodeError, TypeError):
            raise InputError("The word holds characters that are not valid Unicode.") from None

    def decode(self, token_ids: Tensor | Sequence[int]) -> tuple[str, ...]:
        """The text of each token id alone, unescaped."""
        ids = [int(i) for i in token_ids]
        with self._lock:
            for i in set(ids) - self._decoded.keys():
                self._decoded[i] = self.inner.decode([i])
        return tuple(self._decoded[i] for i in ids)

    def text(self, token_ids: Tensor | Sequence[int], skip_special_tokens: bool = False) -> str:
        """What the token ids spell together; a character that is not complete is "�"."""
        with self._lock:
            return self.inner.decode(token_ids, skip_special_tokens=skip_special_tokens)

    def _ids(self, text: str, **options: bool) -> list[int]:
        with self._lock:
            return self.inner(text, verbose=False, **options)["input_ids"]


def check_room(n_prompt: int, n_tokens: int, config: Any) -> None:
    """InputError unless the model, by its `config`, can read a prompt and that many more tokens."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit and n_prompt + n_tokens > limit:
        raise InputError(
            f"The prompt has {n_prompt} tokens and the model reads at most {limit}, so there is no "
            f"room for {n_tokens} more."
        )
