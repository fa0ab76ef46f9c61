"""Classes and their members: who may join, come back, and be forgotten."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Select, delete, func, select, union, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from strata.classroom.codes import (
    ID,
    clean_name,
    code_of,
    fingerprint,
    new_class_code,
    new_code,
    new_id,
    read_class_code,
    read_code,
)
from strata.errors import InputError, UnknownCodeError
from strata.storage.database import Database
from strata.storage.tables import (
    ClassRow,
    EventRow,
    FigureRow,
    MemberRow,
    PromptRow,
    SeatRow,
    VoteRow,
)

SEAT_HOURS = 24 * 30  # how long a browser need not enter again
MOST_MEMBERS = 1_000  # of a class
_CALL_LASTS = timedelta(minutes=3)  # who comes later is not brought along
PROMPTS_LAST = timedelta(days=2)  # of texts of one's own, which links name
LIMITS = ("prompt_tokens", "prompt_characters", "per_minute")
NO_CLASS = "No class has this code; look again, or ask your teacher."


@dataclass(frozen=True)
class Class:
    """A class. `lessons`: those it follows, in order, empty for all. `model`: '' if free.
    `limits`: of its members' jobs, where they differ from the server's (see `LIMITS`).
    `joining`: whether somebody new may come in; who is in may either way."""

    id: str
    code: str
    name: str
    lessons: tuple[str, ...] = ()
    model: str = ""
    opens: datetime | None = None
    closes: datetime | None = None
    expires: datetime | None = None
    limits: dict[str, int] = field(default_factory=dict)
    joining: bool = True

    def closed(self, now: datetime | None = None, zone: tzinfo = UTC) -> str:
        """Why nobody can work in it now, in a sentence with a time of that zone; '' if it is
        open."""
        now = now or datetime.now(UTC)
        if self.opens and now < self.opens:
            return f"The class {self.name} opens at {_at(self.opens, zone)}."
        if self.closes and now >= self.closes:
            return f"The class {self.name} was closed at {_at(self.closes, zone)}."
        return ""

    def shut(self, zone: tzinfo = UTC) -> str:
        """Why nobody new can come in now, in a sentence as `closed`; '' if everyone with the code
        can."""
        stopped = f"Nobody new can join {self.name} just now."
        return self.closed(zone=zone) or ("" if self.joining else stopped)


@dataclass(frozen=True)
class Member:
    """A learner of a class. `id` is the pseudonym under which answers are kept."""

    id: str
    class_id: str
    name: str
    joined: datetime


@dataclass(frozen=True)
class Seat:
    """Who sits at a browser: a member of a class, or the teacher (both None)."""

    member: Member | None = None
    group: Class | None = None

    @property
    def is_teacher(self) -> bool:
        return self.member is None


class Roster:
    """All classes of a server. Each answer is about one class; none leads to another."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- the teacher's ------------------------------------------------------------------------

    def create(self, name: str, **chosen: Any) -> Class:
        """A new class with a new code; `chosen` are fields of `Class`."""
        row = ClassRow(id=new_id(), code=new_class_code(), created=datetime.now(UTC))
        with self._database.session(write=True) as session:
            row.lessons, row.model = "[]", ""
            _set(row, {"name": name, **chosen})
            session.add(row)
            session.flush()
            return _class(row)

    def change(self, class_id: str, **chosen: Any) -> None:
        """Give a class other fields."""
        with self._database.session(write=True) as session:
            row = session.get(ClassRow, class_id)
            if row is None:
                raise InputError("This class is not there any more.")
            _set(row, chosen)
            row.revision += 1

    def renew_code(self, class_id: str) -> str:
        """Another class code; with the one before nobody comes in any more, and who is in stays.

        InputError if the class is not there any more.
        """
        code = new_class_code()
        with self._database.session(write=True) as session:
            row = session.get(ClassRow, class_id)
            if row is None:
                raise InputError("This class is not there any more.")
            row.code = code
            row.revision += 1
        return code

    def classes(self) -> list[Class]:
        """All classes, the newest first."""
        with self._database.session() as session:
            rows = session.scalars(select(ClassRow).order_by(ClassRow.created.desc()))
            return [_class(row) for row in rows]

    def get(self, class_id: str) -> Class | None:
        """A class by its id; None if it is not there (any more)."""
        with self._database.session() as session:
            row = session.get(ClassRow, class_id)
            return None if row is None else _class(row)

    def called(self, class_id: str) -> str:
        """The title of the page to which the class is called now; "" for none."""
        with self._database.session() as session:
            told = session.scalar(select(ClassRow.call).where(ClassRow.id == class_id))
        call = json.loads(told) if told else {}
        return str(call["title"]) if "title" in call and lasts(call) else ""

    def members(self, class_id: str) -> list[Member]:
        """The members of a class in the order in which they joined."""
        with self._database.session() as session:
            mine = select(MemberRow).where(MemberRow.class_id == class_id)
            return [_member(row) for row in session.scalars(mine.order_by(MemberRow.joined))]

    def remove(self, class_id: str) -> None:
        """Delete a class with all that is kept of it and of its members."""
        with self._database.session(write=True) as session:
            ids = session.scalars(select(MemberRow.id).where(MemberRow.class_id == class_id)).all()
            _forget(session, ids)
            for table in (PromptRow, VoteRow):
                session.execute(delete(table).where(table.class_id == class_id))
            session.execute(delete(ClassRow).where(ClassRow.id == class_id))

    def remove_expired(self, now: datetime | None = None) -> int:
        """Delete the classes whose time is over; how many they were. Also what no lesson needs any
        more: seats that are over, texts that links of two days ago named, where the class was
        called to; and what was written of a member after they were deleted: by a page still at
        work, or by what waited for the database, maybe through a restart."""
        now = now or datetime.now(UTC)
        over = [each.id for each in self.classes() if each.expires and each.expires <= now]
        for class_id in over:
            self.remove(class_id)
        with self._database.session() as session:
            strays = session.scalars(union(*map(_without_a_member, _OF_LEARNER))).all()
        with self._database.session(write=True) as session:
            session.execute(delete(SeatRow).where(SeatRow.until <= now))
            session.execute(delete(PromptRow).where(PromptRow.created <= now - PROMPTS_LAST))
            for row in session.scalars(select(ClassRow).where(ClassRow.call != "")):
                if not lasts(json.loads(row.call)):
                    row.call = ""
            _forget(session, strays)
        return len(over)

    # -- the learner's ------------------------------------------------------------------------

    def by_code(self, typed: str) -> Class:
        """The class of a code as somebody typed it. InputError if there is none."""
        code = read_class_code(typed)
        with self._database.session() as session:
            row = session.scalar(select(ClassRow).where(ClassRow.code == (code or "")))
            if row is None:
                raise UnknownCodeError(NO_CLASS)
            return _class(row)

    def join(self, code: str, name: str, form: str = "") -> tuple[Member, str]:
        """A new member of the class with this code, and the member's resume code.

        The resume code is told this once: only its hash is kept. `form`: a long random text of the
        form that was filled in; who sends the same form again, since no answer came, is the same
        member with the same code. InputError for an unknown code, a name that is none, and a class
        that is closed, full, or takes nobody new.
        """
        group, name = self.by_code(code), clean_name(name)
        resume = code_of(json.dumps([form, group.id, name])) if form else new_code()
        with self._database.session(write=True) as session:
            before = select(MemberRow).where(MemberRow.resume == fingerprint(resume))
            if form and (row := session.scalar(before)) is not None:
                return _member(row), resume
            if reason := group.closed():
                raise InputError(reason)
            if not group.joining:
                raise InputError(
                    f"The class {group.name} takes nobody new just now; ask your teacher. If you "
                    "were in it before, come back with your resume code."
                )
            mine = MemberRow.class_id == group.id
            if (session.scalar(select(func.count()).where(mine)) or 0) >= MOST_MEMBERS:
                raise InputError(f"This class has {MOST_MEMBERS:,} members and is full.")
            row = MemberRow(
                id=new_id(),
                class_id=group.id,
                name=json.dumps(name),
                resume=fingerprint(resume),
                joined=datetime.now(UTC),
            )
            session.add(row)
            session.flush()
            return _member(row), resume

    def resume(self, typed: str) -> Member:
        """The member who was given this resume code. InputError if there is none."""
        code = read_code(typed)
        with self._database.session() as session:
            wanted = MemberRow.resume == fingerprint(code or "")
            row = session.scalar(select(MemberRow).where(wanted))
            if code is None or row is None:
                raise UnknownCodeError(
                    "Nobody has this resume code; it has twelve letters and digits."
                )
            return _member(row)

    def renew(self, member_id: str) -> str:
        """Another resume code for a member; the one before is worth nothing any more."""
        resume = new_code()
        with self._database.session(write=True) as session:
            row = session.get(MemberRow, member_id)
            if row is None:
                raise InputError("This member is not there any more.")
            row.resume = fingerprint(resume)
        return resume

    def forget(self, *member_ids: str) -> None:
        """Delete members and all that is kept of what they did and typed.

        The revision of their classes grows, so that every server looks up anew who is in it.
        """
        ids = [each for each in member_ids if each]
        with self._database.session(write=True) as session:
            of_them = select(MemberRow.class_id).where(MemberRow.id.in_(ids))
            theirs = update(ClassRow).where(ClassRow.id.in_(of_them))
            session.execute(theirs.values(revision=ClassRow.revision + 1))
            _forget(session, ids)

    # -- browsers -----------------------------------------------------------------------------

    def seat(self, member_id: str = "", hours: float = SEAT_HOURS) -> str:
        """Let a browser in, as a member or ('') as the teacher: the cookie that it gets."""
        token = secrets.token_urlsafe(32)
        until = datetime.now(UTC) + timedelta(hours=hours)
        with self._database.session(write=True) as session:
            session.add(SeatRow(token=fingerprint(token), member=member_id, until=until))
        return token

    def seated(self, token: str) -> Seat | None:
        """Who sits at the browser with this cookie; None if nobody does (any more)."""
        if not token or len(token) > 100:
            return None
        with self._database.session() as session:
            found = session.execute(  # all at once: every run of every page asks
                select(SeatRow, MemberRow, ClassRow)
                .outerjoin(MemberRow, MemberRow.id == SeatRow.member)
                .outerjoin(ClassRow, ClassRow.id == MemberRow.class_id)
                .where(SeatRow.token == fingerprint(token))
            ).one_or_none()
            if found is None or found[0].until <= datetime.now(UTC):
                return None
            seat, member, group = found
            if not seat.member:
                return Seat()
            return Seat(_member(member), _class(group)) if member and group else None

    def leave(self, token: str) -> None:
        """Let a browser out."""
        with self._database.session(write=True) as session:
            session.execute(delete(SeatRow).where(SeatRow.token == fingerprint(token)))


