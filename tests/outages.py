"""Ways in which a database can be away, and back again."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text

from strata.storage import database as database_module
from strata.storage.database import connected
from strata.storage.tables import EventRow
from tests.databases import Server, new_schema


class Place:
    """A database that a test can take away and bring back."""

    def __init__(self, url: str, away: Callable[[], None], back: Callable[[], None]) -> None:
        self.url, self.away, self.back = url, away, back

    def events(self) -> list[tuple[str, int, str]]:
        """What is stored: learner, step, kind, in order; asked past the code under test."""
        engine = connected(self.url)
        with engine.connect() as connection:
            columns = EventRow.learner, EventRow.step, EventRow.kind
            told = select(*columns).where(EventRow.learner != "filling").order_by(EventRow.id)
            rows = connection.execute(told).all()
        engine.dispose()
        return [(row[0], row[1], row[2]) for row in rows]


@contextmanager
def stopped_server(folder: Path, servers: Callable[[], Server]) -> Iterator[Place]:
    server = servers()
    try:
        yield Place(new_schema(server.url)[1], server.stop, server.start)
    finally:
        if not server.runs:
            server.start()


@contextmanager
def read_only_server(folder: Path, servers: Callable[[], Server]) -> Iterator[Place]:
    server = servers()

    try:
        yield Place(
            new_schema(server.url)[1],
            lambda: read_only(server.url, True),
            lambda: read_only(server.url, False),
        )
    finally:
        read_only(server.url, False)


def read_only(url: str, on: bool) -> None:
    """Have a server of one's own refuse all writing, also of who is connected already."""
    engine = create_engine(
        url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text("SET default_transaction_read_only = off"))
        role = f"ALTER ROLE strata SET default_transaction_read_only = {'on' if on else 'off'}"
        connection.execute(text(role))
        others = "pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'postgres'"
        connection.execute(text(f"SELECT {others} AND pid <> pg_backend_pid()"))
    engine.dispose()


@contextmanager
def folder_instead_of_file(
    folder: Path, servers: Callable[[], Server] | None = None
) -> Iterator[Place]:
    file, aside, nowhere = (folder / name for name in ("strata.sqlite", "aside", "nowhere"))

    def away() -> None:
        with closing(sqlite3.connect(file)) as connection:  # a file without its log is whole
            for _ in range(200):  # on a busy machine a reader may still be in the way
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if not busy:
                    break
                time.sleep(0.05)
        aside.mkdir()
        (aside / file.name).hardlink_to(file)
        # At no moment is there nothing in its place, where who looks would begin a new database.
        nowhere.symlink_to(aside)
        nowhere.replace(file)
        for each in folder.glob("strata.sqlite-*"):
            each.rename(aside / each.name)

    def back() -> None:
        for each in aside.glob("strata.sqlite-*"):
            each.rename(folder / each.name)
        (aside / file.name).replace(file)

    yield Place(str(file), away, back)


@contextmanager
def locked_file(folder: Path, servers: Callable[[], Server]) -> Iterator[Place]:
    """Another program is in the middle of writing, and stays there."""
    file = folder / "strata.sqlite"
    holder = ["import sqlite3, sys", f"c = sqlite3.connect({str(file)!r}, isolation_level=None)"]
    holder += ["c.execute('BEGIN IMMEDIATE')", "print('held', flush=True)", "sys.stdin.read()"]
    running: list[subprocess.Popen[str]] = []

    def away() -> None:
        command = [sys.executable, "-c", "\n".join(holder)]
        pipe = subprocess.PIPE
        running.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        assert running[0].stdout
        assert running[0].stdout.readline() == "held\n"

    def back() -> None:
        running.pop().communicate()

    yield Place(str(file), away, back)
    if running:
        back()


@contextmanager
def pragma(folder: Path, pragma: str, undo: str) -> Iterator[Place]:
    """SQLite's own errors: root may write what is read-only, and no test fills the disk."""
    with pytest.MonkeyPatch.context() as patch:
        pragmas = ["PRAGMA user_version"]
        begin = database_module._begin

        def begin_after(connection: object) -> None:
            connection.connection.driver_connection.execute(pragmas[0])  # type: ignore[attr-defined]
            begin(connection)  # type: ignore[arg-type]

        patch.setattr(database_module, "_begin", begin_after)
        file = folder / "strata.sqlite"

        def away() -> None:
            pragmas[0] = f"PRAGMA {pragma}"
            if "count" in pragma:
                fill(file)

        yield Place(str(file), away, lambda: pragmas.__setitem__(0, f"PRAGMA {undo}"))


def fill(file: Path) -> None:
    """Leave no room in the pages that the file has."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA max_page_count = 1")  # which means: as many as there are
    for size in (200, 1):  # what is small may still fit where what is large does not
        values = f"(hex(randomblob(32)), 'filling', 'l', 0, 'k', hex(randomblob({size})), '2020')"
        into = "events (key, learner, lesson, step, kind, data, at)"
        with suppress(sqlite3.OperationalError):
            while True:
                connection.execute(f"INSERT INTO {into} VALUES {values}")
    connection.close()


# `servers` gives a PostgreSQL server that a test may stop; whoever asks for one has it run again.
WAYS = {
    "server stopped": stopped_server,
    "server read-only": read_only_server,
    "folder instead of file": folder_instead_of_file,
    "file locked": locked_file,
    "file read-only": lambda folder, servers: pragma(folder, "query_only = 1", "query_only = 0"),
    "disk full": lambda folder, servers: pragma(
        folder, "max_page_count = 1", "max_page_count = 9999"
    ),
}
