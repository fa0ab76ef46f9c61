"""One database, by URL or file: up to date from its first use, for all threads and processes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    TimeoutError,
)
from sqlalchemy.orm import Session

from strata.errors import StrataError
from strata.runtime.folders import state
from strata.storage import notices
from strata.storage.secret import secret

BUSY_SECONDS = 5  # how long a writer waits for another one
LOST_SECONDS = 3  # after which a server that does not answer is taken for lost
SYNCHRONOUS = "FULL"  # of SQLite: what is stored is on the disk, also if the power goes next
PAUSE = 1.0  # seconds between two attempts at a database that is away
_SLOW = 0.3  # seconds: a failure that comes sooner may be had by everyone
_MIGRATING_SECONDS = 30  # how long a process waits while another one changes the tables
_MIGRATIONS = Path(__file__).parent / "migrations"
_ONE_AT_A_TIME = 7_226_341  # any number: the lock under which PostgreSQL's schema changes

# What says that a database cannot be reached or written, and not that a row is wrong. Of SQLite:
# no permission, busy, locked, no memory, read-only, interrupted, I/O, corrupt, full, cannot open,
# protocol, not a database.
_SQLITE_AWAY = frozenset((3, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26))
# Of PostgreSQL, classes of SQLSTATE: connection, read-only, authorization, no such database,
# rolled back, no privilege or no such table, full, locked, shut down, I/O.
_POSTGRES_AWAY = tuple("08 25006 25P03 28 3D 40 42501 42P01 53 55 57 58".split())


class AwayError(StrataError):
    """The database cannot be reached or written now; the same may succeed later."""


class Database:
    """The tables of `strata.storage.tables`, where an SQLAlchemy URL or an SQLite file's path says.

    Raises AwayError if it cannot be reached or written, StrataError if it refuses. After a failure
    that took its time one caller in a second tries again; the others are told at once, so that
    nobody waits in a row for a server that is gone.
    """

    def __init__(self, url_or_path: str | Path) -> None:
        self.place = str(url_or_path)
        self._engine: Engine | None = None
        self._opening, self._writing = Lock(), Lock()
        self._failed = 0.0, ""  # when and why it could not be opened last
        self._away: dict[bool, tuple[float, str]] = {}  # by `write`: whom to tell why until when

    @property
    def away(self) -> bool:
        """Whether it could not be read when that was tried last."""
        return False in self._away

    @contextmanager
    def session(self, write: bool = False) -> Iterator[Session]:
        """A session whose changes are kept at its end, all or none.

        `write`: it will change something. SQLite's writers then queue up at its beginning, instead
        of failing where they find that another one was faster.
        """
        self._admit(write)
        begun = time.monotonic()
        try:
            engine = self._open()
            turn = self._turn() if write and engine.dialect.name == "sqlite" else nullcontext()
            with turn, Session(engine) as session, session.begin():
                session.connection(execution_options={"writes": write})
                yield session
        except AwayError as error:
            self._missed(write, begun, str(error))
            raise
        except SQLAlchemyError as error:
            reason = _reason(error)
            if not is_away(error):
                self._away.pop(write, None)
                raise StrataError(self._sentence(reason)) from error
            if "no such table" in reason or _state(error) == "42P01":
                self.close()  # another database is in its place: the next call makes its tables
            self._missed(write, begun, self._sentence(reason))
            raise AwayError(self._sentence(reason)) from error
        except Exception:  # the caller's own: the database was there
            self._away.pop(write, None)
            raise
        self._away.pop(write, None)

    def notices(self) -> AsyncIterator[None]:
        """One for each change of classes, see `strata.storage.notices`. OSError where nothing tells
        of them."""
        return notices.heard(self.place, _settings(self.place).get("connect_args", {}))

    def close(self) -> None:
        """Let go of the database; the next call opens it again."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One of this process's threads writes at a time: SQLite's own waiting for a file is
        polling, in which one of many may find it taken again and again."""
        if not self._writing.acquire(timeout=BUSY_SECONDS):
            raise AwayError(self._sentence("others are writing"))
        try:
            yield
        finally:
            self._writing.release()

    def _admit(self, write: bool) -> None:
        """Let one caller in a second try a database that is away, and tell the others."""
        until, why = self._away.get(write, (0.0, ""))
        now = time.monotonic()
        if now < until:
            raise AwayError(why)
        if why:  # this caller tries for all, for as long as that may take
            self._away[write] = now + LOST_SECONDS + PAUSE, why

    def _missed(self, write: bool, begun: float, why: str) -> None:
        now = time.monotonic()
        self._away[write] = now + (PAUSE if now - begun > _SLOW else 0.0), why

    def _open(self) -> Engine:
        came = time.monotonic()
        with self._opening:
            if self._engine is None:
                when, why = self._failed
                if when >= came:  # somebody has tried while this one waited
                    raise AwayError(why)
                try:
                    engine = connected(self.place)
                    upgrade(engine)
                except (SQLAlchemyError, OSError, CommandError) as error:
                    why = self._sentence(_reason(error))
                    self._failed = time.monotonic(), why
                    raise AwayError(why) from error
                self._engine = engine
            return self._engine

    def _sentence(self, reason: str) -> str:
        place = self.place.split("@")[-1]  # without the password of a URL
        return (
            f"What learners store in {place} cannot be used ({reason}); check that it can be "
            "written, or move it away to start a new one."
        )


def is_away(error: SQLAlchemyError) -> bool:
    """Whether a database could not be reached or written, rather than that it refused a row."""
    if isinstance(error, TimeoutError):  # all connections are in use
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _SQLITE_AWAY or "no such table" in str(error.orig)
    if state := _state(error):
        return state.startswith(_POSTGRES_AWAY)
    lost = isinstance(error, OperationalError | InterfaceError)  # before the server said anything
    return lost or error.connection_invalidated


def _state(error: SQLAlchemyError) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def place() -> str:
    """Where learners' data are: the URL in STRATA_DATABASE_URL, with the password in
    STRATA_DATABASE_PASSWORD if there is one, else a file in `state()`."""
    url = os.environ.get("STRATA_DATABASE_URL")
    password = secret("STRATA_DATABASE_PASSWORD")
    if url and password:
        url = make_url(url).set(password=password).render_as_string(hide_password=False)
    return url or str(state() / "strata.sqlite")


@cache
def shared() -> Database:
    """The one database of this process, where `place` says."""
    return Database(place())


def connected(place: str) -> Engine:
    """An engine for a URL, or for the path of an SQLite file, whose folder is made."""
    if "://" in place:
        url = place.replace("postgresql://", "postgresql+psycopg://", 1)
        engine = create_engine(url, pool_pre_ping=True, **_settings(url))
    else:
        path = Path(place).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(URL.create("sqlite", database=str(path)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _share_file)
        event.listen(engine, "checkout", _same_file)
        event.listen(engine, "begin", _begin)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _wait_no_longer)
    return engine


def _settings(url: str) -> dict[str, Any]:
    """Of PostgreSQL: connections for many threads that each need one for a moment, and a server
    that does not answer is an error in a few seconds, also if its machine has gone."""
    if not url.startswith("postgresql"):
        return {}
    alive = {"keepalives_idle": LOST_SECONDS, "keepalives_interval": 1, "keepalives_count": 3}
    return {
        "pool_size": 10,
        "max_overflow": 10,
        "pool_timeout": LOST_SECONDS,
        "pool_use_lifo": True,
        "connect_args": {
            "connect_timeout": LOST_SECONDS,
            "tcp_user_timeout": LOST_SECONDS * 1000,
            **alive,
        },
    }


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision; two processes that start at once do it one by one. Where
    they are there already nothing is written."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    wanted = ScriptDirectory.from_config(config).as_revision_number(revision)
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == wanted:
            return
    with engine.connect().execution_options(writes=True) as connection:
        if connection.dialect.name == "sqlite":
            _busy(connection.connection, _MIGRATING_SECONDS)
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = '{_MIGRATING_SECONDS}s'"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        if connection.dialect.name == "sqlite":
            _busy(connection.connection, BUSY_SECONDS)


def _busy(connection: Any, seconds: int) -> None:
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000}")


def _share_file(connection: Any, record: Any) -> None:
    """Let readers work while one writes, and let writers wait for each other."""
    connection.isolation_level = None  # transactions begin where `_begin` says
    _busy(connection, BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute("PRAGMA foreign_keys = ON")
    record.info["path"] = connection.execute("PRAGMA database_list").fetchone()[2]
    record.info["file"] = _file(record.info["path"])


def _same_file(connection: Any, record: Any, _proxy: Any) -> None:
    """SQLite would go on writing into a file that was moved away or deleted."""
    if _file(record.info["path"]) != record.info["file"]:
        raise DisconnectionError("another file is in the place of the database")


def _file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _wait_no_longer(connection: Any, _record: Any) -> None:
    """Whoever waits for another's lock is told soon that it cannot be had."""
    connection.autocommit = True
    connection.execute(f"SET lock_timeout = '{BUSY_SECONDS}s'")
    connection.autocommit = False


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
