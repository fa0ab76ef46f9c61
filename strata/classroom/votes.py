"""Votes: a class answers a question, talks it over, and answers again.

A ballot is an event of its learner: its "lesson" is the vote's id, its "step" the round, 1 or 2.
Of several ballots of one learner in a round the latest counts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, get_args

import pandas as pd
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from strata.classroom.asked import Asked
from strata.classroom.codes import fingerprint, new_id
from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.tables import ClassRow, EventRow, MemberRow, VoteRow

Phase = Literal["first", "talk", "second", "done", "over"]
ROUNDS: dict[str, int] = {"first": 1, "second": 2}  # the phases in which ballots are taken
AFTER: dict[str, Phase] = {"first": "talk", "second": "done"}  # what comes once they are closed
_PHASES: tuple[str, ...] = get_args(Phase)
Ballots = dict[int, dict[str, Any]]  # round: member: guess


@dataclass(frozen=True)
class Vote:
    """A question put to a class, and how far the vote is."""

    id: str
    class_id: str
    asked: Asked
    phase: Phase
    shown: bool
    created: datetime
    hidden: frozenset[str] = frozenset()  # fingerprints of words that nobody is shown

    @property
    def round(self) -> int:
        """The round in which ballots are taken now; 0 while none are."""
        return ROUNDS.get(self.phase, 0)

    @property
    def solved(self) -> bool:
        """Whether the answer may be told: before, it would spoil the second vote."""
        return self.phase in ("done", "over")

    def held(self, cast: Ballots) -> list[int]:
        """The rounds there were so far: a vote may end without a second one."""
        two = self.phase == "second" or (self.solved and bool(cast[2]))
        return [1, 2] if two else [1]


class Votes:
    """The votes of all classes. What changes what a class's screens show grows its revision."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, class_id: str, asked: Asked) -> Vote:
        """Put a question to a class; a vote that was running there is over."""
        with self._database.session(write=True) as session:
            running = VoteRow.class_id == class_id, VoteRow.phase != "over"
            session.execute(update(VoteRow).where(*running).values(phase="over"))
            row = VoteRow(
                id=new_id(),
                class_id=class_id,
                question=asked.model_dump_json(),
                phase="first",
                shown=False,
                created=datetime.now(UTC),
            )
            session.add(row)
            _changed(session, class_id, timer=None)  # which was for what went before
            session.flush()
            return _vote(row)

    def change(self, vote_id: str, phase: Phase | None = None, shown: bool | None = None) -> None:
        """Go on to a later phase, or show or hide the results; opening a round hides them.

        InputError for a phase that is over, as another window of the teacher's may not know, and
        for results of a round that is open.
        """
        with self._database.session(write=True) as session:
            row = session.get(VoteRow, vote_id)
            if row is None:
                raise InputError("This vote is not there any more.")
            then = phase or row.phase
            if _PHASES.index(then) < _PHASES.index(row.phase):
                raise InputError("This vote has already gone on.")
            if shown and then in ROUNDS:
                raise InputError("The vote is open: results are shown once it is closed.")
            if phase is not None:
                row.phase = phase
                row.shown = row.shown and phase not in ROUNDS
            if shown is not None:
                row.shown = shown
            _changed(session, row.class_id, **({} if phase is None else {"timer": None}))

    def hide(self, vote_id: str, word: str, hidden: bool = True) -> None:
        """Leave a word out of what the class is shown of a vote, or show it again. Only its
        fingerprint is kept: the word itself goes with the learner who gave it."""
        with self._database.session(write=True) as session:
            row = session.get(VoteRow, vote_id)
            if row is None:
                raise InputError("This vote is not there any more.")
            named = {fingerprint(word)}
            before = set(json.loads(row.hidden))
            row.hidden = json.dumps(sorted(before | named if hidden else before - named))
            _changed(session, row.class_id)

    def running(self, class_id: str) -> Vote | None:
        """The vote that a class is in; None if it is in none."""
        with self._database.session() as session:
            mine = VoteRow.class_id == class_id, VoteRow.phase != "over"
            row = session.scalars(select(VoteRow).where(*mine)).first()
            return None if row is None else _vote(row)

    def all(self, class_id: str) -> list[Vote]:
        """Every vote of a class, the newest first."""
        with self._database.session() as session:
            mine = select(VoteRow).where(VoteRow.class_id == class_id)
            return [_vote(r) for r in session.scalars(mine.order_by(VoteRow.created.desc()))]

    def ballots(self, *vote_ids: str) -> dict[str, Ballots]:
        """The ballots that count, by vote, round and member."""
        return {
            vote_id: {n: {who: each[0] for who, each in of.items()} for n, of in rounds.items()}
            for vote_id, rounds in self._cast(vote_ids).items()
        }

    def _cast(self, vote_ids: Sequence[str]) -> dict[str, dict[int, dict[str, Any]]]:
        """The ballots that count as (guess, when), by vote, round and member."""
        found: dict[str, dict[int, dict[str, Any]]] = {each: {1: {}, 2: {}} for each in vote_ids}
        with self._database.session() as session:
            cast = EventRow.lesson.in_(vote_ids), EventRow.kind == "vote"
            columns = (EventRow.lesson, EventRow.step, EventRow.learner, EventRow.data, EventRow.at)
            rows = session.execute(select(*columns).where(*cast).order_by(EventRow.id))
            for vote_id, round_, learner, data, at in rows:
                found[vote_id][round_][learner] = json.loads(data)["guess"], at
        return found

    def gradebook(self, class_id: str) -> pd.DataFrame:
        """A row for each learner and vote, in the columns of `watch.gradebook`: the first vote is
        the first answer, the second its revision; "lesson" says which lesson's question it was, or
        the question itself if it was the teacher's own."""
        votes = self.all(class_id)
        with self._database.session() as session:
            members = select(MemberRow).where(MemberRow.class_id == class_id)
            names = {row.id: json.loads(row.name) for row in session.scalars(members)}
        cast, rows = self._cast([vote.id for vote in votes]), []
        for vote in votes:
            asked, rounds = vote.asked, cast[vote.id]
            for member in names.keys() & (rounds[1].keys() | rounds[2].keys()):
                (first, at), (second, later) = (rounds[n].get(member, (None, None)) for n in (1, 2))
                what = asked.lesson or asked.question.ask
                rows.append(
                    {
                        "name": names[member],
                        "member": member,
                        "lesson": f"vote: {what}",
                        "version": asked.version,
                        "step": asked.number,
                        "model": asked.model,
                        "first": asked.in_words(first),
                        "first_grade": asked.grade(first),
                        "revision": asked.in_words(second),
                        "revision_grade": asked.grade(second),
                        "answer": asked.solution,
                        "at": (at or later).isoformat(timespec="seconds"),
                    }
                )
        return pd.DataFrame(rows)


