"""Lists that a teacher edits by hand: TOML files of equal entries, and words for what is wrong."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from strata.errors import ModelError

Card = TypeVar("Card", bound=BaseModel)
Problem = tuple[str, str]  # the field to point at, and what to do about it

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


def entries(
    path: Path,
    table: str,
    card: type[Card],
    check: Callable[[Card], Problem | None],
    variable: str,
) -> dict[str, Card]:
    """The entries [[table]] of a TOML file by their `id`, in its order.

    `check` finds what the fields' types cannot say; `variable` names another file in the
    environment. Raises ModelError, with file and line, at the first entry that is wrong.
    """
    text = _read(path, table, variable)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, line = _toml_reason(str(error), text)
        raise ModelError(f"{path.name}, line {line}: {reason}.") from error
    found = document.pop(table, [])
    header = rf"\s*\[\[\s*{table}\s*\]\]"
    headers = [n for n, line in enumerate(text.splitlines(), 1) if re.match(header, line)]
    if document or not isinstance(found, list) or len(headers) != len(found):
        line = _line_of_stray(text, header)
        raise ModelError(f"{path.name}, line {line}: a {table} starts with a line [[{table}]].")
    cards: dict[str, Card] = {}
    for line, entry in zip(headers, found, strict=True):
        made = _card(entry, card, check, cards, table)
        if isinstance(made, tuple):
            field, message = made
            raise ModelError(f"{path.name}, line {_line_of(field, text, line)}: {message}.")
        cards[entry["id"]] = made
    if not cards:
        raise ModelError(f"{path.name}, line 1: there is no [[{table}]] in it.")
    return cards


def _card(
    entry: Any,
    card: type[Card],
    check: Callable[[Card], Problem | None],
    earlier: dict[str, Card],
    table: str,
) -> Card | Problem:
    """The entry as a card, or the first thing that is wrong with it."""
    if not isinstance(entry, dict):
        return "", f"a {table} starts with a line [[{table}]]"
    try:
        made = card(**entry)
    except ValidationError as error:
        misspelt_first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        return _explain(misspelt_first[0], card)
    name = entry["id"]
    if not re.match(NAME, name):
        return "id", f"id {name!r} may have letters, digits and . _ - inside, and nothing else"
    if name in earlier:
        return "id", f"the id {name!r} is used twice"
    return check(made) or made


def _read(path: Path, table: str, variable: str) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"The list of {table}s {path} cannot be read ({error.strerror}); put it back, or "
            f"set {variable} to the file to use."
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ModelError(f"{path.name}, line {line}: save the file as UTF-8 text.") from error


def _toml_reason(message: str, text: str) -> tuple[str, int]:
    found = re.search(r" \(at line (\d+), column \d+\)| \(at end of document\)", message)
    if not found:
        return message, 1
    line = int(found[1]) if found[1] else max(1, len(text.rstrip().splitlines()))
    return message[: found.start()], line


def _explain(error: ErrorDetails, card: type[BaseModel]) -> tuple[str, str]:
    field = str(error["loc"][0]) if error["loc"] else ""
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(field, card.model_fields, n=1)
        meant = f"did you mean {close[0]!r}" if close else f"use {', '.join(card.model_fields)}"
        return field, f"{field!r} is not known; {meant}"
    if error["type"] == "missing":
        return "", f"{field!r} is missing"
    if error["type"] == "string_pattern_mismatch":
        return field, f"{field} should look like 'owner/name', not {error['input']!r}"
    return field, f"{field} is {error['input']!r}, but {_lower_first(error['msg'])}"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line_of(field: str, text: str, header: int) -> int:
    """The line of `field` in the entry that starts at `header`, else the header's own."""
    if not field:
        return header
    for number, line in enumerate(text.splitlines()[header:], header + 1):
        if re.match(r"\s*\[", line):
            break
        if re.match(rf"""\s*["']?{re.escape(field)}["']?\s*[=.]""", line):
            return number
    return header


def _line_of_stray(text: str, header: str) -> int:
    """The first line that is neither inside an entry nor a comment."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(header, line):
            inside = True
        elif re.match(r"\s*\[", line) or (line.strip() and not inside and line.strip()[0] != "#"):
            return number
    return 1
