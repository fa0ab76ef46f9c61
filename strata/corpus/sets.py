"""Sets: prompts with a condition each, in pairs where they can be, to be compared over many.

A set is a table, one row a prompt, as a CSV file in `sets/` or as a learner's own file: `prompt`,
`condition`, and, if one likes, `pair` (rows of one pair have the same text there) and `expected`
(the word that should come next). Lines before the header that begin with # name it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from strata.corpus.passages import decoded
from strata.display.files import without_apostrophe
from strata.display.tokens import display_text
from strata.errors import InputError, StrataError
from strata.weights.catalogue import BESIDE_PACKAGE

MOST_ROWS, MOST_CHARACTERS, MOST_CONDITIONS = 200, 20_000, 6
FEWEST = 4  # prompts or pairs of a condition: fewer have no deviation worth telling
COLUMNS = ("prompt", "condition", "pair", "expected")
_LONGEST_NAME = 60  # characters of a condition, which stands in legends
_SHOWN = 40


@dataclass(frozen=True)
class Row:
    """One prompt of a set. `pair`: the same text in all rows of a pair, "" where there are none;
    `expected`: the word that should come next, "" where nobody says; `line`: where it ends in the
    file."""

    prompt: str
    condition: str
    pair: str = ""
    expected: str = ""
    line: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class PromptSet:
    """Prompts of two or more conditions. `paired`: each pair has one row of every condition, and
    rows stand in pairs, in the order of the conditions."""

    title: str
    rows: tuple[Row, ...]
    question: str = ""

    @property
    def conditions(self) -> tuple[str, ...]:
        """In the order in which the rows first name them."""
        return tuple(dict.fromkeys(row.condition for row in self.rows))

    def in_order(self, some: Sequence[str]) -> tuple[str, ...]:
        """Some of the conditions in that order."""
        return tuple(name for name in self.conditions if name in some)

    @property
    def paired(self) -> bool:
        return bool(self.rows[0].pair)

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs in their order; () where there are none."""
        return tuple(dict.fromkeys(row.pair for row in self.rows if row.pair))

    @property
    def expects(self) -> bool:
        """Whether every prompt says which word should come next."""
        return all(row.expected for row in self.rows)

    def columns(self) -> dict[str, tuple[str, ...]]:
        """What `evidence.values` asks for: the job's prompts, and the view's parameters."""
        columns = {name: tuple(getattr(row, name) for row in self.rows) for name in COLUMNS}
        names = {"prompt": "prompts", "condition": "conditions", "pair": "pairs"}
        return {names.get(n, n): column for n, column in columns.items() if any(column)}

    def as_text(self) -> str:
        """The set as a CSV file with all its columns, which `read` gives back."""
        file = io.StringIO()
        for line in filter(None, (self.title, self.question)):
            file.write(f"# {line}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.prompt, row.condition, row.pair, row.expected) for row in self.rows)
        return file.getvalue()


# -- where they are ---------------------------------------------------------------------------


def folder() -> Path:
    """Where sets are: the folder that STRATA_SETS names, or the one shipped with Strata."""
    return Path(os.environ.get("STRATA_SETS") or BESIDE_PACKAGE / "sets")


def sets() -> dict[str, PromptSet]:
    """All sets that can be read, by the stems of their files, in order of these; a wrong file is
    left out (see `problems`)."""
    found = _found(folder(), _stamp(folder()))
    return {name: each for name, each in found.items() if isinstance(each, PromptSet)}


def problems() -> list[str]:
    """A sentence on each file that cannot be read."""
    found = _found(folder(), _stamp(folder()))
    return [f"{name}: {each}" for name, each in found.items() if isinstance(each, str)]


def _files(where: Path) -> list[Path]:
    return sorted(each for each in where.glob("*") if each.suffix in (".csv", ".tsv"))


def _stamp(where: Path) -> tuple[tuple[str, int, int], ...]:
    stats = ((path.name, path.stat()) for path in _files(where))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)


@lru_cache(maxsize=4)
def _found(where: Path, stamp: tuple[tuple[str, int, int], ...]) -> dict[str, PromptSet | str]:
    found: dict[str, PromptSet | str] = {}
    for path in _files(where):
        title = path.stem.replace("_", " ").capitalize()
        if path.stem in found:
            found[path.name] = "Another file has the same name; give it one of its own."
            continue
        try:
            found[path.stem] = read(path.read_bytes(), title)
        except StrataError as error:
            found[path.name] = str(error)
        except OSError as error:
            found[path.name] = f"It cannot be read ({error.strerror})."
    return found


# -- reading ----------------------------------------------------------------------------------


