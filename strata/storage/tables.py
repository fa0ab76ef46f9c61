"""All tables that Strata stores things in, one schema for SQLite and PostgreSQL.

A change here needs a file in `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import Boolean, DateTime, ForeignKey, Integer, String, Text, TypeDecorator
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """A time with its zone, UTC; SQLite forgets zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class Base(DeclarativeBase):
    """What all tables share. Long texts are JSON in ASCII: no database refuses a NUL in it."""

    type_annotation_map: ClassVar = {datetime: Moment}


class PromptRow(Base):
    """A prompt behind a secret id, for links; found by members of the same class only."""

    __tablename__ = "prompts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(String(12), default="", index=True)  # a member; '': nobody's
    class_id: Mapped[str] = mapped_column(String(12), default="", index=True)  # '': none
    text: Mapped[str] = mapped_column(Text)  # JSON
    created: Mapped[datetime]


class EventRow(Base):
    """Something that a learner did. Rows are added, not changed; `key` makes a repeat harmless."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    learner: Mapped[str] = mapped_column(String(32), index=True)
    lesson: Mapped[str] = mapped_column(String(64), index=True)  # of a ballot: the vote's id
    step: Mapped[int] = mapped_column(Integer)  # of a ballot: the round
    kind: Mapped[str] = mapped_column(String(16))  # see lessons/progress.py
    data: Mapped[str] = mapped_column(Text)  # JSON
    at: Mapped[datetime]


class FigureRow(Base):
    """What the lab report shows of a learner's step: the latest run, its figure, its program."""

    __tablename__ = "figures"

    learner: Mapped[str] = mapped_column(String(32), primary_key=True)
    lesson: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[int] = mapped_column(Integer, primary_key=True)
    figure: Mapped[str] = mapped_column(Text, default="")  # Vega-Lite with its data, JSON
    code: Mapped[str] = mapped_column(Text, default="")  # JSON
    run: Mapped[str] = mapped_column(Text, default="")  # JSON: see `Note.run`


class ClassRow(Base):
    """A class: whoever has its code may join while it is open."""

    __tablename__ = "classes"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    code: Mapped[str] = mapped_column(String(12), unique=True)
    name: Mapped[str] = mapped_column(Text)  # JSON
    lessons: Mapped[str] = mapped_column(Text)  # JSON: stems in order, empty for all
    model: Mapped[str] = mapped_column(String(200))  # '': learners choose from the catalogue
    opens: Mapped[datetime | None]
    closes: Mapped[datetime | None]
    expires: Mapped[datetime | None]  # then all that is kept of the class is deleted
    created: Mapped[datetime]
    limits: Mapped[str] = mapped_column(Text, default="{}")  # JSON: of its members' jobs
    call: Mapped[str] = mapped_column(Text, default="")  # JSON: where the teacher brings everyone
    revision: Mapped[int] = mapped_column(Integer, default=0)  # grows with what its screens show
    joining: Mapped[bool] = mapped_column(Boolean, default=True)  # whether somebody new may come in
    names_hidden: Mapped[bool] = mapped_column(Boolean, default=False)  # where others may look
    timer: Mapped[datetime | None]  # when the time is up that everybody sees


class VoteRow(Base):
    """A question that a class votes on, twice if the teacher likes. Ballots are events."""

    __tablename__ = "votes"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)
    class_id: Mapped[str] = mapped_column(ForeignKey("classes.id"), index=True)
    question: Mapped[str] = mapped_column(Text)  # JSON: see `strata.classroom.votes.Asked`
    phase: Mapped[str] = mapped_column(String(16))  # see `strata.classroom.votes.PHASES`
    shown: Mapped[bool] = mapped_column(Boolean)  # whether everyone may see the results
    created: Mapped[datetime]
    hidden: Mapped[str] = mapped_column(Text, default="[]")  # JSON: SHA-256 of words not shown


class MemberRow(Base):
    """A learner of a class, known by a name of their choice and by nothing else."""

    __tablename__ = "members"

    id: Mapped[str] = mapped_column(String(12), primary_key=True)  # a pseudonym: events name it
    class_id: Mapped[str] = mapped_column(ForeignKey("classes.id"), index=True)
    name: Mapped[str] = mapped_column(Text)  # JSON
    resume: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256 of the resume code
    joined: Mapped[datetime]


class SeatRow(Base):
    """A browser that has entered, as a member or as the teacher, known by its cookie's hash."""

    __tablename__ = "seats"

    token: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of the cookie
    member: Mapped[str] = mapped_column(String(12), index=True)  # '': the teacher
    until: Mapped[datetime]
