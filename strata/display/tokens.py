"""The one way token text is shown: complete, unambiguous and inert as plain text.

A token can hold anything: line breaks, right-to-left overrides, half a character. Whoever shows
one calls `display_token`, and puts the result where text stays text (never into markup).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import pandas as pd

SPACE, NEWLINE, TAB, EMPTY = "␣", "↵", "⇥", "∅"
_DOT = "·"  # what stood for a space before, in links and in what learners have typed
SHORTENED = "…"
DOTTED_CIRCLE = "◌"
LONGEST = 32  # characters of a shown token
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

_MARKS = {" ": SPACE, "\n": NEWLINE, "\t": TAB}
_AMBIGUOUS = frozenset((SPACE, NEWLINE, TAB, EMPTY, DOTTED_CIRCLE, "⟨"))
_BYTES = re.compile(r"(⟨[0-9A-F]{2}(?: [0-9A-F]{2})*⟩)")  # as `display_bytes` writes them
_BEGUN = re.compile(_BYTES.pattern + "$")
_PLAIN = re.compile(rf"[!-~]{{1,{LONGEST}}}")  # printable ASCII but the space: shown as it is
# Invisible, though neither control nor format characters: fillers, selectors, blank Braille.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\ufffc"
    "\U000e0100-\U000e01ef]"
)


@lru_cache(maxsize=1 << 16)
def display_token(token: str) -> str:
    """A token as one short line of plain text in which every character can be seen.

    Every space is "␣", a line feed "↵", a tab "⇥", the empty token "∅". Control, format and
    bidirectional characters, other kinds of space, invisible characters, lone surrogates,
    private-use and unassigned code points are written as \\u{...}, and so are these marks where a
    token really holds them. A combining mark with no letter before it sits on "◌". U+FFFD stays
    "�". At most 32 characters, cut with "…"; the whole token stays in the frame's `token`.
    """
    return token if _PLAIN.fullmatch(token) else _line(_pieces(token[: LONGEST + 1]))


def _line(pieces: Sequence[str]) -> str:
    """Pieces as one line, cut where it is too long."""
    if sum(map(len, pieces)) <= LONGEST:
        return "".join(pieces) or EMPTY
    shown = ""
    for piece in pieces:  # never half an escape
        if len(shown) + len(piece) >= LONGEST:
            break
        shown += piece
    return shown + SHORTENED


def display_bytes(piece: bytes) -> str:
    """A token that holds only a part of a character, by its bytes: "⟨E2 82⟩"; "∅" for none."""
    return f"⟨{piece.hex(' ').upper()}⟩" if piece else EMPTY


def display_sampled(token: str) -> str:
    """A token of a text, like `display_token`, where its bytes are not at hand: one that is a part
    of a character carries no text of its own."""
    return display_token(token) if token else "⟨part of a character⟩"


def display_candidate(text: str) -> str:
    """What a token would add to a text, like `display_token`; "∅ no token" where the model's head
    has a row that stands for no token. Bytes that are a part of a character stay as `decode` of a
    model writes them, "⟨F0 9F⟩"."""
    if "⟨" not in text:
        return display_token(text) if text else f"{EMPTY} no token"
    pieces: list[str] = []
    for i, part in enumerate(_BYTES.split(text)):
        pieces += part if i % 2 else _pieces(part)
    return _line(pieces)


def is_text(candidate: str) -> bool:
    """Whether what a token would add to a text, as `decode` of a model writes it, is text that can
    be typed: neither a part of a character nor no token at all."""
    return bool(candidate) and "\ufffd" not in candidate and not _BYTES.search(candidate)


def typed_word(text: str) -> str:
    """A word as it was typed for a token: without spaces, and without the mark that pages draw for
    the one before it, or once drew; of the marks of line breaks and tabs alone, these."""
    bare = text.strip()
    if bare and not bare.strip(NEWLINE + TAB):
        return bare.replace(NEWLINE, "\n").replace(TAB, "\t")
    word = bare[1:] if bare.startswith((SPACE, _DOT)) else bare
    return word.strip() or bare


def with_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of tokens with the column shown, in which a page may have put a part of a character
    as its bytes; else it is `token` made visible."""
    return frame if "shown" in frame else frame.assign(shown=frame["token"].map(display_token))