def read(content: bytes | str, title: str = "Your own set") -> PromptSet:
    """A file as a set: CSV, TSV or separated by semicolons; UTF-8 with or without a byte order
    mark, UTF-16, or the Western code page of Windows. InputError, with the line, for what is wrong.
    """
    text = decoded(content)[0] if isinstance(content, bytes) else content
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # by which lines are counted
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"This file has {len(text):,} characters and a set has at most {MOST_CHARACTERS:,}; "
            "use fewer or shorter prompts."
        )
    named, start = [], 0
    for line in text.splitlines(keepends=True):
        if line.strip() and not line.startswith("#"):
            break
        named += [line.lstrip("#").strip()] if line.startswith("#") else []
        start += len(line)
    header = text[start:].partition("\n")[0]
    separator = max("\t;,", key=header.count)
    n_before = text[:start].count("\n")
    reader = csv.reader(io.StringIO(text[start:], newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    lines: list[int] = []
    try:
        names = next(reader, [])
        order = _columns(names, n_before + 1)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                number = n_before + reader.line_num
                rows.append(_row(cells, order, len(names), number))
                lines.append(number)
                if len(rows) > MOST_ROWS:
                    raise InputError(
                        f"Line {number}: a set has at most {MOST_ROWS} prompts; leave out the rest."
                    )
    except csv.Error:
        raise InputError(
            f"Line {n_before + reader.line_num}: a quotation mark is not closed, or stands in the "
            "middle of a cell; double those that belong to a prompt."
        ) from None
    return _checked(rows, lines, [*named, title][0] or title, " ".join(named[1:]))


def _columns(header: Sequence[str], line: int) -> dict[str, int]:
    names = [cell.strip().strip("'").lower() for cell in header]
    for name in ("prompt", "condition"):
        if name not in names:
            raise InputError(
                f"Line {line}: there is no column “{name}”; the first line names the columns: "
                "prompt, condition and, if you like, pair and expected."
            )
    twice = next((name for name in COLUMNS if names.count(name) > 1), None)
    if twice:
        raise InputError(f"Line {line}: there are two columns “{twice}”; keep one.")
    return {name: names.index(name) for name in COLUMNS if name in names}


def _row(cells: Sequence[str], order: dict[str, int], n_columns: int, line: int) -> Row:
    found = {
        name: without_apostrophe(cells[i]) if i < len(cells) else "" for name, i in order.items()
    }
    for name in ("condition", "pair", "expected"):
        found[name] = " ".join(found.get(name, "").split())
    if len(cells) > n_columns:
        raise InputError(
            f"Line {line}: there are more cells than columns; put a prompt that holds the "
            "separator in quotation marks."
        )
    if not found["prompt"].strip():
        raise InputError(f"Line {line}: there is no prompt; type one or delete the line.")
    if not found["condition"]:
        raise InputError(f"Line {line}: there is no condition; say which group it belongs to.")
    if len(found["condition"]) > _LONGEST_NAME:
        raise InputError(
            f"Line {line}: the condition has {len(found['condition'])} characters and at most "
            f"{_LONGEST_NAME} can be shown; use a shorter name."
        )
    # \ufffd stands for what is no character in the file's code page.
    if any(c in "\0\ufffd" or "\ud800" <= c <= "\udfff" for c in "".join(found.values())):
        raise InputError(
            f"Line {line}: there is a character that cannot be read; retype it, or save the file "
            "as UTF-8."
        )
    return Row(**found, line=line)


def _checked(rows: list[Row], lines: list[int], title: str, question: str) -> PromptSet:
    """The rows as a set, in pairs where they have some; InputError for a set that compares
    nothing."""
    conditions = list(dict.fromkeys(row.condition for row in rows))
    if len(conditions) < 2:
        raise InputError(
            "A set needs prompts of two conditions at least, and this file has "
            f"{'one' if conditions else 'none'}."
        )
    if len(conditions) > MOST_CONDITIONS:
        raise InputError(
            f"A set has at most {MOST_CONDITIONS} conditions, and this file has {len(conditions)}."
        )
    with_pair = [bool(row.pair) for row in rows]
    if any(with_pair) and not all(with_pair):
        line = lines[with_pair.index(False)]
        raise InputError(
            f"Line {line}: the other rows have a pair and this one has none; name it, or leave the "
            "column out."
        )
    places: dict[tuple[str, str], int] = {}
    for row, line in zip(rows, lines, strict=True):
        place = (row.condition, row.pair if row.pair else row.prompt)
        if place in places:
            what = (
                f"the pair “{display_text(row.pair, _SHOWN)}” has a prompt of this condition"
                if row.pair
                else "this prompt stands"
            )
            raise InputError(f"Line {line}: {what} on line {places[place]} already.")
        places[place] = line
    if all(with_pair):
        rows = _in_pairs(rows, lines, conditions, places)
        _refuse_equal_pairs(rows, len(conditions))
    for condition in conditions:
        n = sum(row.condition == condition for row in rows)
        if n < FEWEST:
            raise InputError(
                f"The condition “{display_text(condition, _SHOWN)}” has {n} "
                f"prompt{'s' * (n != 1)}; at least {FEWEST} of each are compared."
            )
    found = PromptSet(title, tuple(rows), question)
    if (n := len(found.as_text())) > MOST_CHARACTERS:  # as it is kept, with all columns
        raise InputError(f"This set has {n:,} characters and at most {MOST_CHARACTERS:,} are kept.")
    return found


def _refuse_equal_pairs(rows: list[Row], n_conditions: int) -> None:
    """InputError where two pairs are the same prompts, which would count as two that are known."""
    known: dict[tuple[str, ...], Row] = {}
    for start in range(0, len(rows), n_conditions):
        pair = rows[start : start + n_conditions]
        first = known.setdefault(tuple(row.prompt for row in pair), pair[0])
        if first is not pair[0]:
            raise InputError(
                f"Line {pair[0].line}: the pair “{display_text(pair[0].pair, _SHOWN)}” has the "
                f"same prompts as the pair “{display_text(first.pair, _SHOWN)}” on line "
                f"{first.line}, and counts once; delete one of them."
            )


def _in_pairs(
    rows: list[Row], lines: list[int], conditions: list[str], places: dict[tuple[str, str], int]
) -> list[Row]:
    by_place = {(row.condition, row.pair): row for row in rows}
    ordered = []
    for pair in dict.fromkeys(row.pair for row in rows):
        for condition in conditions:
            if (condition, pair) not in by_place:
                line = lines[next(i for i, row in enumerate(rows) if row.pair == pair)]
                raise InputError(
                    f"Line {line}: the pair “{display_text(pair, _SHOWN)}” has no prompt of the "
                    f"condition “{display_text(condition, _SHOWN)}”."
                )
            ordered.append(by_place[condition, pair])
    return ordered
