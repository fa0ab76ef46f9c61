"""A server that was used keeps what it has when its tables change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, DateTime, Integer, MetaData, Table, func, insert, select

from strata.storage import database as module
from strata.storage.database import connected, upgrade


def _revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(module._MIGRATIONS))
    return [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def _fill(connection: Connection, table: Table, number: int) -> None:
    """A row in which every column has a value."""
    row: dict[str, Any] = {}
    for column in table.columns:
        if isinstance(column.type, DateTime):
            row[column.name] = datetime.now(UTC)
        elif column.foreign_keys:
            row[column.name] = f"id {number}"
        elif isinstance(column.type, Integer) or "BOOL" in str(column.type).upper():
            row[column.name] = number if isinstance(column.type, Integer) else True
        else:
            row[column.name] = f"id {number}" if column.name == "id" else f"{number}"
    connection.execute(insert(table), row)


def test_every_migration_keeps_the_rows_that_are_there(place: str) -> None:
    engine = connected(place)
    for number, revision in enumerate(_revisions(), 1):
        upgrade(engine, revision)
        known = MetaData()
        known.reflect(engine)
        tables = [each for each in known.sorted_tables if each.name != "alembic_version"]
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            for table in tables:
                _fill(connection, table, number)
        with engine.connect() as connection:
            for table in tables:
                count = connection.scalar(select(func.count()).select_from(table)) or 0
                assert 1 <= count <= number, table.name
            made = connection.scalar(select(func.count()).select_from(known.tables["events"]))
            assert made == number
    engine.dispose()
