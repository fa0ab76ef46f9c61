"""How far a learner is: guesses with the run they were given for, hints, observations."""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from strata.errors import InputError
from strata.lessons.answers import Verdict
from strata.storage.database import AwayError, Database
from strata.storage.outbox import Letter, Outbox
from strata.storage.tables import EventRow, FigureRow

LOCAL = "local"  # the one learner of a laptop
NOT_YET = "That is not it. Take a hint, or think again: the answer comes after your second try."
LONGEST = 4_000  # characters of an observation
FRESH = 2.0  # seconds for which a learner's events are not looked up again
_REMEMBERED = 1_000  # learners
At = tuple[int, str, str]  # a step, the key of the run it is asked of, and the lesson's version
_LATEST = ("figure", "code", "run")
_TABLES: dict[str, type[EventRow | FigureRow]] = {"events": EventRow, "figures": FigureRow}


@dataclass(frozen=True)
class Guess:
    """One commitment: what was guessed, what was measured on the run it was given for (`model`,
    `job`: the run's key), and what was said of it. `version` is the lesson file's; `said` and
    `told` are guess and answer in words, a position by its token.

    A wrong first guess leaves a second one, until which, or until a look, `answer` is None and the
    verdict says no more than that it was wrong.
    """

    step: int
    attempt: int
    version: str
    model: str
    job: str
    guess: Any
    answer: Any
    verdict: Verdict
    said: str = ""
    told: str = ""

    @property
    def at(self) -> At:
        """The step and the run that it is about."""
        return self.step, self.job, self.version


@dataclass(frozen=True)
class Note:
    """What else is kept of a step: hints, whether the model `lacked` what is asked, the learner's
    words, and of the latest run figure, code, and `run`: model, prompt, what {names} stand for."""

    step: int
    hints: int = 0
    observation: str = ""
    figure: str = ""
    code: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    lacked: bool = False


