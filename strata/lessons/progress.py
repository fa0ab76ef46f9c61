"""How far a learner is: guesses with the run they were given for, hints, observations."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import DateTime, Integer, String, Text, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from strata.database import Database
from strata.errors import InputError
from strata.lessons.answers import Grade, Verdict

LOCAL = "local"  # the one learner of a laptop
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is mistaken for another
LONGEST = 4_000  # characters of an observation


class _Base(DeclarativeBase):
    pass


class _Guess(_Base):
    __tablename__ = "guesses"
    __table_args__ = (UniqueConstraint("learner", "lesson", "step", "job", "attempt"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    learner: Mapped[str] = mapped_column(String(32), index=True)
    lesson: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(12))
    step: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    model: Mapped[str] = mapped_column(String(200))
    job: Mapped[str] = mapped_column(String(64))
    guess: Mapped[str] = mapped_column(Text)  # JSON
    answer: Mapped[str] = mapped_column(Text)  # JSON
    grade: Mapped[str] = mapped_column(String(8))
    words: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class _Note(_Base):
    __tablename__ = "notes"

    learner: Mapped[str] = mapped_column(String(32), primary_key=True)
    lesson: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    hints: Mapped[int] = mapped_column(Integer, default=0)
    observation: Mapped[str] = mapped_column(Text, default="")
    figure: Mapped[str] = mapped_column(Text, default="")  # Vega-Lite, with its data
    code: Mapped[str] = mapped_column(Text, default="")
    visited: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True)
class Guess:
    """One commitment: what was guessed, what was measured on the run it was given for (`model`,
    `job`: the run's key), and what was said of it. `version` is the lesson file's."""

    step: int
    attempt: int
    version: str
    model: str
    job: str
    guess: Any
    answer: Any
    verdict: Verdict


@dataclass(frozen=True)
class Note:
    """What else is kept of a step: hints taken, the learner's words, the figure and the code."""

    step: int
    hints: int = 0
    observation: str = ""
    figure: str = ""
    code: str = ""


class Progress:
    """Guesses and notes of all learners, each seen with the learner's own code only."""

    def __init__(self, url_or_path: str | Path) -> None:
        self._database = Database(url_or_path, _Base.metadata, "lessons' progress")

    def commit(self, learner: str, lesson: str, guess: Guess) -> None:
        """Keep a guess; the same attempt at the same run is kept once, the first counts."""
        verdict = guess.verdict
        with self._database.session() as session:
            same = select(_Guess.id).where(
                _Guess.learner == learner,
                _Guess.lesson == lesson,
                _Guess.step == guess.step,
                _Guess.job == guess.job,
                _Guess.attempt == guess.attempt,
            )
            if session.scalar(same) is not None:
                return
            session.add(
                _Guess(
                    learner=learner,
                    lesson=lesson,
                    version=guess.version,
                    step=guess.step,
                    attempt=guess.attempt,
                    model=guess.model,
                    job=guess.job,
                    guess=json.dumps(guess.guess),
                    answer=json.dumps(guess.answer),
                    grade=verdict.grade,
                    words=verdict.words,
                    at=datetime.now(UTC),
                )
            )

    def guesses(self, learner: str, lesson: str) -> list[Guess]:
        """All guesses of a learner in a lesson, in the order in which they were made."""
        with self._database.session() as session:
            found = select(_Guess).where(_Guess.learner == learner, _Guess.lesson == lesson)
            return [_read(row) for row in session.scalars(found.order_by(_Guess.id))]

    def note(self, learner: str, lesson: str, step: int, **changes: Any) -> None:
        """Keep that a step was visited, and what changed of its `Note`."""
        observation = str(changes.get("observation", ""))
        if len(observation) > LONGEST:
            raise InputError(f"An observation has at most {LONGEST:,} characters; shorten it.")
        with self._database.session() as session:
            row = session.get(_Note, (learner, lesson, step))
            if row is None:
                row = _Note(learner=learner, lesson=lesson, step=step, hints=0)
                row.observation = row.figure = row.code = ""
                session.add(row)
            row.visited = datetime.now(UTC)
            for name, value in changes.items():
                setattr(row, name, value)

    def notes(self, learner: str, lesson: str) -> dict[int, Note]:
        """The notes of a learner in a lesson, by step; the latest visited last."""
        with self._database.session() as session:
            found = select(_Note).where(_Note.learner == learner, _Note.lesson == lesson)
            return {
                row.step: Note(row.step, row.hints, row.observation, row.figure, row.code)
                for row in session.scalars(found.order_by(_Note.visited))
            }

    def forget(self, learner: str, lesson: str) -> None:
        """Remove all that is kept of a learner in a lesson."""
        with self._database.session() as session:
            for table in (_Guess, _Note):
                for row in session.scalars(
                    select(table).where(table.learner == learner, table.lesson == lesson)
                ):
                    session.delete(row)

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        self._database.close()


def new_code() -> str:
    """A resume code: 12 letters and digits in three groups, 59 bits, not to be guessed."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


def read_code(typed: str) -> str | None:
    """A resume code as typed, in its form; None if it cannot be one."""
    letters = "".join(c for c in typed.lower() if c.isalnum())
    if len(letters) != 12 or not set(letters) <= set(LETTERS):
        return None
    return "-".join(letters[i : i + 4] for i in (0, 4, 8))


def _read(row: _Guess) -> Guess:
    grade: Grade = row.grade  # type: ignore[assignment]
    return Guess(
        row.step,
        row.attempt,
        row.version,
        row.model,
        row.job,
        json.loads(row.guess),
        json.loads(row.answer),
        Verdict(grade, row.words),
    )
