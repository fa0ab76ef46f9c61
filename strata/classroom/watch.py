"""What the teacher sees of a class: tables made from its members' events."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from strata.classroom.reader import EVENTS as EVENTS
from strata.classroom.reader import reader
from strata.lessons import Question, lessons
from strata.lessons.answers import answer_in_words, guess_in_words
from strata.storage.database import Database


def events(database: Database, class_id: str) -> pd.DataFrame:
    """All that the members of a class did, in order: member, name, lesson, step (from 1), kind,
    data (a dict), at (UTC). Members who did nothing yet have one row, of the kind "joined".

    Reads only what is new since it was asked before.
    """
    return reader(database, class_id).read()


def people(done: pd.DataFrame, now: datetime | None = None) -> pd.DataFrame:
    """Where everyone is: name, lesson, step, answers (questions answered), hints, minutes (since
    they did something); who was active last comes first."""
    now = now or datetime.now(UTC)
    last = done.drop_duplicates("member", keep="last").set_index("member")
    guesses = done[done["kind"] == "guess"].drop_duplicates(["member", "lesson", "step"])
    counts = {"answers": guesses, "hints": done[done["kind"] == "hint"]}
    frame = last[["name", "lesson", "step"]].assign(
        **{
            name: rows["member"].value_counts().reindex(last.index, fill_value=0)
            for name, rows in counts.items()
        },
        minutes=[max(0.0, (now - at).total_seconds() / 60) for at in last["at"]],
    )
    return frame.sort_values("minutes", ignore_index=True)


def funnel(done: pd.DataFrame, lesson: str, n_steps: int) -> pd.DataFrame:
    """How many got how far in a lesson: step (1 to n_steps), reached (learners who were at that
    step or a later one), answered, hints (learners who took one)."""
    mine = done[done["lesson"] == lesson]
    furthest = mine.groupby("member")["step"].max()
    once = mine.drop_duplicates(["member", "step", "kind"])
    learners = once.groupby(["step", "kind"]).size().to_dict()
    rows = []
    for step in range(1, n_steps + 1):
        answered, hints = (learners.get((step, kind), 0) for kind in ("guess", "hint"))
        rows.append((step, int((furthest >= step).sum()), answered, hints))
    return pd.DataFrame(rows, columns=["step", "reached", "answered", "hints"])


def gradebook(done: pd.DataFrame) -> pd.DataFrame:
    """A row for each learner and question: name, member, lesson, version, step, model, first
    (guess), first_grade, revision (given before the answer was told), revision_grade, answer (as
    measured on the learner's own run), at (of the first). Guesses and answers are in words, a
    position by its token. A question asked of several runs has a row for each."""
    columns = [
        *("name", "member", "lesson", "version", "step", "model"),
        *("first", "first_grade", "revision", "revision_grade", "answer", "at"),
    ]
    guesses = done[done["kind"] == "guess"]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    told = ("member", "name", "lesson", "step", "data", "at")
    for member, name, lesson, step, data, at in zip(*(guesses[c] for c in told), strict=True):
        said, grade = _said(lesson, step, data), data["verdict"]["grade"]
        key = member, lesson, step, data["job"], data["version"]
        kept = found.get(key)
        if kept is None:
            of = (name, member, lesson, data["version"], step, data["model"])
            when = at.isoformat(timespec="seconds")
            first = (*of, said, grade, "", "", _told(lesson, step, data), when)
            found[key] = dict(zip(columns, first, strict=True))
        else:
            kept |= {"revision": said, "revision_grade": grade}
    return pd.DataFrame(list(found.values()), columns=columns)


def graded(book: pd.DataFrame) -> pd.DataFrame:
    """The rows of a gradebook that are graded, those of a question whose answer is known; of one
    that was asked of several runs the first. Also of who has only voted in the second round, whose
    first grade is ""."""
    known = book[(book["first_grade"] != "open") & (book["revision_grade"] != "open")]
    return known.sort_values("at", kind="stable").drop_duplicates(["member", "lesson", "step"])


def points(book: pd.DataFrame) -> pd.DataFrame:
    """A row for each learner with questions that are `graded`: name, member, questions, right at
    first, right in the end (after the revision, if there is one)."""
    mine = graded(book)
    last = mine["revision_grade"].where(mine["revision_grade"] != "", mine["first_grade"])
    rights = mine[["name", "member"]].assign(
        questions=1, first=mine["first_grade"] == "right", last=last == "right"
    )
    summed = rights.groupby(["name", "member"], as_index=False).sum()
    return summed.rename(columns={"first": "right at first", "last": "right in the end"})


def answers(done: pd.DataFrame) -> pd.DataFrame:
    """The first answers to each question, grouped: lesson, step, guess, said (in words), grade,
    learners; the questions that most got wrong first. Of the guesses numbers are as typed, choices
    are numbers of options."""
    first = done[done["kind"] == "guess"].drop_duplicates(["member", "lesson", "step"])
    if first.empty:
        return pd.DataFrame(
            columns=["lesson", "step", "guess", "said", "grade", "learners", "wrong"]
        )
    book = first[["lesson", "step"]].assign(
        guess=[_words(data["guess"]) for data in first["data"]],
        said=[
            _said(*each)
            for each in zip(*(first[c] for c in ("lesson", "step", "data")), strict=True)
        ],
        grade=[data["verdict"]["grade"] for data in first["data"]],
    )
    groups = book.groupby(["lesson", "step", "guess", "said", "grade"], sort=False)
    frame = groups.size().reset_index(name="learners")  # each learner once, see above
    wrong = book.assign(wrong=book["grade"] == "wrong").groupby(["lesson", "step"])["wrong"]
    frame = frame.join(wrong.sum(), on=["lesson", "step"])
    order = ["wrong", "lesson", "step", "learners"]
    return frame.sort_values(order, ascending=[False, True, True, False], ignore_index=True)


def answered(done: pd.DataFrame, lesson: str, step: int, until: datetime | None = None) -> int:
    """How many learners have answered a lesson's question (its step's number, from 1), or had the
    answer shown, before a time."""
    told = done[(done["lesson"] == lesson) & (done["step"] == step)]
    told = told[told["kind"].isin(("guess", "look"))]
    if until is not None:
        told = told[told["at"] < until]
    return int(told["member"].nunique())


def observations(done: pd.DataFrame) -> pd.DataFrame:
    """The latest words of each learner at each step: name, lesson, step, text, at."""
    said = done[done["kind"] == "observation"]
    said = said.drop_duplicates(["member", "lesson", "step"], keep="last")
    text = [str(data["text"]).strip() for data in said["data"]]
    frame = said[["name", "lesson", "step", "at"]].assign(text=text)
    return frame[[bool(words) for words in text]].reset_index(drop=True)


def _said(lesson: str, step: int, data: dict[str, Any]) -> str:
    """A guess in words, as its learner reads it; as it was given where that cannot be told."""
    question = _question(lesson, step, data["version"])
    if not data.get("said") and question is not None:
        with suppress(TypeError, ValueError, LookupError):  # it was another question then
            return guess_in_words(question, data["guess"])
    return data.get("said") or _words(data["guess"])


def _told(lesson: str, step: int, data: dict[str, Any]) -> str:
    """The answer in words; "" where the run had none."""
    question = _question(lesson, step, data["version"])
    if data["answer"] is None:
        return ""
    if not data.get("told") and question is not None:
        with suppress(TypeError, ValueError, LookupError):
            return answer_in_words(question, data["answer"])
    return data.get("told") or _words(data["answer"])


def _question(lesson: str, step: int, version: str) -> Question | None:
    """The question of a lesson's step, 1 the first, if it is still what it was in that version."""
    found = lessons().get(lesson)
    if found is None or found.version != version or not 0 < step <= len(found.steps):
        return None
    return found.steps[step - 1].question


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
