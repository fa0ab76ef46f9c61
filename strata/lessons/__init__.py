"""Lessons as data: a TOML file in `lessons/` is a lesson, found by its existing.

A step has a few sentences, perhaps a question to commit to before looking. What is right is
measured on the learner's own run (`strata.lessons.answers`), so a lesson stays true for any model.

Imports the nouns, `display`, `storage`, `corpus`, `concepts` and `engine`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from cachetools import TTLCache, cached
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from strata.display.terms import TERMS
from strata.errors import StrataError

FOLDER = Path(__file__).resolve().parents[2] / "lessons"
GLOSSARY = "glossary.toml"

MOST_POINTS = 9  # at which a curve is drawn by hand
_FRESH = 0.5  # seconds for which a folder is not looked at again: a page asks several times a run

Value = bool | int | float | str
Kind = Literal[
    "choice", "number", "token", "position", "layer", "block", "band", "ordering", "curve"
]


class LessonError(StrataError):
    """A lesson file is wrong; the message names file, step and reason."""


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Option(_Data):
    """One option of a choice, or one thing to put in order.

    Of a choice it is right where the measured value equals `value`, or lies from `low` up to
    `high`; `why` is what the learner is told after choosing it. Of an ordering, `given` are the
    parameters with which the measure gives its size.
    """

    text: str = Field(min_length=1)
    value: Value | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""
    given: dict[str, Value] = {}


class Question(_Data):
    """A prediction to commit to.

    The answer is what `measure` ("stem.function", one of a concept's measures) makes of `view`'s
    table on the learner's own run; `params` go to the view, `given` to the measure. In both the
    words "$last" ("$last-1": the one before), "$L" and "$half" stand for the last position, the
    last layer and the middle one, and in `params` "$top" for the id of the likeliest next token.
    Where the table of the view `needs` has no rows on this run, or the model refuses it, there is
    nothing to measure: `lacks` is said instead of the question, and no figure waits.
    `answer` is written only for facts about the world. When the answer is told, `why` follows, and
    before it `right`, `close` or `wrong`, as the guess was; all may name {guess} and {answer}.
    """

    kind: Kind
    ask: str = Field(min_length=1)
    view: str = ""
    params: dict[str, Value | list[Value]] = {}
    measure: str = ""
    given: dict[str, Value] = {}
    answer: Value | None = None
    needs: str = ""
    lacks: str = ""
    options: tuple[Option, ...] = Field((), strict=False)
    tolerance: float = Field(0.0, ge=0)  # of a curve: a share of the real one's range
    near: float = Field(0.0, ge=0)  # beyond the tolerance, up to here, is a near miss
    low: float = 0.0  # where the answer field begins and ends; a layer's or block's is the model's
    high: float = 1.0
    step: float | None = None
    points: int = Field(5, ge=3, le=MOST_POINTS)  # of a curve: layers that it is drawn at
    without: tuple[int | str, ...] = Field((), strict=False)  # positions that can be no answer
    unit: str = ""
    figure: str = ""  # key of the figure on which the guess is drawn
    # Of that figure, on which a single guess lies; "count": it is how many of the first marks.
    axis: Literal["x", "y", "count"] = "x"
    right: str = ""
    close: str = ""
    wrong: str = ""
    why: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Question:
        if (self.answer is None) == (not self.measure):
            raise ValueError("a question needs a measure, or an answer that is a fact of the world")
        if self.measure and not self.view:
            raise ValueError("a measure needs the view whose table it reads")
        if bool(self.needs) != bool(self.lacks):
            raise ValueError("what a question needs goes with what is said where it lacks that")
        if (len(self.options) > 1) != (self.kind in ("choice", "ordering")):
            raise ValueError("choice and ordering need two options or more, other kinds have none")
        if self.kind == "choice" and any(not option.why for option in self.options):
            raise ValueError("every option needs its 'why', the right one too")
        if self.without and self.kind != "position":
            raise ValueError("'without' is for questions about a position")
        if self.kind == "number" and self.low >= self.high:
            raise ValueError("'low' must be below 'high'")
        return self


class Step(_Data):
    """One idea. `settings` are the page's controls by key, set with the prompt at one click; with
    `hide` the page waits for the prediction."""

    title: str = Field(min_length=1)
    text: str = Field(min_length=1)
    page: str = ""  # default: the lesson's
    prompt: str = ""
    settings: dict[str, Value | list[int]] = {}
    hide: bool = False
    readings: bool = True  # False where the page's own words would answer a later step
    hints: tuple[str, ...] = Field((), max_length=3, strict=False)
    observe: str = ""
    trap: bool = False
    challenge: bool = False
    question: Question | None = None

    @model_validator(mode="after")
    def _hides_for_a_reason(self) -> Step:
        if self.hide and self.question is None:
            raise ValueError("'hide' waits for a prediction, so the step needs a question")
        return self


class Lesson(_Data):
    """A lesson: `stem` is its file's name, `version` changes with the file's content."""

    stem: str
    version: str
    title: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    order: int = 100
    minutes: int = Field(ge=1, le=60)
    prerequisites: tuple[str, ...] = Field((), strict=False)
    page: str = Field(min_length=1)
    steps: tuple[Step, ...] = Field(alias="step", min_length=1, strict=False)

    def page_of(self, number: int) -> str:
        """The page of step `number`, 0 the first."""
        return self.steps[number].page or self.page


def folder() -> Path:
    """Where lessons are: the folder that STRATA_LESSONS names, or the one shipped with Strata."""
    return Path(os.environ.get("STRATA_LESSONS") or FOLDER)


def files() -> list[Path]:
    """All lesson files there are."""
    return [path for path, _ in _found()]


@cached(TTLCache(4, _FRESH), lock=Lock(), key=folder)
def _found() -> tuple[tuple[Path, int], ...]:
    """All lesson files with the time of their last change."""
    at = folder()
    if not at.is_dir():
        return ()
    with os.scandir(at) as entries:
        return tuple(
            sorted(
                (Path(entry), entry.stat().st_mtime_ns)
                for entry in entries
                if entry.name.endswith(".toml") and entry.name != GLOSSARY
            )
        )


def read(path: Path) -> Lesson:
    """One lesson. Raises LessonError that names the file, the step and the first reason."""
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise LessonError(f"{path.name} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise LessonError(f"{path.name}: save the file as UTF-8 text.") from error
    except tomllib.TOMLDecodeError as error:
        raise LessonError(f"{path.name}: {error}.") from error
    if not re.fullmatch(r"[a-z0-9_]+", path.stem):
        raise LessonError(f"{path.name}: a file's name has small letters, digits and _ only.")
    version = hashlib.sha256(content).hexdigest()[:12]
    try:
        return Lesson.model_validate({**document, "stem": path.stem, "version": version})
    except ValidationError as error:
        raise LessonError(f"{path.name}, {_in_words(error)}.") from error


def lessons() -> dict[str, Lesson]:
    """All lessons that can be read, by stem, in teaching order; a wrong file is left out (see
    `problems`)."""
    return _all(_found())[0]


def problems() -> list[str]:
    """A sentence for each lesson file that cannot be read."""
    return _all(_found())[1]


@lru_cache(maxsize=4)
def _all(found: tuple[tuple[Path, int], ...]) -> tuple[dict[str, Lesson], list[str]]:
    read_, wrong = [], []
    for path, _ in found:
        try:
            read_.append(read(path))
        except LessonError as error:
            wrong.append(str(error))
    ordered = sorted(read_, key=lambda lesson: (lesson.order, lesson.stem))
    return {lesson.stem: lesson for lesson in ordered}, wrong


@cached(TTLCache(4, _FRESH), lock=Lock(), key=folder)
def glossary() -> dict[str, str]:
    """Terms in small letters and what they mean: those of the pages and of `glossary.toml`, and
    those of the file of this name beside lessons of one's own. LessonError if one is unreadable."""
    known = dict(TERMS)
    for path in dict.fromkeys((FOLDER / GLOSSARY, folder() / GLOSSARY)):
        if path.exists():
            try:
                known |= _terms(path, path.stat().st_mtime_ns)
            except (OSError, tomllib.TOMLDecodeError) as error:
                raise LessonError(f"{path.name} cannot be read ({error}).") from error
    return known


@lru_cache(maxsize=4)
def _terms(path: Path, changed: int) -> dict[str, str]:
    return {term.lower(): said for term, said in tomllib.loads(path.read_text("utf-8")).items()}


def filled(text: str, facts: Mapping[str, Any]) -> str:
    """A text with {name} replaced by what the run says of it; unknown names stay as they are."""
    return re.sub(r"\{(\w+)\}", lambda m: str(facts.get(m[1], m[0])), text)


def without_terms(text: str) -> str:
    """Lesson text without the marks of terms."""
    return re.sub(r"\[\[([^\]|]+)(?:\|([^\]]+))?\]\]", lambda m: m[2] or m[1], text).strip()


def with_dollars(text: str) -> str:
    """Markdown in which a dollar sign is one, and begins no formula."""
    parts = re.split(r"(`[^`]*`)", text)  # in code a backslash would be seen
    return "".join(part if part[:1] == "`" else part.replace("$", r"\$") for part in parts)


def plain(text: str) -> str:
    """Lesson text as it is read where nothing is drawn: without the marks of terms and of code."""
    return without_terms(text).replace("`", "")


def _in_words(error: ValidationError) -> str:
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    place = list(first["loc"])
    where = ""
    if len(place) > 1 and place[0] == "step":
        where = f"step {int(place[1]) + 1}"
        place = place[2:]
    field = ".".join(str(part + 1 if isinstance(part, int) else part) for part in place)
    reasons = {"extra_forbidden": "is not known", "missing": "is missing"}
    reason = reasons.get(first["type"])
    if reason is None:
        message = first["msg"].removeprefix("Value error, ")
        reason = message[0].lower() + message[1:]
        said = f"{field}: {reason}" if field else reason
    else:
        said = f"{field!r} {reason}"
    return f"{where or 'its beginning'}: {said}"
