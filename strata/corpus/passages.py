"""Texts to measure a model on: the shipped passages, and a longer text cut into such.

The shipped passages were written for Strata. A learner's own text lives in memory only.
"""

from __future__ import annotations

import codecs
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from strata.errors import InputError

if TYPE_CHECKING:
    from strata.model import Model

LONGEST_TEXT = 200_000  # characters of a learner's own text
LARGEST_FILE = 2 * 1024 * 1024  # bytes of the file that it comes in
_PASSAGE = (
    600  # characters of a passage cut from a longer text, about as many as those shipped have
)
_TOKENS_PER_CHARACTER = 8  # more than any tokenizer needs: a shorter text is not too long
_PASSAGES = Path(__file__).parent / "passages.txt"


@cache
def passages() -> dict[str, str]:
    """The shipped passages by id, in their order: neutral prose on varied subjects."""
    entries = _PASSAGES.read_text(encoding="utf-8").strip().split("\n\n")
    parted = (entry.removeprefix("# ").partition("\n") for entry in entries)
    return {name: text for name, _, text in parted}


def decoded(content: bytes) -> tuple[str, str]:
    """A text file's content as text, and a note on what was done to it ("" where nothing was).

    UTF-8 and UTF-16 are recognised; what is neither is read as the Western code page of Windows,
    which has all of Latin-1 and quotes, dashes and the euro besides. Text over 200,000 characters
    is cut. InputError where there is no text, and for a file over 2 MB.
    """
    if len(content) > LARGEST_FILE:
        raise InputError("This file is larger than 2 MB; choose a smaller one.")
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("cp1252", errors="replace")
            notes.append("it is not UTF-8 and was read as Windows text, so accents may be wrong")
    if "\x00" in text:
        raise InputError("This is not a text file; save it as plain text in UTF-8.")
    if not text.strip():
        raise InputError("This file holds no text.")
    if len(text) > LONGEST_TEXT:
        notes.append(f"only the first {LONGEST_TEXT:,} of its {len(text):,} characters are used")
        text = text[:LONGEST_TEXT]
    return text, "; ".join(notes)


def split(text: str, longest: int = _PASSAGE) -> list[str]:
    """A longer text as passages of at most `longest` characters that end with a sentence.

    Only a sentence longer than that is cut, between words where there are any. A new paragraph
    does not begin a new passage: lines of dialogue would make passages of a few tokens.
    """
    result: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n", text):
        for piece in textwrap.wrap(sentence, longest):  # also joins the lines of a paragraph
            if result and len(result[-1]) + 1 + len(piece) <= longest:
                result[-1] += " " + piece
            else:
                result.append(piece)
    return result


def fitting(model: Model, texts: Sequence[str]) -> list[str]:
    """The texts, each halved until it is within the model's limit: some scripts take many tokens.

    InputError where a text is refused for another reason than its length.
    """
    result = []
    for text in texts:
        try:
            model.encode(text)
        except InputError:
            if len(text) <= model.prompt_limit // _TOKENS_PER_CHARACTER:
                raise
            middle = len(text) // 2
            result += fitting(model, [text[:middle], text[middle:]])
        else:
            result.append(text)
    return result
