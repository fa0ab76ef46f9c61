"""What each token of a tokenizer stands for, as bytes of UTF-8.

Text is made of bytes, not of the texts of single tokens: a token may hold a part of a character,
and decoded alone it may lose the space that it begins with.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # as SentencePiece's byte fallback names a byte
_BROKEN = re.compile("[\udc80-\udcff]+")  # bytes that are no text, as "surrogateescape" keeps them
# Decoders of the `tokenizers` library by which a token spells the same whatever stands before it,
# but for a space at the very beginning of the text.
_ALIKE = {"ByteLevel", "ByteFallback", "Fuse", "Metaspace", "Replace", "Sequence", "Strip"}
_MOST_IDS = 1 << 31  # what tokenizers take for an id
_MOST_KEPT = 1 << 18  # pieces, where they depend on the token before: 20 MB


class Pieces:
    """The bytes of each token of a transformers tokenizer. Not safe to share between threads."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self._kept: dict[tuple[int, int | None], bytes] = {}

    def piece(self, token_id: int, before: int | None = None) -> bytes:
        """The bytes that a token adds to a running text; none where the id has no token.

        `before` is the token that it follows, which only some tokenizers ask for; None: any.
        """
        before = self.anchor if before is None or self.alike else before
        found = self._kept.get((token_id, before))
        if found is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            found = self._kept[token_id, before] = self._found(token_id, before)
        return found

    @cached_property
    def alike(self) -> bool:
        """Whether a token spells the same after every other token."""
        return bool(self._decoders) and self._decoders <= _ALIKE

    @cached_property
    def anchor(self) -> int | None:
        """A token of plain text, for others to follow; None where the tokenizer has no "a"."""
        token_ids = self.inner("a", add_special_tokens=False, verbose=False)["input_ids"]
        return int(token_ids[-1]) if token_ids else None

    @cached_property
    def lead(self) -> bytes:
        """What the tokenizer puts before every text of its own: a space, or nothing."""
        token_ids = self.inner("a", add_special_tokens=False, verbose=False)["input_ids"]
        before, found, _ = b"".join(map(self.piece, token_ids)).partition(b"a")
        return before if found else b""

    def own(self, pieces: Sequence[bytes]) -> list[bytes]:
        """The pieces of a text without what the tokenizer put before it."""
        own, text = list(pieces), b"".join(pieces)
        added = text.startswith(self.lead) and not (
            self._only_before_words and text.startswith(2 * self.lead)
        )
        if own and added:
            own[0] = own[0].removeprefix(self.lead)
        return own

    @cached_property
    def _only_before_words(self) -> bool:
        """Whether a text that begins with a space gets no other one before it."""
        token_ids = self.inner(" a", add_special_tokens=False, verbose=False)["input_ids"]
        return not b"".join(map(self.piece, token_ids)).startswith(2 * self.lead)

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids of tokens that a continuation leaves out."""
        added = {i for i, token in self._added.items() if token.special}
        return frozenset(added | set(self.inner.all_special_ids))

    @cached_property
    def _added(self) -> dict[int, Any]:
        return dict(self.inner.added_tokens_decoder)

    @cached_property
    def _decoders(self) -> set[str]:
        decoder = getattr(getattr(self.inner, "backend_tokenizer", None), "decoder", None)
        return _types(json.loads(decoder.__getstate__())) if decoder is not None else set()

    @cached_property
    def _alphabet(self) -> dict[str, int]:
        return byte_alphabet() if "ByteLevel" in self._decoders else {}

    def _found(self, token_id: int, before: int | None) -> bytes:
        name = self.inner.convert_ids_to_tokens(token_id) if 0 <= token_id < _MOST_IDS else None
        if name is None:
            return b""
        if self._alphabet:
            if token_id in self._added or not self._alphabet.keys() >= set(name):
                return name.encode()
            return bytes(self._alphabet[character] for character in name)
        if found := _BYTE.fullmatch(name):
            return bytes.fromhex(found[1])
        if before is None:
            return self._decoded([token_id]).encode()
        alone, both = self._decoded([before]), self._decoded([before, token_id])
        return both[len(alone) :].encode()

    def _decoded(self, token_ids: list[int]) -> str:
        text: str = self.inner.decode(token_ids, clean_up_tokenization_spaces=False)
        return text


def spelled(piece: bytes, begun: bytes = b"") -> str:
    """The text of a piece; bytes in it that are none are written out, "a⟨F0 9F⟩".

    `begun`: the first bytes of a character that stand before it. A piece that completes them
    carries the character; before one that gives them up stands "�".
    """
    text = (begun + piece).decode("utf-8", "surrogateescape")
    if begun and piece and _BROKEN.match(text):
        unfinished = not codecs.getincrementaldecoder("utf-8")("replace").decode(begun + piece)
        return ("" if unfinished else "\ufffd") + spelled(piece)
    return _BROKEN.sub(_written_out, text) if piece else ""


def _written_out(broken: re.Match[str]) -> str:
    return f"⟨{broken[0].encode('utf-8', 'surrogateescape').hex(' ').upper()}⟩"


def byte_alphabet() -> dict[str, int]:
    """The byte that each character of a byte-level token's name stands for, as GPT-2 chose them:
    printable ones of Latin-1 for themselves, all others for the characters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {
        chr(0x100 + n): byte for n, byte in enumerate(others)
    }


def _types(decoder: dict[str, Any]) -> set[str]:
    return {decoder["type"]}.union(*map(_types, decoder.get("decoders", ())))
