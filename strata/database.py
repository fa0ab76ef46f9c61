"""One database, by URL or file: opened at first use, shared by threads and processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from sqlalchemy import URL, Engine, MetaData, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.schema import CreateTable

from strata.errors import StrataError

BUSY_SECONDS = 10


class Database:
    """Tables of `metadata` in the database that an SQLAlchemy URL or an SQLite file's path names.

    Raises StrataError, which calls the content `what`, if it cannot be used.
    """

    def __init__(self, url_or_path: str | Path, metadata: MetaData, what: str) -> None:
        self._place, self._metadata, self._what = str(url_or_path), metadata, what
        self._engine: Engine | None = None
        self._opening = Lock()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session whose changes are kept at its end, all or none."""
        try:
            with Session(self._open()) as session, session.begin():
                yield session
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
                    self._engine = _connect(self._place, self._metadata)
                except (SQLAlchemyError, OSError) as error:
                    raise self._unusable(error) from error
            return self._engine

    def _unusable(self, error: Exception) -> StrataError:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        place = self._place.split("@")[-1]  # without the password of a URL
        return StrataError(
            f"The {self._what} stored in {place} cannot be used ({reason}); check that the file "
            "can be written, or move it away to start a new one."
        )


def _connect(place: str, metadata: MetaData) -> Engine:
    if "://" in place:
        engine = create_engine(place, pool_pre_ping=True)
    else:
        path = Path(place).expanduser().absolute()
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(URL.create("sqlite", database=str(path)))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _share_file)
    with (
        engine.begin() as connection
    ):  # one statement a table, since two processes may start at once
        for table in metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
    return engine


def _share_file(connection, _record) -> None:  # type: ignore[no-untyped-def]
    """Let readers work while one writes, and let writers wait for each other."""
    connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
