"""That classes have changed, told by PostgreSQL to every server at once (NOTIFY and LISTEN)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import event, make_url, text
from sqlalchemy.orm import ORMExecuteState, Session

from strata.storage.tables import ClassRow

_CHANNEL = "strata_classes"  # of the whole database: a notice says of which schema
_ARRIVES = 3.0  # seconds in which the first one does, if any will
_TELL = f"SELECT pg_notify('{_CHANNEL}', current_schema())"


async def heard(place: str, settings: Mapping[str, Any]) -> AsyncIterator[None]:
    """One when it is known that they arrive, then one for each change of `ClassRow`s by any server.

    `settings`: psycopg's, of a connection. OSError where there are none, as of SQLite, and when the
    line is lost.
    """
    if not place.startswith("postgresql"):
        raise OSError("Only PostgreSQL tells of changes.")
    import psycopg

    url = make_url(place).set(drivername="postgresql").render_as_string(hide_password=False)

    def connected() -> Any:
        return psycopg.AsyncConnection.connect(url, autocommit=True, **settings)

    try:
        async with await connected() as line:
            await line.execute(f"LISTEN {_CHANNEL}")
            # From another connection: what pools them may swallow what it does not know of.
            async with await connected() as other:
                answer = await other.execute(f"{_TELL}, current_schema()")
                schema = (await answer.fetchone())[1]
            until = time.monotonic() + _ARRIVES
            told: list[str] = []  # of whom; other schemas' servers speak on this line too
            while schema not in told:
                if (left := until - time.monotonic()) <= 0:
                    raise OSError("The database's notices do not arrive.")
                told = [n.payload async for n in line.notifies(timeout=left, stop_after=1)]
            yield
            async for notice in line.notifies():
                if notice.payload == schema:
                    yield
    except psycopg.Error as error:
        raise OSError("The database's notices are lost.") from error
    raise OSError("The database's notices have ended.")


@event.listens_for(Session, "after_flush")
def _flushed(session: Session, _context: object) -> None:
    if any(isinstance(row, ClassRow) for row in (*session.new, *session.dirty, *session.deleted)):
        _tell(session)


@event.listens_for(Session, "do_orm_execute")
def _executing(state: ORMExecuteState) -> None:
    changes = state.is_insert or state.is_update or state.is_delete
    if changes and state.bind_mapper is not None and state.bind_mapper.class_ is ClassRow:
        _tell(state.session)


def _tell(session: Session) -> None:
    """PostgreSQL sends it with the commit, so not before the change can be seen."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().execute(text(_TELL))
