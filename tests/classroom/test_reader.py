"""Events are read once; what is late, deleted or renamed is seen nevertheless."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import delete, event, insert

from strata.classroom import watch
from strata.classroom.reader import ON_ITS_WAY, Reader
from strata.classroom.roster import Roster
from strata.lessons.progress import Progress
from strata.storage.database import AwayError, Database
from strata.storage.tables import EventRow


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_was_read_is_not_read_again(database: Database, clock: Clock) -> None:
    roster, progress = Roster(database), Progress(database)
    group = roster.create("3b")
    ann = roster.join(group.code, "Ann")[0].id
    reader = Reader(database, group.id, clock)
    assert reader.read()["kind"].tolist() == ["joined"]
    for step in range(3):
        progress.note(ann, "l", step)
    assert reader.read()["step"].tolist() == [1, 2, 3]
    clock.now += ON_ITS_WAY + 1
    reader.read()

    asked: list[Any] = []
    engine = database._open()
    event.listen(engine, "before_cursor_execute", lambda *told: asked.append(told[3]))
    progress.note(ann, "l", 7)
    asked.clear()
    assert reader.read()["step"].tolist() == [1, 2, 3, 8]
    after = [
        value for told in asked for value in (told.values() if hasattr(told, "values") else told)
    ]
    assert 3 in after  # the id up to which all is known


def test_an_event_that_comes_late_is_seen(database: Database, clock: Clock) -> None:
    roster = Roster(database)
    group = roster.create("3b")
    ann = roster.join(group.code, "Ann")[0].id
    reader = Reader(database, group.id, clock)

    def add(number: int) -> None:
        row = {"id": number, "key": f"k{number}", "learner": ann, "lesson": "l", "step": number}
        row |= {"kind": "visit", "data": "{}", "at": datetime.now(UTC)}
        with database.session(write=True) as session:
            session.execute(insert(EventRow), [row])

    add(2)
    assert reader.read()["step"].tolist() == [3]
    clock.now += ON_ITS_WAY / 2
    add(1)  # its id was taken before, and its transaction ended after
    assert reader.read()["step"].tolist() == [2, 3]


def test_what_is_deleted_vanishes(database: Database, clock: Clock) -> None:
    roster, progress = Roster(database), Progress(database)
    group = roster.create("3b")
    ids = [roster.join(group.code, name)[0].id for name in ("Ann", "Bob")]
    for who in ids:
        progress.note(who, "l", 0)
        progress.note(who, "m", 1)
        progress.mark(who, "a set", "seen")  # of no lesson
    assert len(watch.events(database, group.id)) == 4
    progress.forget(ids[0], "m")
    assert watch.events(database, group.id)["lesson"].tolist() == ["l", "l", "m"]
    roster.forget(ids[1])
    assert watch.events(database, group.id)["name"].tolist() == ["Ann"]
    roster.remove(group.id)
    assert watch.events(database, group.id).empty


def test_a_caller_cannot_change_what_another_sees(database: Database) -> None:
    roster = Roster(database)
    group = roster.create("3b")
    roster.join(group.code, "Ann")
    mine = watch.events(database, group.id)
    mine["name"] = "Eve"
    assert watch.events(database, group.id)["name"].tolist() == ["Ann"]


def test_a_table_that_grew_is_the_table_read_at_once(database: Database, clock: Clock) -> None:
    roster, dice = Roster(database), random.Random(3)
    group = roster.create("3b")
    who = [roster.join(group.code, f"L{n}")[0].id for n in range(3)]
    reader, ids = Reader(database, group.id, clock), list(range(1, 41))
    dice.shuffle(ids)  # some late, some the first of their member
    while ids:
        rows = [
            {"id": number, "key": f"k{number}", "learner": dice.choice(who), "lesson": "l"}
            | {"step": dice.randrange(9), "kind": "hint", "data": '{"n": 1}'}
            | {"at": datetime.now(UTC)}
            for number in (ids.pop() for _ in range(min(len(ids), dice.randrange(4))))
        ]
        if rows:
            with database.session(write=True) as session:
                session.execute(insert(EventRow), rows)
        if dice.random() < 0.2:
            who.append(roster.join(group.code, f"L{len(who)}")[0].id)
        clock.now += 0.1
        whole = Reader(database, group.id, clock).read()
        pd.testing.assert_frame_equal(reader.read(), whole)


def test_a_look_that_fails_after_a_deletion_doubles_nothing(
    database: Database, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, progress = Roster(database), Progress(database)
    group = roster.create("3b")
    ann = roster.join(group.code, "Ann")[0].id
    for step in range(4):
        progress.note(ann, "l", step)
    reader = Reader(database, group.id, clock)
    reader.read()
    with database.session(write=True) as session:
        session.execute(delete(EventRow).where(EventRow.step == 0))
    fetch, looks = reader._fetch, []

    def fails_at_second(after: int) -> Any:
        looks.append(after)
        if len(looks) == 2:
            raise AwayError("The database does not answer.")
        return fetch(after)

    monkeypatch.setattr(reader, "_fetch", fails_at_second)
    with pytest.raises(AwayError):
        reader.read()
    whole = Reader(database, group.id, clock).read()
    pd.testing.assert_frame_equal(reader.read(), whole)
    assert whole["step"].tolist() == [2, 3, 4]
