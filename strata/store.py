"""Prompts behind short ids, so that a link need not carry a learner's text."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from sqlalchemy import URL, DateTime, Engine, String, Text, create_engine, event, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.schema import CreateTable

from strata.errors import InputError, StrataError

MAX_CHARACTERS = 20_000
BUSY_SECONDS = 10


class _Base(DeclarativeBase):
    pass


class _Prompt(_Base):
    __tablename__ = "prompts"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class PromptStore:
    """Texts by secret id: whoever has the id (in a link) can read the text, nobody else finds it.

    `url_or_path` is an SQLAlchemy URL or the path of an SQLite file. Safe to share between
    threads and processes. Raises StrataError if the database cannot be used.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        self._place = str(url_or_path)
        self._engine: Engine | None = None
        self._opening = Lock()

    def save(self, text: str) -> str:
        """Keep a text; the answer is its new id, 22 random characters.

        Two saves never share an id, so an id tells nothing about who else saved the same text.
        Raises InputError for what is not a text, is empty, or is over 20,000 characters.
        """
        if not isinstance(text, str) or not text:
            raise InputError("There is no prompt to keep; type one first.")
        if len(text) > MAX_CHARACTERS:
            raise InputError(
                f"This prompt has {len(text):,} characters; at most {MAX_CHARACTERS:,} can be kept."
            )
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError("This prompt holds half a character, which cannot be kept; retype it.")
        prompt = _Prompt(id=secrets.token_urlsafe(16), text=text, created=datetime.now(UTC))
        identifier = prompt.id
        try:
            with Session(self._open()) as session, session.begin():
                session.add(prompt)
        except SQLAlchemyError as error:
            raise self._unusable(error) from error
        return identifier

    def load(self, id: str) -> str | None:
        """The text behind an id, or None if there is none."""
        if not isinstance(id, str) or not id or not id.isascii():
            return None
        try:
            with Session(self._open()) as session:
                return session.scalar(select(_Prompt.text).where(_Prompt.id == id))
        except SQLAlchemyError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                try:
                    self._engine = _connect(self._place)
                except (SQLAlchemyError, OSError) as error:
                    raise self._unusable(error) from error
            return self._engine

    def _unusable(self, error: Exception) -> StrataError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        place = self._place.split("@")[-1]  # without the password of a URL
        return StrataError(
            f"The prompts stored in {place} cannot be used ({reason}); check that the file can be "
            "written, or move it away to start a new one."
        )


def _connect(place: str) -> Engine:
    if "://" in place:
        engine = create_engine(place, pool_pre_ping=True)
    else:
        path = Path(place).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(URL.create("sqlite", database=str(path)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _share_file)
    with engine.begin() as connection:  # one statement, since two processes may start at once
        connection.execute(CreateTable(_Base.metadata.tables["prompts"], if_not_exists=True))
    return engine


def _share_file(connection, _record) -> None:  # type: ignore[no-untyped-def]
    """Let readers work while one writes, and let writers wait for each other."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