def lasts(call: Mapping[str, Any]) -> bool:
    """Whether learners are still to follow what the teacher called them to."""
    return datetime.now(UTC) - datetime.fromisoformat(call["at"]) <= _CALL_LASTS


def zone_named(name: str | None) -> tzinfo:
    """A browser's time zone by its name; UTC where it has none that is known."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _at(moment: datetime, zone: tzinfo) -> str:
    return f"{moment.astimezone(zone):%d %B %Y, %H:%M} {'UTC' if zone is UTC else f'({zone})'}"


_OF_LEARNER = (EventRow.learner, FigureRow.learner, PromptRow.owner, SeatRow.member)


def _forget(session: Session, ids: Sequence[str]) -> None:
    for column in (*_OF_LEARNER, MemberRow.id):
        theirs = column.in_([each for each in ids if each])
        session.execute(delete(column.class_).where(theirs))


def _without_a_member(column: InstrumentedAttribute[str]) -> Select[Any]:
    """The members whom this column names and who are not there any more. A teacher, and whoever
    learns without a class, has no name as long as a member's."""
    a_member = func.length(column) == ID
    return select(column).where(a_member, column.not_in(select(MemberRow.id))).distinct()


def _set(row: ClassRow, chosen: dict[str, Any]) -> None:
    for name, value in chosen.items():
        if name == "name":
            row.name = json.dumps(clean_name(value))
        elif name == "lessons":
            row.lessons = json.dumps(list(value))
        elif name == "limits":
            row.limits = json.dumps(_checked(value))
        elif name in ("model", "opens", "closes", "expires", "joining"):
            setattr(row, name, value)
        else:
            raise InputError(f"A class has no {name!r}.")


def _class(row: ClassRow) -> Class:
    lessons = tuple(json.loads(row.lessons))
    times, limits = (row.opens, row.closes, row.expires), json.loads(row.limits)
    told = (row.id, row.code, json.loads(row.name), lessons, row.model)
    return Class(*told, *times, limits, row.joining)


def _checked(limits: dict[str, int]) -> dict[str, int]:
    for name, value in limits.items():
        if name not in LIMITS or not 1 <= value <= 1_000_000:
            raise InputError(f"A class has no limit {name!r} of {value!r}.")
    return dict(limits)


def _member(row: MemberRow) -> Member:
    return Member(row.id, row.class_id, json.loads(row.name), row.joined)
