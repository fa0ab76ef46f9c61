"""What is followed through a model: one token, or how far one is ahead of another.

A model gives a probability to one token at a time. Of a word that its tokenizer cuts up, only the
first token can come next; a learner who follows that one should know it.

A pair (a, b) is the difference of two tokens' logits. The softmax takes the same number from all
logits, so that is the difference of their log-probabilities too: above 0 the model holds a the
likelier, and each nat more makes it about 2.7 times as likely as b. A difference has no probability
and no rank of its own.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from strata.concepts import quick
from strata.display.tokens import digits, display_candidate, display_token, typed_word
from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model

TargetId = int | tuple[int, int]  # a token, or (a, b): a's logit less b's
Against = Literal["mean"] | int | None  # what a token's logit is compared with, see `less`

_MOST = 20.0  # nats: beyond a million times
LONGEST_WORD = 100  # characters


@quick
def target(model: Model, word: str) -> pd.DataFrame:
    """The tokens of a word, after a space (as in running text) and without one: spelling,
    position (0 is the word's first token), token_id, token, shown.

    `spelling` is the text that was cut up, " insect" before "insect"; equal cuts are told once. The
    word may be typed as pages show it, "␣insect".
    InputError for an empty word, or one that this tokenizer does not know.
    """
    bare = typed_word(word) or word
    if not bare:
        raise InputError("Type a word to follow.")
    if len(bare) > LONGEST_WORD:
        raise InputError(f"A target word has at most {LONGEST_WORD} characters.")
    rows: list[tuple[str, int, int, str, str]] = []
    seen: list[list[int]] = []
    for spelling in (f" {bare}", bare):
        token_ids = _token_ids(model, spelling)
        if token_ids not in seen:
            seen.append(token_ids)
            tokens = model.decode(token_ids)
            rows += [
                (spelling, i, token_id, token, display_candidate(token))
                for i, (token_id, token) in enumerate(zip(token_ids, tokens, strict=True))
            ]
    return pd.DataFrame(rows, columns=["spelling", "position", "token_id", "token", "shown"])


def target_token(model: Model, word: str) -> int:
    """The id of a word that is one token, after a space if it is one there. InputError for a word
    of several tokens, and as `target`."""
    frame = target(model, word)
    for spelling in dict.fromkeys(frame["spelling"]):
        token_ids = frame["token_id"][frame["spelling"] == spelling]
        if len(token_ids) == 1:
            return int(token_ids.iloc[0])
    bare = typed_word(word) or word
    raise InputError(
        f"“{display_token(bare)}” is several tokens here, and only one can be followed: choose a "
        "word of one token."
    )


@quick
def named(model: Model, token_id: int) -> pd.DataFrame:
    """One token of the vocabulary by its id, one row: token_id, token, shown. InputError unless
    the id is one of 0 to V - 1."""
    number = check_token(token_id, model.d_vocab)
    [text] = model.decode([number])
    return pd.DataFrame({"token_id": [number], "token": [text], "shown": [display_candidate(text)]})


def check_token(token_id: int, d_vocab: int) -> int:
    """The token id as an int; InputError unless it is one of 0 to V - 1."""
    try:
        number = operator.index(token_id)
    except TypeError:
        raise InputError(f"A token id must be a whole number, not {token_id!r}.") from None
    if not 0 <= number < d_vocab:
        raise InputError(
            f"Token {number:,} does not exist: this model's token ids are 0 to {d_vocab - 1:,}."
        )
    return number


def check_target(target_id: TargetId, d_vocab: int) -> TargetId:
    """The target as an int, or as a tuple of two; InputError unless its ids are of 0 to V - 1, and
    the two of a pair are different."""
    if getattr(target_id, "ndim", None) == 0 or isinstance(target_id, str):
        return check_token(target_id, d_vocab)  # type: ignore[arg-type]
    if not isinstance(target_id, Sequence | np.ndarray):
        return check_token(target_id, d_vocab)
    if len(target_id) != 2:
        raise InputError(f"A target is a token or a pair of tokens, not {len(target_id)} of them.")
    a, b = (check_token(each, d_vocab) for each in target_id)
    if a == b:
        raise InputError("Choose two different words: one less itself is 0 everywhere.")
    return a, b


def check_against(model: Model, target_id: TargetId, against: Against) -> Against:
    """The same; InputError unless it is None, "mean", or, for a target that is no pair, a token
    other than it."""
    if against is None or against == "mean":
        return against
    if isinstance(against, str):
        raise InputError(f'Compare with "mean" or a token\'s id, not {against!r}.')
    if isinstance(target_id, tuple):
        raise InputError("A pair of words is a comparison already: compare it with nothing else.")
    if check_token(against, model.d_vocab) == target_id:
        raise InputError("Compare a token with another one: against itself it has no difference.")
    return int(against)


def less(values: Tensor, target_id: TargetId, against: Against) -> Tensor:
    """(V, ...) -> (...): the target's, less what it is compared with, in float64: the average of
    all V ("mean"), one token's (its id), or nothing (None)."""
    if isinstance(target_id, tuple):  # what an average has goes away
        a, b = target_id
        return values[a].double() - values[b].double()
    own = values[target_id].double()
    if against is None:
        return own
    return own - (values.mean(dim=0, dtype=torch.float64) if against == "mean" else values[against])


def value_of(values: Tensor, target_id: TargetId) -> Tensor:
    """(..., V) logits or log-probabilities -> (...): the target's, of a pair a's less b's."""
    if isinstance(target_id, tuple):
        return values[..., target_id[0]] - values[..., target_id[1]]
    return values[..., target_id]


def rank_of(values: Tensor, target_id: TargetId) -> Any:
    """(V,) logits or log-probabilities -> how many tokens have a larger one than the target; a
    difference has no rank: missing."""
    if isinstance(target_id, tuple):
        return pd.NA
    return int((values > values[target_id]).sum())


def ranks(values: Sequence[Any] | np.ndarray, target_id: TargetId | None) -> Any:
    """Ranks as a column: whole numbers, all of them missing for a difference."""
    if isinstance(target_id, tuple):
        return pd.array([pd.NA] * len(values), dtype="Int64")
    return np.asarray(values, dtype=np.int64)


def leads(rank: pd.Series, value: pd.Series) -> pd.Series:
    """Where a target is ahead: a token that ranks first, of a pair a where it is above b (`value`:
    the difference)."""
    return value > 0 if rank.isna().all() else rank == 0


def times_as_likely(difference: float, a: str, b: str) -> str:
    """What a difference of log-probabilities comes to, in words: which of two words, as they are
    shown, is how many times as likely as the other."""
    ahead, behind = (a, b) if difference > 0 else (b, a)
    if abs(difference) < math.log(1.005):
        return f"“{a}” and “{b}” are equally likely"
    times = math.exp(min(abs(difference), _MOST))
    much = "more than a million" if times > 1e6 else digits(times)
    return f"“{ahead}” is {much} times as likely as “{behind}”"


def note(frame: pd.DataFrame) -> str:
    """Of `target`: one sentence on a word that is several tokens after a space; '' if it is one."""
    spelling = frame["spelling"].iloc[0]
    pieces = frame["shown"][frame["spelling"] == spelling].tolist()
    if len(pieces) == 1:
        return ""
    listed = ", ".join(f"“{piece}”" for piece in pieces)
    return (
        f"“{display_token(spelling)}” is {len(pieces)} tokens here, {listed}, and only the first "
        "of them can come next: choose it knowingly, or another word."
    )


def _token_ids(model: Model, text: str) -> list[int]:
    token_ids, tokenizer = model.texts.word(text), model.tokenizer
    if tokenizer.unk_token_id in token_ids and text.strip() != tokenizer.unk_token:
        raise InputError(
            f"This tokenizer does not know all characters of “{display_token(text.strip())}”, so "
            "it cannot be a target."
        )
    return token_ids
