"""Whatever there is to store of a class: it is in a backup and an export, and goes with its class
and its learner. New tables and columns are found by themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Boolean, Integer, Table, insert, select

from strata.classroom.backup import kept_of, load, save
from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.storage.tables import Base, Moment
from tests.databases import new_place

TABLES = list(Base.metadata.sorted_tables)
# What a row is of: a class, or a learner of it. A table without any of these belongs to nobody.
OF_CLASS = {("classes", "id"), ("votes", "class_id"), ("members", "class_id")}
OF_LEARNER = {("members", "id"), ("events", "learner"), ("figures", "learner"), ("seats", "member")}
OF_BOTH = {"prompts": {"owner": "learner", "class_id": "class"}}
SECRETS = {("members", "resume"), ("events", "key"), ("seats", "token")}


def _whose(table: Table, name: str, number: int) -> str | None:
    of = OF_BOTH.get(table.name, {}).get(name, "")
    if (table.name, name) in OF_CLASS or of == "class":
        return f"class{number}"
    if (table.name, name) in OF_LEARNER or of == "learner":
        return f"learner{number}"
    return None


def _row(table: Table, number: int, at: datetime) -> dict[str, Any]:
    """A row in which no column is what it is by default."""
    row: dict[str, Any] = {}
    for n, column in enumerate(table.columns):
        default = column.default.arg if column.default is not None else None
        if (whose := _whose(table, column.name, number)) is not None:
            row[column.name] = whose
        elif isinstance(column.type, Moment):
            row[column.name] = at + timedelta(minutes=n)
        elif isinstance(column.type, Boolean):
            row[column.name] = not default
        elif isinstance(column.type, Integer):
            row[column.name] = 1_000 * number + n
        elif column.name == "call":
            row[column.name] = json.dumps({"at": at.isoformat()})
        elif default in ("{}", "[]"):
            row[column.name] = json.dumps({"x": n} if default == "{}" else [f"{n}"])
        else:
            row[column.name] = json.dumps(f"{table.name}{n}{number}")[:12]
    return row


def _stored(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.session() as session:
        return {
            table.name: [dict(row) for row in session.execute(select(table)).mappings()]
            for table in TABLES
        }


@pytest.fixture
def both(database: Database) -> Database:
    """Two classes with a learner each, and a row of every table for each of them."""
    at = datetime(2030, 1, 2, 3, 4, tzinfo=UTC)
    with database.session(write=True) as session:
        for number in (1, 2):
            for table in TABLES:
                session.execute(insert(table), _row(table, number, at))
    return database


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Database]:
    with new_place("sqlite", tmp_path / "elsewhere") as place:
        opened = Database(place)
        yield opened
        opened.close()


def test_a_backup_has_every_cell(both: Database, elsewhere: Database, tmp_path: Path) -> None:
    save(both, tmp_path / "backup.gz")
    load(elsewhere, tmp_path / "backup.gz")
    assert _stored(elsewhere) == _stored(both)


def test_an_export_has_every_cell_of_a_learner_but_secrets(both: Database) -> None:
    kept, stored = kept_of(both, ["learner1"]), _stored(both)
    theirs = {name for name, _ in OF_LEARNER} | OF_BOTH.keys()
    for table in TABLES:
        if table.name not in theirs or table.name == "seats":  # which only let somebody in
            assert table.name not in kept
            continue
        [mine] = kept[table.name]
        assert set(mine) == {c.name for c in table.columns if (table.name, c.name) not in SECRETS}
        [row] = [row for row in stored[table.name] if "learner1" in row.values()]
        for name, cell in mine.items():
            plain = row[name].isoformat() if isinstance(row[name], datetime) else row[name]
            assert cell in (
                plain,
                json.loads(plain) if isinstance(plain, str) and '"' in plain else plain,
            )


def _removed(database: Database) -> None:
    Roster(database).remove("class1")


def _expired(database: Database) -> None:
    with database.session(write=True) as session:
        later = datetime.now(UTC) + timedelta(days=9_000)
        classes = Base.metadata.tables["classes"]
        session.execute(classes.update().where(classes.c.id == "class2").values(expires=later))
    old = max(row["expires"] for row in _stored(database)["classes"] if row["id"] == "class1")
    # Of the other class what lets in, and what links name, is over by then as well.
    Roster(database).remove_expired(old)


@pytest.mark.parametrize("end", [_removed, _expired])
def test_nothing_of_a_class_is_left(both: Database, end: Callable[[Database], None]) -> None:
    end(both)
    left = json.dumps(_stored(both), default=str)
    for of_it in ("class1", "learner1"):
        assert of_it not in left
    assert "class2" in left
    assert len(_stored(both)["events"]) == 1


def test_nothing_of_a_learner_is_left(both: Database) -> None:
    before = _stored(both)
    Roster(both).forget("learner1")
    after = _stored(both)
    assert "learner1" not in json.dumps(after, default=str)
    theirs = {name for name, _ in OF_LEARNER} | OF_BOTH.keys()
    for name, rows in before.items():
        assert len(after[name]) == len(rows) - (name in theirs), name


def test_every_table_is_of_a_class_or_of_a_learner() -> None:
    known = {name for name, _ in OF_CLASS | OF_LEARNER} | OF_BOTH.keys()
    assert {table.name for table in TABLES} == known, "say whose the rows are, then mend deletion"
