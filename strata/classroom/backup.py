"""What is stored, as data to take away: all of it as a backup, or all of some members."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, insert, select, text

from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.tables import Base, EventRow, FigureRow, MemberRow, Moment, PromptRow

_FORMAT = 1
_AT_ONCE = 500  # rows


def save(database: Database, file: Path) -> int:
    """Write every row of every table to a file; how many they were.

    InputError if the file is there already or cannot be written.
    """
    count = 0
    try:
        with gzip.open(file, "xt", encoding="ascii") as out, database.session() as session:
            out.write(json.dumps({"strata": _FORMAT}) + "\n")
            for table in Base.metadata.sorted_tables:
                for row in session.execute(select(table)).mappings():
                    cells = {name: _plain(value) for name, value in row.items()}
                    out.write(json.dumps([table.name, cells]) + "\n")
                    count += 1
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror or error}).") from error
    return count


def load(database: Database, file: Path) -> int:
    """Read a backup into an empty database, all or nothing; how many rows there were.

    InputError if it is not a backup, or if something is stored already.
    """
    tables = {table.name: table for table in Base.metadata.sorted_tables}
    count = 0
    with database.session(write=True) as session:
        if any(session.scalar(select(func.count()).select_from(t)) for t in tables.values()):
            raise InputError("Something is stored here already; restore into an empty database.")
        waiting: list[dict[str, Any]] = []
        current: Table | None = None
        for name, cells in _lines(file):
            table = tables.get(name)
            if table is None or set(cells) - set(table.columns.keys()):
                raise InputError(f"{file.name} was made by a later Strata; update this one first.")
            if waiting and (table is not current or len(waiting) == _AT_ONCE):
                session.execute(insert(current), waiting)  # type: ignore[arg-type]
                waiting = []
            current = table
            waiting.append({name: _typed(table, name, cell) for name, cell in cells.items()})
            count += 1
        if waiting and current is not None:
            session.execute(insert(current), waiting)
        if session.get_bind().dialect.name == "postgresql":
            number = "SELECT setval(pg_get_serial_sequence('events', 'id'), max(id)) FROM events"
            session.execute(text(number))
    return count


def kept_of(database: Database, member_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """All that is kept of these members, by table, as plain data; but nothing that lets anyone in.
    What is stored as JSON is in the clear."""
    columns = {MemberRow: "id", EventRow: "learner", FigureRow: "learner", PromptRow: "owner"}
    packed, secret = {"name", "data", "text", "figure", "code", "run"}, {"resume", "key"}
    kept: dict[str, list[dict[str, Any]]] = {}
    with database.session() as session:
        for table, column in columns.items():
            mine = select(table.__table__).where(getattr(table, column).in_(member_ids))
            rows = session.execute(mine.order_by(*table.__table__.primary_key)).mappings()
            kept[table.__tablename__] = [
                {
                    name: json.loads(cell) if name in packed and cell else _plain(cell)
                    for name, cell in row.items()
                    if name not in secret
                }
                for row in rows
            ]
    return kept


def _lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with gzip.open(file, "rt", encoding="ascii") as lines:
            if json.loads(next(lines, "0")) != {"strata": _FORMAT}:
                raise ValueError("another beginning")
            for line in lines:
                name, cells = json.loads(line)
                yield str(name), dict(cells)
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"{file} is not a backup that can be read ({error}).") from error


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _typed(table: Table, name: str, cell: Any) -> Any:
    if isinstance(cell, str) and isinstance(table.columns[name].type, Moment):
        return datetime.fromisoformat(cell)
    return cell
