"""PostgreSQL tells every server of a change of classes, with the commit; SQLite tells nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from strata.classroom.asked import Asked
from strata.classroom.roster import Roster
from strata.classroom.votes import Votes, call
from strata.storage import notices
from strata.storage.database import Database
from strata.storage.tables import ClassRow
from tests.databases import new_place
from tests.loops import run_apart

NONE = 0.3  # seconds in which nothing is heard where nothing is told
SOON = 30.0  # seconds, for a machine that is busy
Told = asyncio.Queue[str]


def listening(database: Database, then: Callable[[Told], Coroutine[Any, Any, None]]) -> None:
    """Do something while the notices of a database go into a queue, and their end as "lost"."""

    async def hear(told: Told) -> None:
        with suppress(OSError):
            async for _ in database.notices():
                told.put_nowait("changed")
        told.put_nowait("lost")

    async def both() -> None:
        told = Told()
        hearing = asyncio.create_task(hear(told))
        assert await soon(told) == "changed"  # that they arrive at all
        await then(told)
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)

    run_apart(both())


async def soon(told: Told) -> str:
    return await asyncio.wait_for(told.get(), SOON)


def only_postgresql(database: Database) -> None:
    if database.place.startswith("postgresql"):
        return
    with pytest.raises(OSError, match="Only PostgreSQL"):
        run_apart(database.notices().__anext__())  # type: ignore[arg-type]
    pytest.skip("SQLite tells nobody")


def test_each_change_of_a_class_is_told_with_its_commit(database: Database) -> None:
    only_postgresql(database)
    roster, votes = Roster(database), Votes(database)
    group = roster.create("3b")
    member, _ = roster.join(group.code, "Ann")
    where = {"path": "/scaling", "query": "", "title": "S", "prompt": ""}
    changes: tuple[Callable[[], Any], ...] = (
        lambda: votes.open(group.id, Asked.own("Which?", ["a", "b"])),
        lambda: votes.change(votes.all(group.id)[0].id, phase="talk"),
        lambda: call(database, group.id, where),
        lambda: roster.change(group.id, name="3c"),
        lambda: roster.forget(member.id),
        lambda: roster.create("4a"),
        lambda: roster.remove(group.id),
    )

    async def each(told: Told) -> None:
        for change in changes:
            change()
            assert await soon(told) == "changed"
            assert told.empty()

    listening(database, each)


def test_what_is_taken_back_or_elsewhere_or_no_class_is_not_told(
    database: Database, tmp_path: Any
) -> None:
    only_postgresql(database)
    roster = Roster(database)
    group = roster.create("3b")

    async def nothing(told: Told) -> None:
        with suppress(ZeroDivisionError), database.session(write=True) as session:
            row = session.get(ClassRow, group.id)
            assert row
            row.revision += 1
            session.flush()
            1 / 0  # noqa: B018
        with new_place("postgresql", tmp_path) as other:
            there = Database(other)
            Roster(there).create("in another schema of the same database")
            there.close()
        roster.join(group.code, "Ann")
        await asyncio.sleep(NONE)
        assert told.empty()
        roster.create("4a")
        assert await soon(told) == "changed"

    listening(database, nothing)


def test_notices_that_do_not_arrive_are_not_relied_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pool of connections that gives them away between two statements."""
    only_postgresql(database)
    monkeypatch.setattr(notices, "_ARRIVES", 0.2)
    monkeypatch.setattr(notices, "_TELL", "SELECT pg_notify('elsewhere', current_schema())")
    with pytest.raises(OSError, match="do not arrive"):
        run_apart(database.notices().__anext__())  # type: ignore[arg-type]


def test_a_line_that_is_lost_is_noticed(database: Database) -> None:
    only_postgresql(database)

    async def cut(told: Told) -> None:
        with database.session() as session:
            session.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE query LIKE 'LISTEN strata%' OR query LIKE 'SELECT current_schema%'"
                )
            )
        assert await soon(told) == "lost"

    listening(database, cut)