def display_text(text: str, longest: int = 60) -> str:
    """The end of a running text as one line of plain text, for use inside a sentence.

    Like `display_token`, but single spaces between words stay spaces, and what is cut, so that at
    most `longest` characters of the text remain, is cut from its beginning, between two words
    unless a word is longer than half of that.
    """
    tail = text if len(text) <= longest else _from_a_word(text[-longest - 1 :])
    pieces = _pieces(tail)
    for i in range(1, len(tail) - 1):
        if tail[i] == " " and tail[i - 1] != " " != tail[i + 1]:
            pieces[i] = " "
    shown = "".join(pieces) or EMPTY
    return shown if len(text) <= longest else SHORTENED + shown


def _from_a_word(tail: str) -> str:
    """The end of a text less its first character, and less the word that is then cut."""
    begins = next((i for i, sign in enumerate(tail[: len(tail) // 2]) if sign.isspace()), 0)
    return tail[begins + 1 :].lstrip(" ")


def display_lines(text: str) -> str:
    """A text of several lines, such as what a model wrote, each shown like `display_text`."""
    return "\n".join(display_text(line, len(line)) if line else "" for line in text.split("\n"))


def distinct(labels: Iterable[str]) -> list[str]:
    """Labels of which no two are equal, since a chart would merge their rows."""
    seen: Counter[str] = Counter()
    result = []
    for label in labels:
        seen[label] += 1
        result.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return result


def digits(value: float, n: int = 3) -> str:
    """A number for a sentence: `n` digits, or all of those before the point; "1.2 × 10⁻⁷" where it
    is that small, and a true minus."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace("-", "−")
    number, _, power = f"{value:.{n}g}".partition("e")
    times = f" × 10{str(int(power)).translate(_RAISED)}" if power else ""
    return number.replace("-", "−") + times


def display_context(text: str) -> str:
    """`display_text` of what a model has read, whose last character may have only begun, "⟨F0 9F⟩"
    (`run.text_up_to`)."""
    found = _BEGUN.search(text)
    if not found:
        return display_text(text)
    return (display_text(text[: found.start()]) if found.start() else "") + found[0]


def part_of(count: int, total: int, noun: str) -> str:
    """So many of some things, in words: "none of the 5 cells", "3 of 5 cells", "all 5 cells"."""
    if total == 1:
        return f"{count} of 1 {noun}"
    if count == 0:
        return f"none of the {total:,} {noun}s"
    return f"all {total:,} {noun}s" if count == total else f"{count:,} of {total:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """Some things as they stand in a sentence: "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}"


def stretches(layers: Sequence[int]) -> str:
    """Numbers in order as they stand in a sentence, neighbours together: "3 to 5 and 9"."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return listed([str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs])


def display_percent(prob: float, digits: int = 1) -> str:
    """A probability in per cent; one too small for these digits is "<0.1%", never "0.0%"."""
    least = 10.0**-digits  # per cent
    if 0 < 100 * prob < least / 2 * (1 - 1e-9):
        return f"<{least:.{digits}f}%"
    return f"{prob:.{digits}%}"


def percent(prob: float) -> str:
    """A probability in a sentence: whole per cent, but "0.40%", "less than 0.01%" and "more than
    99%" at the ends."""
    if prob < 0.005:
        return display_percent(prob, 2).replace("<", "less than ")
    return "more than 99%" if prob >= 0.995 else f"{prob:.0%}"


def fixed(value: float, digits: int = 3) -> str:
    """With so many digits, a true minus, and none before a zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def _pieces(text: str) -> list[str]:
    """What is shown for each character of a text, in order."""
    pieces, letter = [], False  # letter: does a mark that comes next have something to sit on?
    for character in text:
        if character in _MARKS:
            piece, letter = _MARKS[character], False
        elif not character.isprintable() or character in _AMBIGUOUS or _INVISIBLE.match(character):
            piece, letter = f"\\u{{{ord(character):04X}}}", False
        elif unicodedata.category(character)[0] == "M":
            piece, letter = character if letter else DOTTED_CIRCLE + character, True
        else:
            piece, letter = character, True
        pieces.append(piece)
    return pieces