class Progress:
    """What learners did, as events, each seen with the learner's own code only.

    Kinds of events and their data: "visit" {"lacked"}, "guess" (a `Guess` but for its step),
    "look" {"job", "version"}, "hint" {"taken"}, "observation" {"text"}; of a set of prompts, in
    the place of a lesson, "mark" {"mark"}. An event that is told twice is kept once.

    With a `folder` it goes on while the database is away: what is told is kept there until it can
    be stored, and what was known is remembered. Without one AwayError is raised.
    """

    def __init__(self, database: Database, folder: Path | None = None) -> None:
        self._database = database
        self._outbox = Outbox(database, folder, _store) if folder else None
        self._memory: OrderedDict[str, _Known] = OrderedDict()
        self._lock = Lock()

    def commit(self, learner: str, lesson: str, guess: Guess) -> None:
        """Keep a guess; the same attempt at the same run is kept once, the first counts."""
        data = asdict(guess)
        step = data.pop("step")
        again = f"{guess.attempt} {guess.job} {guess.version}"
        self._add([_event(learner, lesson, step, "guess", data, again)])

    def guesses(self, learner: str, lesson: str) -> list[Guess]:
        """All guesses of a learner in a lesson, in their order, as their learner may read them."""
        made = [read_guess(e) for e in self._events(learner, lesson) if e.kind == "guess"]
        looked = self.looked(learner, lesson)
        tries = Counter(g.at for g in made)
        hidden: dict[str, Any] = {"answer": None, "told": "", "verdict": Verdict("wrong", NOT_YET)}
        return [
            g if is_over([g], g.at in looked) or tries[g.at] > 1 else replace(g, **hidden)
            for g in made
        ]

    def look(self, learner: str, lesson: str, at: At) -> None:
        """Keep that a learner has had a step's answer shown on a run: no guess follows that."""
        step, job, version = at
        data = {"job": job, "version": version}
        self._add([_event(learner, lesson, step, "look", data, f"{job} {version}")])

    def looked(self, learner: str, lesson: str) -> set[At]:
        """The steps, and on which runs, whose answers a learner has had shown."""
        events = self._events(learner, lesson)
        told = ((e.step, json.loads(e.data)) for e in events if e.kind == "look")
        return {(step, data["job"], data["version"]) for step, data in told}

    def note(self, learner: str, lesson: str, step: int, **changes: Any) -> None:
        """Keep what changed of a step's `Note`; "lacked" comes with a visit, as does no change."""
        is_visit = not changes or "lacked" in changes
        events = [_event(learner, lesson, step, "visit", changes)] if is_visit else []
        if "hints" in changes:
            taken = int(changes["hints"])
            events.append(_event(learner, lesson, step, "hint", {"taken": taken}, str(taken)))
        if "observation" in changes:
            text = str(changes["observation"])
            if len(text) > LONGEST:
                raise InputError(f"An observation has at most {LONGEST:,} characters; shorten it.")
            events.append(_event(learner, lesson, step, "observation", {"text": text}))
        if events:
            self._add(events)
        drawn = {name: json.dumps(changes[name]) for name in _LATEST if name in changes}
        if drawn:
            row = {"learner": learner, "lesson": lesson, "step": step}
            row |= dict.fromkeys(_LATEST, "") | drawn
            changed = list(drawn)
            replaces = json.dumps([learner, lesson, step, changed])
            told = {"learner": learner, "table": "figures", "rows": [row], "changed": changed}
            self._write({**told, "replaces": replaces})

    def mark(self, learner: str, of: str, *marks: str) -> None:
        """Keep marks of what a learner tried on a set of prompts by a model, which `of` names."""
        self._add([_event(learner, f"set {of}", 0, "mark", {"mark": m}, m) for m in marks])

    def marks(self, learner: str, of: str) -> set[str]:
        """All marks of it that are kept."""
        return {json.loads(event.data)["mark"] for event in self._events(learner, f"set {of}")}

    def vote(self, learner: str, vote_id: str, round_: int, guess: Any, again: str) -> None:
        """Keep a ballot, see `strata.classroom.votes`; once, however often `again` is told."""
        ballot = _event(learner, vote_id, round_, "vote", {"guess": guess}, again)
        if ballot["key"] not in self._waiting(learner):
            self._add([ballot])

    def ballots(self, learner: str, vote_id: str) -> dict[int, Any]:
        """A learner's latest guess in each round of a vote. AwayError if that cannot be read."""
        known = self._read(learner)
        with self._lock:
            cast = list(known.lessons.get(vote_id, {}).values())
        return {event.step: json.loads(event.data)["guess"] for event in cast}

    def has_vote(self, learner: str, vote_id: str, round_: int, again: str) -> bool:
        """Whether the ballot that was told with `again` is kept. AwayError as above."""
        key = _event(learner, vote_id, round_, "vote", {}, again)["key"]
        return key in self._waiting(learner) or key in self._read(learner).lessons.get(vote_id, ())

    def notes(self, learner: str, lesson: str, drawn: bool = False) -> dict[int, Note]:
        """The notes of a learner in a lesson, by step; the latest visited last. Figure, code and
        run, which are large, are there if `drawn`."""
        notes: dict[int, Note] = {}
        for event in self._events(learner, lesson):
            data, note = json.loads(event.data), notes.pop(event.step, Note(event.step))
            if event.kind == "visit":
                note = replace(note, lacked=data.get("lacked", False))
            elif event.kind == "hint":
                note = replace(note, hints=max(note.hints, data["taken"]))
            elif event.kind == "observation":
                note = replace(note, observation=data["text"])
            notes[event.step] = note
        for row in self._figures(learner, lesson) if drawn else ():
            latest = {name: json.loads(row[name]) for name in _LATEST if row[name]}
            notes[row["step"]] = replace(notes.get(row["step"], Note(row["step"])), **latest)
        return notes

    def forget(self, learner: str, lesson: str) -> None:
        """Remove all that is kept of a learner in a lesson."""
        mine = EventRow.learner == learner, EventRow.lesson == lesson
        told = [datetime.fromisoformat(row["at"]) for row in self._waiting(learner).values()]
        with suppress(AwayError), self._database.session() as session:
            told += session.scalars(select(EventRow.at).where(*mine))
        until = max([datetime.now(UTC), *told])  # the clock may have been set back
        self._write({"learner": learner, "forget": lesson, "until": until.isoformat()})

    def waiting(self, learner: str | None = None) -> int:
        """How many changes, of a learner or of all, wait for the database."""
        return self._outbox.waiting(learner) if self._outbox else 0

    @property
    def is_away(self) -> bool:
        """Whether the database cannot be reached or written, as far as is known."""
        return self._database.away or self.waiting() > 0

    @property
    def is_durable(self) -> bool:
        """Whether what waits would outlive a restart of this process."""
        return self._outbox is None or self._outbox.is_durable

    def close(self) -> None:
        """Send what waits, as far as that can be done."""
        if self._outbox:
            self._outbox.close()

    def _waiting(self, learner: str) -> dict[str, dict[str, Any]]:
        """A learner's events that wait, by key."""
        letters = self._outbox.letters(learner) if self._outbox else []
        events = (each for each in letters if each.get("table") == "events")
        return {row["key"]: row for each in events for row in each["rows"]}

    def _add(self, rows: list[dict[str, Any]]) -> None:
        self._write({"learner": rows[0]["learner"], "table": "events", "rows": rows, "changed": []})

    def _write(self, letter: Letter) -> None:
        if self._outbox:
            self._outbox.write(letter)
        else:
            with self._database.session(write=True) as session:
                _store(session, letter)
        with self._lock:
            known = self._memory.get(letter["learner"])
            if known is not None:
                known.tell(letter)
                known.mark, known.version = None, known.version + 1

    def _events(self, learner: str, lesson: str) -> list[_Event]:
        known = self._memory.get(learner)
        if known is None or time.monotonic() - known.read > FRESH:
            try:
                known = self._read(learner)
            except AwayError:
                if self._outbox is None:
                    raise
                self._outbox.wake()
                known = known or self._known(learner, [], self._outbox.letters(learner))
        with self._lock:
            return list(known.lessons.get(lesson, {}).values())

    def _read(self, learner: str) -> _Known:
        """What is known of a learner, once it has been compared with the database."""
        mine, columns = EventRow.learner == learner, [getattr(EventRow, n) for n in _Event._fields]
        while True:
            known = self._memory.get(learner)
            version = known.version if known else 0
            # Before the database is read: what is sent meanwhile is then seen twice, not never.
            waiting = self._outbox.letters(learner) if self._outbox else []
            with self._database.session() as session:
                # Events are only added or deleted, so number and last id tell whether any were.
                mark = session.execute(
                    select(func.count(EventRow.id), func.max(EventRow.id)).where(mine)
                ).one()
                rows = None
                if known is None or known.mark != mark:
                    rows = session.execute(select(*columns).where(mine).order_by(EventRow.id)).all()
            if rows is not None:
                known = self._known(learner, rows, waiting, version)
            if known is not None and known.version == version:
                known.mark, known.read = mark, time.monotonic()
                return known

    def _known(
        self, learner: str, rows: Sequence[Any], waiting: Sequence[Letter], version: int = 0
    ) -> _Known:
        """Remember these events and what waits, unless something was told since `version`."""
        known = _Known()
        for row in rows:
            known.add(_Event(*row))
        for letter in waiting:
            known.tell(letter)
        with self._lock:
            old = self._memory.get(learner)
            if old is not None and old.version != version:
                return old
            known.version = version
            self._memory[learner] = known
            self._memory.move_to_end(learner)
            while len(self._memory) > _REMEMBERED:
                self._memory.popitem(last=False)
        return known

    def _figures(self, learner: str, lesson: str) -> list[dict[str, Any]]:
        names = ("step", *_LATEST)
        waiting = self._outbox.letters(learner) if self._outbox else []
        rows: dict[int, dict[str, Any]] = {}
        try:
            with self._database.session() as session:
                mine = FigureRow.learner == learner, FigureRow.lesson == lesson
                found = session.execute(
                    select(*(getattr(FigureRow, n) for n in names)).where(*mine)
                )
                rows = {row[0]: dict(zip(names, row, strict=True)) for row in found}
        except AwayError:
            if self._outbox is None:
                raise
        for letter in waiting:
            if letter.get("forget") == lesson:
                rows.clear()
            for row in letter["rows"] if letter.get("table") == "figures" else ():
                if row["lesson"] == lesson:
                    kept = rows.setdefault(row["step"], dict(row))
                    kept |= {name: row[name] for name in letter["changed"]}
        return list(rows.values())


