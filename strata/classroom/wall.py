"""What a class sees in common besides a vote: what time is left, and whether names are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import select, update

from strata.classroom.roster import Member
from strata.classroom.votes import AFTER, ROUNDS
from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.tables import ClassRow, VoteRow

LONGEST = timedelta(hours=3)  # of a timer
SAID_FOR = 60.0  # seconds for which it is said that the time is up
# An answer that is sent in the last moment is on its way for a while.
_GRACE = timedelta(seconds=1)


@dataclass(frozen=True)
class Wall:
    """`names_hidden`: learners are numbered wherever others may look. `timer`: when the time that
    the teacher has given is up; None without one."""

    names_hidden: bool = False
    timer: datetime | None = None

    def left(self, now: datetime | None = None) -> float | None:
        """Seconds that are left, 0 for a minute after the end; None without a timer."""
        if self.timer is None:
            return None
        left = (self.timer - (now or datetime.now(UTC))).total_seconds()
        return max(0.0, left) if left > -SAID_FOR else None

    def is_up(self, now: datetime | None = None) -> bool:
        """Whether the time is up for answers, those on their way too."""
        return self.timer is not None and self.timer <= (now or datetime.now(UTC)) - _GRACE


def wall(database: Database, class_id: str) -> Wall:
    """What is set for a class now; nothing for one that is not there any more."""
    columns = ClassRow.names_hidden, ClassRow.timer
    with database.session() as session:
        row = session.execute(select(*columns).where(ClassRow.id == class_id)).one_or_none()
    return Wall() if row is None else Wall(row.names_hidden, row.timer)


def hide_names(database: Database, class_id: str, hidden: bool) -> None:
    """Number the learners of a class wherever others may look, or show their names again."""
    _set(database, class_id, names_hidden=hidden)


def give_time(database: Database, class_id: str, time: timedelta | None) -> None:
    """Start a timer, in the place of the one before; None stops it. InputError for one that is too
    long or over before it begins."""
    if time is not None and not timedelta(0) < time <= LONGEST:
        raise InputError(f"A timer runs for at most {LONGEST.seconds // 3600} hours.")
    _set(database, class_id, timer=None if time is None else datetime.now(UTC) + time)


def close_rounds(database: Database, now: datetime | None = None) -> int:
    """Close the rounds of votes whose time is up; how many they were. Harmless where several
    servers do it."""
    over = ClassRow.timer <= (now or datetime.now(UTC)) - _GRACE
    due = (
        select(VoteRow.id, VoteRow.class_id, VoteRow.phase)
        .join(ClassRow, ClassRow.id == VoteRow.class_id)
        .where(over, VoteRow.phase.in_(ROUNDS))
    )
    with database.session() as session:
        if session.execute(due).first() is None:  # what is written waits for others
            return 0
    with database.session(write=True) as session:
        found = session.execute(due).all()
        for vote_id, class_id, phase in found:
            of_it = update(VoteRow).where(VoteRow.id == vote_id)
            session.execute(of_it.values(phase=AFTER[phase]))
            changed = update(ClassRow).where(ClassRow.id == class_id)
            session.execute(changed.values(revision=ClassRow.revision + 1))
        return len(found)


def numbered(members: Sequence[Member]) -> dict[str, str]:
    """In the place of names: which in the order of joining each is, by id."""
    return {member.id: f"Learner {number}" for number, member in enumerate(members, 1)}


def _set(database: Database, class_id: str, **fields: object) -> None:
    of_it = update(ClassRow).where(ClassRow.id == class_id)
    with database.session(write=True) as session:
        changed = session.execute(of_it.values(**fields, revision=ClassRow.revision + 1))
        if not changed.rowcount:  # type: ignore[attr-defined]
            raise InputError("This class is not there any more.")
