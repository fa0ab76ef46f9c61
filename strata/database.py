"""One database, by URL or file: up to date from its first use, for all threads and processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from strata.errors import StrataError
from strata.secret import secret
from strata.weights import state

BUSY_SECONDS = 10
_MIGRATIONS = Path(__file__).parent / "migrations"
_ONE_AT_A_TIME = 7_226_341  # any number: the lock under which PostgreSQL's schema changes


class Database:
    """The tables of `strata.tables`, where an SQLAlchemy URL or an SQLite file's path says.

    Raises StrataError if it cannot be used.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        self._place = str(url_or_path)
        self._engine: Engine | None = None
        self._opening = Lock()

    @contextmanager
    def session(self, write: bool = False) -> Iterator[Session]:
        """A session whose changes are kept at its end, all or none.

        `write`: it will change something. SQLite's writers then queue up at its beginning, instead
        of failing where they find that another one was faster.
        """
        try:
            with Session(self._open()) as session, session.begin():
                session.connection(execution_options={"writes": write})
                yield session
        except SQLAlchemyError as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _open(self) -> Engine:
        with self._opening:
            if self._engine is None:
                try:
                    engine = connected(self._place)
                    upgrade(engine)
                except (SQLAlchemyError, OSError, CommandError) as error:
                    raise self._unusable(error) from error
                self._engine = engine
            return self._engine

    def _unusable(self, error: Exception) -> StrataError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        place = self._place.split("@")[-1]  # without the password of a URL
        return StrataError(
            f"What learners store in {place} cannot be used ({reason}); check that it can be "
            "written, or move it away to start a new one."
        )


def place() -> str:
    """Where learners' data are: the URL in STRATA_DATABASE_URL, with the password in
    STRATA_DATABASE_PASSWORD if there is one, else a file in `state()`."""
    url = os.environ.get("STRATA_DATABASE_URL")
    password = secret("STRATA_DATABASE_PASSWORD")
    if url and password:
        url = make_url(url).set(password=password).render_as_string(hide_password=False)
    return url or str(state() / "strata.sqlite")


def connected(place: str) -> Engine:
    """An engine for a URL, or for the path of an SQLite file, whose folder is made."""
    if "://" in place:
        url = place.replace("postgresql://", "postgresql+psycopg://", 1)
        engine = create_engine(url, pool_pre_ping=True)
    else:
        path = Path(place).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(URL.create("sqlite", database=str(path)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _share_file)
        event.listen(engine, "begin", _begin)
    return engine


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision; two processes that start at once do it one by one."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def _share_file(connection: Any, _record: Any) -> None:
    """Let readers work while one writes, and let writers wait for each other."""
    connection.isolation_level = None  # transactions begin where `_begin` says
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
