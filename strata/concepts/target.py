"""A target word as the tokens that a model can be asked about: often one, sometimes several.

A model gives a probability to one token at a time. Of a word that its tokenizer cuts up, only the
first token can come next; a learner who follows that one should know it.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import pandas as pd

from strata.concepts import quick
from strata.display.tokens import display_candidate, display_token, typed_word
from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model

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
