"""How many tokens a model reads, and where longer texts are read in another way."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from strata.errors import InputError, NotEnoughMemory
from strata.model.device import free_bytes

DEFAULT_LIMIT = 2048  # tokens of a prompt, for models without a position limit of their own
_SHOWN = 256  # tokens
_LIMITS = ("max_position_embeddings", "max_target_positions", "max_seq_len")


def position_limit(network: Any, config: Any) -> int | None:
    """The most tokens that the model has positions for; None where it takes any number.

    RoBERTa and its kin count positions from the one after the padding's, so their table has that
    many rows fewer to give.
    """
    own = next(filter(None, (getattr(config, name, None) for name in _LIMITS)), None)
    for name, module in network.named_modules():
        positions = name.endswith("position_embeddings") and isinstance(module, nn.Embedding)
        if positions and module.padding_idx is not None:
            rows = module.num_embeddings - module.padding_idx - 1
            own = min(own or rows, rows)
    return own and int(own)


def require_positions(n_prompt: int, n_more: int, own: int | None, config: Any) -> None:
    """InputError unless the model, whose `position_limit` is `own`, has the positions to read a
    prompt and write more tokens."""
    limit = written_limit(own, config)
    if limit is not None and n_prompt + n_more > limit:
        raise InputError(
            f"The prompt has {n_prompt:,} tokens and the model reads at most {limit:,}, so there "
            f"is no room for {n_more:,} more."
        )


class Sized(Protocol):
    """What the size of a run follows from: `strata.model.Model`."""

    @property
    def n_layers(self) -> int: ...

    @property
    def d_model(self) -> int: ...

    @property
    def d_vocab(self) -> int: ...

    @property
    def device(self) -> torch.device: ...


def require_room(model: Sized, rows: Sequence[Tensor], states_only: bool = False) -> None:
    """NotEnoughMemory if a padded run of these rows of token ids would not fit in what is free on
    the model's device: logits and states in float32, as the model leaves them and as traces keep
    them. `states_only`: of texts that nobody has typed, with logits of the first row alone."""
    longest = max(map(len, rows))
    n_tokens = len(rows) * longest
    n_states = n_tokens * (3 * model.n_layers + 1) * model.d_model
    n_logits = (longest if states_only else n_tokens) * model.d_vocab
    needed, free = 2 * 4 * (n_states + n_logits), free_bytes(model.device)
    if needed > free:
        way = "use a shorter prompt"
        if states_only:
            way = "close other programs, or choose a smaller model"
        raise NotEnoughMemory(
            f"The states and logits of {n_tokens:,} tokens take about {needed / 1e9:.1f} GB of "
            f"memory and {free / 1e9:.1f} GB are free; {way}."
        )


def at_least_one(n_tokens: int) -> int:
    """How many tokens are asked for; InputError unless it is a whole number from 1 on."""
    try:
        number = operator.index(n_tokens)
    except TypeError:
        raise InputError(f"The number of tokens must be whole, not {n_tokens!r}.") from None
    if number < 1:
        raise InputError("Ask for at least one token.")
    return number


def written_limit(own: int | None, config: Any) -> int | None:
    """The most tokens that the model can read and write with a cache; None where any number.

    In transformers 5.24 a whole run of a moshi model reads all of a text, and one with a cache its
    window only (findings/moshi_keeps_to_its_window_only_with_a_cache.sh).
    """
    limits = [own]
    if config.model_type == "moshi":
        limits.append(config.sliding_window)
    return min(filter(None, limits), default=None)


def reach(config: Any) -> int:
    """How long a text must be for every limit of the model's attention to show, as far as a few
    short runs can: the largest window or number of positions that it attends to, up to 256."""
    return max((n for n in _windows(config) if n <= _SHOWN), default=0)


def has_window(config: Any) -> bool:
    """Whether some of the model's attention reaches a fixed number of positions only."""
    return bool(_windows(config))


def _windows(config: Any) -> list[int]:
    """The windows, or numbers of positions, that the model's attention reads, as far as they have
    one."""
    named = [name for name in vars(config) if "window" in name or name == "index_topk"]
    found = [getattr(config, name) for name in named]
    return [n for n in found if type(n) is int and n > 0]


def turning_point(config: Any) -> int | None:
    """The length in tokens above which a model with `longrope` scaling rotates all positions of a
    call by other frequencies; None for other models.

    transformers decides it by the longest text of a batch (`longrope_frequency_update` in its
    `modeling_rope_utils.py`), so texts of both sides must not share one, nor a cache.
    """
    scaling = getattr(config, "rope_parameters", None) or {}
    layers = [each for each in scaling.values() if isinstance(each, dict)]  # or one for each kind
    for each in (scaling, *layers):
        if each.get("rope_type") == "longrope":
            return int(each["original_max_position_embeddings"])
    return None


def together(rows: Sequence[Tensor], config: Any, batch_ok: bool) -> list[list[int]]:
    """Which rows of token ids are run in one batch, by their places."""
    if not batch_ok:
        return [[i] for i in range(len(rows))]
    turn = turning_point(config) or 0
    sides = [[i for i, row in enumerate(rows) if (len(row) > turn) == far] for far in (0, 1)]
    return [side for side in sides if side]