def call(database: Database, class_id: str, where: Mapping[str, Any] | None) -> None:
    """Bring a class somewhere: `where` has title, prompt, and the address as path and query. None
    takes the call back, of which those are told who have followed it."""
    with database.session(write=True) as session:
        row = session.get(ClassRow, class_id)
        if row is None:
            raise InputError("This class is not there any more.")
        before: dict[str, Any] = json.loads(row.call) if row.call else {}
        if where is None and "title" not in before:
            return
        new = {"id": new_id(), "at": datetime.now(UTC).isoformat()}
        row.call = json.dumps({**new, **(where or {"undone": before["id"]})})
        _changed(session, class_id)


def counted(vote: Vote, cast: Ballots) -> pd.DataFrame:
    """How many gave which answer in each round held so far: label, right (nowhere before the answer
    may be told), round, learners."""
    rounds = vote.held(cast)
    tally = partial(
        vote.asked.tally,
        among=[
            guess
            for n in rounds
            for guess in cast[n].values()
            if not vote.hidden or fingerprint(str(vote.asked.bar(guess))) not in vote.hidden
        ],
        solved=vote.solved,
    )
    return pd.concat([tally(cast[n].values()).assign(round=n) for n in rounds], ignore_index=True)


def words(vote: Vote, cast: Ballots) -> dict[str, int]:
    """Every word of a vote of words, the commonest first, and how many gave it in any round."""
    if vote.asked.question.kind != "token":
        return {}
    given = {(who, vote.asked.bar(g)) for n in vote.held(cast) for who, g in cast[n].items()}
    return dict(Counter(str(word) for _, word in sorted(given)).most_common())


def reading(vote: Vote, cast: Ballots) -> str:
    """What the histogram shows, in a sentence."""
    rounds = [cast[number] for number in vote.held(cast)]
    if not rounds[-1]:
        return "Nobody has voted."
    if vote.asked.right is None or not vote.solved:
        said = f"{len(rounds[-1])} voted"
    else:
        right = [sum(vote.asked.grade(g) == "right" for g in votes.values()) for votes in rounds]
        shares = [f"{n} of {len(votes)}" for n, votes in zip(right, rounds, strict=True)]
        said = f"{' and then '.join(shares)} answered right"
    if len(rounds) == 2:
        both = rounds[0].keys() & rounds[1].keys()
        changed = sum(rounds[0][member] != rounds[1][member] for member in both)
        said += f"; {changed} of {len(both)} changed their answer"
    return f"{said}."


def _changed(session: Session, class_id: str, **fields: Any) -> None:
    grown = update(ClassRow).where(ClassRow.id == class_id)
    session.execute(grown.values(revision=ClassRow.revision + 1, **fields))


def _vote(row: VoteRow) -> Vote:
    asked = Asked.model_validate_json(row.question)
    phase: Any = row.phase
    hidden = frozenset(json.loads(row.hidden))
    return Vote(row.id, row.class_id, asked, phase, row.shown, row.created, hidden)
