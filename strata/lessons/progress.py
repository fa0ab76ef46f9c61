"""How far a learner is: guesses with the run they were given for, hints, observations."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from strata.database import Database
from strata.errors import InputError
from strata.lessons.answers import Verdict
from strata.tables import EventRow, FigureRow

LOCAL = "local"  # the one learner of a laptop
LONGEST = 4_000  # characters of an observation


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
    """What else is kept of a step: hints taken, the learner's words, and of the latest run the
    figure, the code, and `run`: model, prompt, and what {names} in the lesson's text stand for."""

    step: int
    hints: int = 0
    observation: str = ""
    figure: str = ""
    code: str = ""
    run: dict[str, Any] = field(default_factory=dict)


class Progress:
    """What learners did, as events, each seen with the learner's own code only.

    Kinds of events and their data: "visit" {}, "guess" (a `Guess` but for its step), "hint"
    {"taken"}, "observation" {"text"}. An event that is told twice is kept once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def commit(self, learner: str, lesson: str, guess: Guess) -> None:
        """Keep a guess; the same attempt at the same run is kept once, the first counts."""
        data = asdict(guess)
        step = data.pop("step")
        self._add(_event(learner, lesson, step, "guess", data, f"{guess.attempt} {guess.job}"))

    def guesses(self, learner: str, lesson: str) -> list[Guess]:
        """All guesses of a learner in a lesson, in the order in which they were made."""
        return [read_guess(e) for e in self._events(learner, lesson) if e.kind == "guess"]

    def note(self, learner: str, lesson: str, step: int, **changes: Any) -> None:
        """Keep what changed of a step's `Note`; without any change, that the step was visited."""
        events = []
        if not changes:
            events.append(_event(learner, lesson, step, "visit", {}))
        if "hints" in changes:
            taken = int(changes["hints"])
            events.append(_event(learner, lesson, step, "hint", {"taken": taken}, str(taken)))
        if "observation" in changes:
            text = str(changes["observation"])
            if len(text) > LONGEST:
                raise InputError(f"An observation has at most {LONGEST:,} characters; shorten it.")
            events.append(_event(learner, lesson, step, "observation", {"text": text}))
        if events:
            self._add(*events)
        latest = ("figure", "code", "run")
        drawn = {name: json.dumps(changes[name]) for name in latest if name in changes}
        if drawn:
            row: dict[str, Any] = {"learner": learner, "lesson": lesson, "step": step}
            row |= dict.fromkeys(latest, "") | drawn
            self._put(FigureRow, [row], tuple(drawn))

    def vote(self, learner: str, vote_id: str, round_: int, guess: Any, again: str) -> None:
        """Keep a ballot, see `strata.classroom.votes`; once, however often `again` is told."""
        self._add(_event(learner, vote_id, round_, "vote", {"guess": guess}, again))

    def notes(self, learner: str, lesson: str) -> dict[int, Note]:
        """The notes of a learner in a lesson, by step; the latest visited last."""
        notes: dict[int, Note] = {}
        for event in self._events(learner, lesson):
            data, note = json.loads(event.data), notes.pop(event.step, Note(event.step))
            if event.kind == "hint":
                note = replace(note, hints=max(note.hints, data["taken"]))
            elif event.kind == "observation":
                note = replace(note, observation=data["text"])
            notes[event.step] = note
        with self._database.session() as session:
            found = select(FigureRow).where(
                FigureRow.learner == learner, FigureRow.lesson == lesson
            )
            for row in session.scalars(found):
                kept = {"figure": row.figure, "code": row.code, "run": row.run}
                latest = {name: json.loads(text) for name, text in kept.items() if text}
                notes[row.step] = replace(notes.get(row.step, Note(row.step)), **latest)
        return notes

    def forget(self, learner: str, lesson: str) -> None:
        """Remove all that is kept of a learner in a lesson."""
        with self._database.session(write=True) as session:
            for table in (EventRow, FigureRow):
                mine = table.learner == learner, table.lesson == lesson
                session.execute(delete(table).where(*mine))

    def _events(self, learner: str, lesson: str) -> Sequence[EventRow]:
        with self._database.session() as session:
            mine = select(EventRow).where(EventRow.learner == learner, EventRow.lesson == lesson)
            events = session.scalars(mine.order_by(EventRow.id)).all()
            session.expunge_all()
            return events

    def _add(self, *events: dict[str, Any]) -> None:
        self._put(EventRow, list(events))

    def _put(
        self,
        table: type[EventRow | FigureRow],
        rows: list[dict[str, Any]],
        changed: tuple[str, ...] = (),
    ) -> None:
        """Add rows; of one that is there already change these columns, without any nothing."""
        with self._database.session(write=True) as session:
            dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
            adding = dialect.insert(table).values(rows)
            if changed:
                columns = [column.name for column in table.__table__.primary_key]
                new = {name: adding.excluded[name] for name in changed}
                session.execute(adding.on_conflict_do_update(index_elements=columns, set_=new))
            else:
                session.execute(adding.on_conflict_do_nothing())


def _event(
    learner: str, lesson: str, step: int, kind: str, data: dict[str, Any], again: str = ""
) -> dict[str, Any]:
    """A row of events. `again` is the same where the same thing is told once more."""
    told = json.dumps([learner, lesson, step, kind, again or secrets.token_hex(8)])
    return {
        "key": hashlib.sha256(told.encode()).hexdigest(),
        "learner": learner,
        "lesson": lesson,
        "step": step,
        "kind": kind,
        "data": json.dumps(data),
        "at": datetime.now(UTC),
    }


def read_guess(event: EventRow) -> Guess:
    """The guess that an event of that kind holds."""
    data = json.loads(event.data)
    return Guess(**{**data, "step": event.step, "verdict": Verdict(**data["verdict"])})
