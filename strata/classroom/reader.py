"""What the members of a class did, read once and from then on only what is new.

The teacher's page looks every few seconds, and a class of 300 makes ten thousand events an hour.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import pandas as pd
from sqlalchemy import func, select

from strata.storage.database import Database
from strata.storage.tables import EventRow, MemberRow

EVENTS = ["member", "name", "lesson", "step", "kind", "data", "at"]
# For so long an event may be on its way, its id taken and not yet to be seen: on PostgreSQL a later
# id can be there first.
ON_ITS_WAY = 20.0  # seconds
_OTHERS = ("vote", "mark")  # kinds of events that are of no lesson
_MOST = 8  # classes of which the events are kept

_readers: WeakKeyDictionary[Database, OrderedDict[str, Reader]] = WeakKeyDictionary()
_lock = Lock()


class Reader:
    """The events of one class, as far as they have been read. Safe to share between threads."""

    def __init__(
        self, database: Database, class_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database, self._class_id, self._clock = database, class_id, clock
        self._lock = Lock()
        self._rows: dict[int, tuple[Any, ...]] = {}  # by the event's id
        self._seen: deque[tuple[float, int]] = deque()  # when, and up to which id
        self._settled = 0  # nothing can appear at or before this id any more
        self._names: dict[str, tuple[str, datetime]] = {}
        self._busy: set[str] = set()  # members who did something, as far as the table knows
        self._frame: pd.DataFrame | None = None

    def read(self) -> pd.DataFrame:
        """All events, in order, see `watch.events`. The frame is the caller's own."""
        with self._lock:
            self._look()
            if self._frame is None:
                self._frame = self._table()
            return self._frame.copy(deep=False)

    def _look(self) -> None:
        """Read what is new and add it to the table, or drop the table if that will not do."""
        names, found = self._fetch(self._settled)
        late = bool(found) and found[0][0] < next(reversed(self._rows), 0)  # it was on its way
        self._rows |= {row[0]: row for row in found}
        if late:
            self._rows = dict(sorted(self._rows.items()))
        if self._count != len(self._rows):  # something was deleted
            self._rows, self._frame = {}, None
            self._rows = {row[0]: row for row in self._fetch(0)[1]}
        elif late or names != self._names or not {row[1] for row in found} <= self._busy:
            self._frame = None
        elif found and self._frame is not None:
            new = pd.DataFrame(self._named(found), columns=EVENTS)
            self._frame = pd.concat([self._frame, new], ignore_index=True)
        self._names = names
        now = self._clock()
        if self._rows:
            self._seen.append((now, next(reversed(self._rows))))
        while self._seen and now - self._seen[0][0] > ON_ITS_WAY:
            self._settled = self._seen.popleft()[1]

    def _fetch(self, after: int) -> tuple[dict[str, tuple[str, datetime]], list[tuple[Any, ...]]]:
        """The members, and the events after an id; also counts all that there are."""
        mine = MemberRow.class_id == self._class_id
        members = select(MemberRow.id, MemberRow.name, MemberRow.joined).where(mine)
        e = EventRow
        new = select(e.id, e.learner, e.lesson, e.step, e.kind, e.data, e.at).where(e.id > after)
        with self._database.session() as session:
            self._count = session.scalar(self._of_class(select(func.count(e.id)))) or 0
            found = [
                (row.id, row.learner, row.lesson, row.step + 1, row.kind, row.data, row.at)
                for row in session.execute(self._of_class(new).order_by(e.id))
                if row.id not in self._rows
            ]
            names = {
                row.id: (json.loads(row.name), row.joined)
                for row in session.execute(members.order_by(MemberRow.joined))
            }
        parsed = [(*row[:5], json.loads(row[5]), row[6]) for row in found]
        return names, [row for row in parsed if row[1] in names]

    def _of_class(self, wanted: Any) -> Any:
        mine = MemberRow.class_id == self._class_id
        joined = wanted.join(MemberRow, MemberRow.id == EventRow.learner)
        return joined.where(mine, EventRow.kind.not_in(_OTHERS))

    def _table(self) -> pd.DataFrame:
        self._busy = {row[1] for row in self._rows.values()}
        joined: list[tuple[Any, ...]] = [
            (member, name, "", 0, "joined", {}, at)
            for member, (name, at) in self._names.items()
            if member not in self._busy
        ]
        return pd.DataFrame(joined + self._named(self._rows.values()), columns=EVENTS)

    def _named(self, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [(row[1], self._names[row[1]][0], *row[2:]) for row in rows]


def reader(database: Database, class_id: str) -> Reader:
    """The one reader of a class."""
    with _lock:
        of_it = _readers.setdefault(database, OrderedDict())
        found = of_it.setdefault(class_id, Reader(database, class_id))
        of_it.move_to_end(class_id)
        while len(of_it) > _MOST:
            of_it.popitem(last=False)
        return found