class _Event(NamedTuple):
    lesson: str
    key: str
    step: int
    kind: str
    data: str


@dataclass
class _Known:
    """A learner's events by lesson and key, in order; `mark` is the database's when `read`."""

    lessons: dict[str, dict[str, _Event]] = field(default_factory=dict)
    mark: Any = None
    read: float = -math.inf
    version: int = 0

    def add(self, event: _Event) -> None:
        self.lessons.setdefault(event.lesson, {}).setdefault(event.key, event)

    def tell(self, letter: Letter) -> None:
        if "forget" in letter:
            self.lessons.pop(letter["forget"], None)
        elif letter["table"] == "events":
            for row in letter["rows"]:
                self.add(_Event(*(row[name] for name in _Event._fields)))


def _store(session: Session, letter: Letter) -> None:
    """Make a change. Rows are added; of one that is there already `changed` columns are changed."""
    if "forget" in letter:
        until = datetime.fromisoformat(letter["until"])
        for each in (EventRow, FigureRow):
            mine = [each.learner == letter["learner"], each.lesson == letter["forget"]]
            if each is EventRow:  # where it is told late, what came after it stays
                mine.append(EventRow.at <= until)
            session.execute(delete(each).where(*mine))
        return
    table = _TABLES[letter["table"]]
    rows = [
        row | {"at": datetime.fromisoformat(row["at"])} if "at" in row else row
        for row in letter["rows"]
    ]
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    adding = dialect.insert(table.__table__)
    if letter["changed"]:
        columns = [column.name for column in table.__table__.primary_key]
        new = {name: adding.excluded[name] for name in letter["changed"]}
        session.execute(adding.on_conflict_do_update(index_elements=columns, set_=new), rows)
    else:
        session.execute(adding.on_conflict_do_nothing(), rows)


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
        "at": datetime.now(UTC).isoformat(),
    }


def is_over(mine: Sequence[Guess], looked: bool) -> bool:
    """Whether the answer is told to who has guessed `mine` of a step's run, and looked or not: a
    wrong first guess leaves a second one."""
    return looked or len(mine) > 1 or any(guess.verdict.grade != "wrong" for guess in mine)


def read_guess(event: EventRow | _Event) -> Guess:
    """The guess that an event of that kind holds."""
    data = json.loads(event.data)
    return Guess(**{**data, "step": event.step, "verdict": Verdict(**data["verdict"])})
