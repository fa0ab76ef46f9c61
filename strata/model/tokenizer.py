"""Text to token ids and back, with every refusal in one place."""

from __future__ import annotations

import codecs
import json
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import Any

import tokenizers
import torch
from torch import Tensor

from strata.errors import InputError, of_a_library
from strata.model.pieces import Pieces, spelled

_CHARACTERS_PER_TOKEN = 200  # no text within the token limit is longer; spares the tokenizer
_PROBE = 'The cat sat on 12 mats,\n  and "ran".'  # read back when a model is loaded
_CHARACTER = 4  # bytes of the longest character, each a token at worst
_GPT2 = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}

Ids = Tensor | Sequence[int]


class Tokenizer:
    """A model's tokenizer with the longest prompt it may be given, in tokens, and the number of
    rows of its embedding (None: as many as may be asked for).

    Safe to share between threads, which fast tokenizers are not: each call waits for the other.
    """

    def __init__(self, inner: Any, limit: int, n_rows: int | None = None) -> None:
        self.inner = inner
        self.limit = limit
        self.n_rows = n_rows
        self._pieces = Pieces(inner)
        self._lock = RLock()

    def encode(self, text: str) -> Tensor:
        """(T,) token ids of a prompt; InputError if it is empty, not text, too long, or holds a
        token that the model has no row for."""
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
        self._check_rows(token_ids, "The prompt")
        return torch.tensor(token_ids, dtype=torch.int64)  # (T,)

    def word(self, text: str) -> list[int]:
        """The token ids of a word where it stands in a running text: without a start token, and
        without the space that some tokenizers put before every text of its own. InputError as
        for a prompt."""
        try:
            token_ids = self._ids(text, add_special_tokens=False)
            with self._lock:
                has_lead = bool(self._pieces.lead)
            if has_lead:  # so something has to stand before the word, and a line break joins none
                line = self._ids("\n", add_special_tokens=False)
                both = self._ids(f"\n{text}", add_special_tokens=False)
                if both[: len(line)] == line:
                    token_ids = both[len(line) :]
        except (UnicodeError, TypeError):
            raise InputError("The word holds characters that are not valid Unicode.") from None
        self._check_rows(token_ids, "The word")
        return token_ids

    # -- and back -----------------------------------------------------------------------------

    def pieces(self, token_ids: Ids) -> list[bytes]:
        """The bytes of UTF-8 that each token of a prompt stands for, where it stands.

        A space that the tokenizer put before the text by itself is left out. Of an id that no
        token has there are none.
        """
        ids = [int(i) for i in token_ids]
        befores = [None, *ids]
        with self._lock:
            found = [self._pieces.piece(i, b) for i, b in zip(ids, befores, strict=False)]
            first = len(self.around(ids)[0])
            return found[:first] + self._pieces.own(found[first:])

    def tokens(self, token_ids: Ids) -> tuple[str, ...]:
        """The text of each token of a prompt, where it stands; joined they give back the prompt.

        The last token of a character that is spread over several carries it, the others are "".
        """
        decoder, pieces = codecs.getincrementaldecoder("utf-8")("replace"), self.pieces(token_ids)
        texts = [decoder.decode(piece) for piece in pieces]
        if texts:
            texts[-1] += decoder.decode(b"", final=True)
        return tuple(texts)

    def begun(self, token_ids: Ids) -> list[bytes]:
        """The bytes at the end of each token of a prompt that belong to a character which a later
        one completes: all of it, if its text in `tokens` is ""."""
        decoder, found = codecs.getincrementaldecoder("utf-8")("replace"), []
        for piece in self.pieces(token_ids):
            decoder.decode(piece)
            pending = decoder.getstate()[0]
            found.append(piece[-len(pending) :] if pending else b"")
        return found

    def decode(self, token_ids: Ids, after: Ids = ()) -> tuple[str, ...]:
        """The text that each token id would add to a prompt that was read as far as `after`; to
        a running text if that is empty.

        A part of a character is no text, and stands there as its bytes, "⟨F0 9F⟩", unless it
        completes the one that `after` ends in; where that one is given up, "�" comes first. An id
        that no token has adds nothing, "".
        """
        ids = [int(i) for i in token_ids]
        before, begun = self.context(after)
        with self._lock:
            texts = {i: spelled(self._pieces.piece(i, before), begun) for i in set(ids)}
        return tuple(texts[i] for i in ids)

    def context(self, token_ids: Ids) -> tuple[int | None, bytes]:
        """All of a prompt that matters for what an id adds to it: the last token, where it does,
        and the bytes of a character that is begun and not complete."""
        last = [int(i) for i in token_ids[-_CHARACTER:]]
        if not last:
            return None, b""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        with self._lock:
            for token_id in last:  # may begin inside of a character: that is forgotten by the end
                decoder.decode(self._pieces.piece(token_id))
            return None if self._pieces.alike else last[-1], decoder.getstate()[0]

    def text(self, token_ids: Ids) -> str:
        """What the token ids of a prompt's beginning spell; a character that is not complete is
        "�"."""
        return b"".join(self.pieces(token_ids)).decode("utf-8", "replace")

    def continuation(self, token_ids: Ids, after: Ids) -> str:
        """The text that token ids add to the prompt `after`, special tokens left out."""
        before, begun = self.context(after)
        added = [begun]
        with self._lock:
            for token_id in map(int, token_ids):
                if token_id not in self._pieces.special:
                    added.append(self._pieces.piece(token_id, before))
                    before = token_id
        return b"".join(added).decode("utf-8", "replace")

    # -- what the tokenizer does by itself ----------------------------------------------------

    @cached_property
    def added(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The token ids that the tokenizer puts before and after every text."""
        bare, full = self._ids("a", add_special_tokens=False), self._ids("a")
        for start in range(len(full) - len(bare) + 1):
            if bare and full[start : start + len(bare)] == bare:
                return tuple(full[:start]), tuple(full[start + len(bare) :])
        return (), ()

    def around(self, token_ids: Ids) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Which of a prompt's ids, at its beginning and its end, the tokenizer added."""
        ids = tuple(int(i) for i in token_ids)
        before, after = self.added
        first = len(before) if ids[: len(before)] == before else 0
        last = len(ids) - (len(after) if after and ids[first:][-len(after) :] == after else 0)
        return ids[:first], ids[last:]

    def read_back(self, text: str, token_ids: Ids) -> int:
        """How far the tokens of a prompt are from giving it back: in characters, between their
        texts joined and the prompt, and in ids, when that text is read anew. 0: they do.

        The tokens that the tokenizer adds are left out, and where it normalises texts the prompt
        is taken as it does. A prompt that begins with a space may lose it to a tokenizer that puts
        one before every text.
        """
        ids = [int(i) for i in token_ids]
        before, after = self.around(ids)
        told = "".join(self.tokens(ids)[len(before) : len(ids) - len(after)])
        with self._lock:
            lead = self._pieces.lead.decode()
        wanted = {text, self._normalised(text)}
        wanted |= {each.removeprefix(lead) for each in wanted}
        characters = min(_apart(told, each) for each in wanted)
        return characters + _apart(ids, self._ids(told))

    def probe(self) -> int:
        """`read_back` of a short text of plain words, digits, signs and blanks."""
        try:
            return self.read_back(_PROBE, self._ids(_PROBE))
        except InputError:
            return len(_PROBE)

    # -- what older versions did --------------------------------------------------------------

    def moved_from(self, text: str, token_ids: Ids) -> int | None:
        """The first position of a prompt at which GPT-2's rule of splitting gives another token;
        None if it gives the same ones, or the tokenizer is of another kind.

        That rule was Strata's for every .gguf file of this kind before it read the file's own, so
        positions in links of that time may mean other tokens.
        """
        ids = [int(i) for i in token_ids]
        with self._lock:
            before = self._by_gpt2s_rule.encode(text).ids if self._by_gpt2s_rule else ids
        if before == ids:
            return None
        same = (a == b for a, b in zip(before, ids, strict=False))
        return next((i for i, alike in enumerate(same) if not alike), min(len(before), len(ids)))

    @cached_property
    def _by_gpt2s_rule(self) -> tokenizers.Tokenizer | None:
        backend = json.loads(self.inner.backend_tokenizer.to_str())
        if '"ByteLevel"' not in json.dumps(backend["pre_tokenizer"]):
            return None
        return tokenizers.Tokenizer.from_str(json.dumps({**backend, "pre_tokenizer": _GPT2}))

    # -- inside -------------------------------------------------------------------------------

    def _normalised(self, text: str) -> str:
        with self._lock:
            backend = getattr(self.inner, "backend_tokenizer", None)
            normaliser = getattr(backend, "normalizer", None)
            image = text if normaliser is None else str(normaliser.normalize_str(text))
        return image.replace("▁", " ")  # which is how SentencePiece writes a space

    def _check_rows(self, token_ids: Sequence[int], what: str) -> None:
        if self.n_rows is None:
            return
        lost = next((i for i in token_ids if i >= self.n_rows), None)
        if lost is not None:
            raise InputError(
                f"{what} holds the token “{_visible(self.decode([lost])[0])}” (id {lost:,}), for "
                f"which this model has no row: its ids are 0 to {self.n_rows - 1:,}; leave it out."
            )

    def _ids(self, text: str, **options: bool) -> list[int]:
        try:
            with self._lock:
                return list(self.inner(text, verbose=False, **options)["input_ids"])
        except (UnicodeError, TypeError):
            raise
        except BaseException as error:
            if not of_a_library(error):
                raise
            raise InputError(
                "This model's tokenizer fails on this text; it may have no token for some of its "
                "characters."
            ) from error


def _apart(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many entries of the longer one lie between what the two begin and end with alike."""
    if len(one) > len(other):
        one, other = other, one
    begin = 0
    while begin < len(one) and one[begin] == other[begin]:
        begin += 1
    end = 0
    while end < len(one) - begin and one[-1 - end] == other[-1 - end]:
        end += 1
    return len(other) - begin - end


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() and unicodedata.category(c) != "Zs" else "␣" for c in text)
