"""Tables come from migrations, one at a time, and writers wait for each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, inspect, select, text

from strata.errors import StrataError
from strata.storage import database as module
from strata.storage.database import AwayError, Database, connected, upgrade
from strata.storage.tables import Base, PromptRow
from tests.databases import AS_SHIPPED


def test_migrations_make_the_tables_that_the_code_knows(place: str) -> None:
    engine = connected(place)
    upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert "alembic_version" in inspect(connection).get_table_names()
    upgrade(engine)  # once more changes nothing
    engine.dispose()


def test_two_that_start_at_once_make_the_tables_once(place: str) -> None:
    def start(_: int) -> int:
        database = Database(place)
        with database.session() as session:
            count = session.scalar(select(func.count()).select_from(PromptRow))
        database.close()
        return int(count or 0)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == [0] * 6


def test_writers_that_read_first_wait_for_each_other(database: Database) -> None:
    """Each reads and then writes: without a lock at the beginning SQLite refuses all but one."""
    with database.session(write=True) as session:
        session.add(PromptRow(id="n", text="0", created=datetime.now(UTC)))

    def add(_: int) -> None:
        with database.session(write=True) as session:
            row = session.scalars(select(PromptRow).with_for_update()).one()
            row.text = str(int(row.text) + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    with database.session() as session:
        assert session.scalars(select(PromptRow.text)).one() == "40"


def test_what_is_stored_is_on_the_disk_before_it_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power cut takes answers that learners were told to be kept."""
    monkeypatch.setattr(module, "SYNCHRONOUS", AS_SHIPPED)
    database = Database(tmp_path / "strata.sqlite")
    with database.session() as session:
        assert session.scalar(text("PRAGMA synchronous")) == 2
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    database.close()


def test_times_keep_their_zone(database: Database) -> None:
    now = datetime.now(UTC)
    with database.session(write=True) as session:
        session.add(PromptRow(id="n", text="0", created=now))
    with database.session() as session:
        assert session.scalars(select(PromptRow.created)).one() == now


def test_a_change_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session(write=True) as session:
            session.add(PromptRow(id="n", text="0", created=datetime.now(UTC)))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.session() as session:
        assert session.scalars(select(PromptRow.id)).all() == []


def test_a_database_of_a_later_strata_is_one_sentence(place: str) -> None:
    engine = connected(place)
    upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(StrataError, match=r"cannot be used .*9999"), Database(place).session():
        pass


def test_the_url_of_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRATA_STATE", str(tmp_path))
    monkeypatch.delenv("STRATA_DATABASE_URL", raising=False)
    assert module.place() == str(tmp_path / "strata.sqlite")
    monkeypatch.setenv("STRATA_DATABASE_URL", "postgresql://host/db")
    assert module.place() == "postgresql://host/db"


def test_threads_of_a_process_write_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would let each poll for the file."""
    database = Database(tmp_path / "a.sqlite")
    begun: list[int] = []
    inside, go = Event(), Event()

    def write(number: int) -> None:
        with database.session(write=True):
            begun.append(number)
            inside.set()
            assert go.wait(10)

    first, second = (Thread(target=write, args=(number,)) for number in (1, 2))
    first.start()
    assert inside.wait(10)
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.05)
    with pytest.raises(AwayError, match="others are writing"), database.session(write=True):
        begun.append(0)
    monkeypatch.setattr(module, "BUSY_SECONDS", 10)
    database._away.clear()
    second.start()
    go.set()
    for each in (first, second):
        each.join(10)
    assert begun == [1, 2]
    database.close()
