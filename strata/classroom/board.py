"""What the screens of each class show besides their page: the vote, the call, that it is closed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, tzinfo
from typing import Any

from sqlalchemy import select

from strata.classroom.asked import LONGEST_WORD, Asked
from strata.classroom.roster import Class, Roster, lasts
from strata.classroom.votes import Ballots, Vote, Votes, counted
from strata.classroom.wall import Wall, close_rounds, numbered, wall
from strata.errors import InputError
from strata.lessons import lessons
from strata.storage.database import AwayError, Database
from strata.storage.tables import ClassRow

Screen = dict[str, Any]  # plain data


class ClosedVoteError(InputError):
    """Nobody can answer that now."""


class Board:
    """The latest screen of each class, known without a query. `look` brings it up to date."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._votes, self._roster = Votes(database), Roster(database)
        self._seen: dict[str, int] = {}  # the revision of each class
        self._screens: dict[str, Screen] = {}
        self._running: dict[str, Vote] = {}
        self._groups: dict[str, Class] = {}
        self._timers: dict[str, Wall] = {}
        self._members: dict[str, dict[str, str]] = {}  # each with the number in place of the name

    def notices(self) -> AsyncIterator[None]:
        """See `Database.notices`: each says that there is something to look at."""
        return self._database.notices()

    @property
    def has_turned(self) -> bool:
        """Whether a class has opened or closed by the clock since the last look, or the time for a
        round is up."""
        running = list(self._running.items())
        over = (vote.round and self._timers.get(of, Wall()).is_up() for of, vote in running)
        return any(map(self._turned, list(self._groups.values()))) or any(over)

    def look(self) -> set[str]:
        """Read what has changed; the ids of the classes of which something has."""
        with self._database.session() as session:
            now = {row.id: row.revision for row in session.execute(_REVISIONS)}
        moved = {each for each, revision in now.items() if self._seen.get(each) != revision}
        moved |= {each for each, group in self._groups.items() if self._turned(group)} & now.keys()
        for class_id in moved:
            self._read(class_id, now[class_id])
        # Only now: where one could not be read, all are told of at the next look.
        self._seen |= {each: now[each] for each in moved if each in self._groups}
        gone = self._seen.keys() - now.keys()
        for class_id in gone:
            self._screens[class_id] = {"revision": -1, "closed": "This class was deleted."}
            for of_it in (self._running, self._timers, self._members):
                of_it.pop(class_id, None)
            del self._seen[class_id], self._groups[class_id]
        return moved | gone

    def close_rounds(self) -> None:
        """Close the rounds of votes whose time is up. AwayError if that cannot be written."""
        close_rounds(self._database)

    def screen(self, class_id: str, zone: tzinfo = UTC) -> Screen:
        """What every member of the class sees now, with times of a browser's zone."""
        screen = dict(self._screens.get(class_id, {"revision": 0}))
        if group := self._groups.get(class_id):
            screen["closed"] = group.closed(zone=zone)
            left = self._timers.get(class_id, Wall()).left()
            if left is not None:
                screen["left"] = round(left, 1)
        if "call" in screen and not lasts(screen["call"]):
            del screen["call"]
        return screen

    def knows(self, class_id: str, member_id: str) -> bool:
        """Whether this member was there at the latest look; one who has joined since was not."""
        return member_id in self._members.get(class_id, ())

    def called(self, class_id: str, member_id: str) -> str:
        """What a member is called where others may look, while names are hidden there; "" else."""
        hidden = self._timers.get(class_id, Wall()).names_hidden
        return self._members.get(class_id, {}).get(member_id, "") if hidden else ""

    def ballot(self, class_id: str, vote_id: Any, round_: Any, guess: Any) -> Any:
        """The guess as it is to be kept. ClosedVoteError unless this class now votes on this,
        InputError for what is no answer to it, AwayError while that is not known, as after a
        restart."""
        if class_id not in self._screens:
            raise AwayError("What this class votes on has not been read yet.")
        vote = self._running.get(class_id)
        if vote is None or vote.id != vote_id or not vote.round or vote.round != round_:
            raise ClosedVoteError("This vote is closed.")
        return vote.asked.ballot(guess)

    def _turned(self, group: Class) -> bool:
        """Whether a class has opened or closed, by the clock, since its screen was made."""
        return bool(group.closed()) != bool(self._screens[group.id]["closed"])

    def _read(self, class_id: str, revision: int) -> None:
        with self._database.session() as session:
            row = session.get(ClassRow, class_id)
            called = row.call if row else ""
        group, vote = self._roster.get(class_id), self._votes.running(class_id)
        if group is None:  # deleted just now: the next look says so
            return
        self._groups[class_id] = group
        self._members[class_id] = numbered(self._roster.members(class_id))
        self._timers[class_id] = wall(self._database, class_id)
        screen: Screen = {"revision": revision, "closed": group.closed()}
        if called:
            screen["call"] = json.loads(called)
        self._running.pop(class_id, None)
        if vote is not None:
            self._running[class_id] = vote
            screen["vote"] = _shown(vote)
            if vote.shown:
                cast = self._votes.ballots(vote.id)[vote.id]
                screen["vote"]["results"] = _bars(vote, cast)
        self._screens[class_id] = screen


_REVISIONS = select(ClassRow.id, ClassRow.revision)


def _bars(vote: Vote, cast: Ballots) -> list[dict[str, Any]]:
    """The bars of the histogram: label, right, and learners, a number for each round."""
    frame = counted(vote, cast)
    groups = frame.groupby(["label", "right"], sort=False)["learners"]
    return [
        {"label": label, "right": bool(right), "learners": [int(n) for n in numbers]}
        for (label, right), numbers in groups
    ]


def _shown(vote: Vote) -> Screen:
    question = vote.asked.question
    low, high, step = vote.asked.ends
    return {
        "id": vote.id,
        "phase": vote.phase,
        "round": vote.round,
        "ask": question.ask,
        "prompt": vote.asked.prompt,
        "kind": question.kind,
        "options": [option.text for option in question.options],
        "low": low,
        "high": high,
        "step": step,
        "unit": question.unit,
        "longest": LONGEST_WORD,
        "covers": figures_tell(vote.asked),
    }


def figures_tell(asked: Asked) -> bool:
    """Whether figures could tell what is asked, so that they are covered until the answer may be
    told: of a lesson's question, unless its step is about the figure that is seen with it."""
    lesson = lessons().get(asked.lesson)
    if lesson is None or not 0 < asked.number <= len(lesson.steps):
        return bool(asked.lesson)
    return lesson.steps[asked.number - 1].hide
