"""Classes never see each other; what was let go is gone; both databases say the same."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from strata.classroom.backup import kept_of
from strata.classroom.codes import new_code
from strata.classroom.roster import Class, Roster, zone_named
from strata.classroom.votes import call
from strata.errors import InputError
from strata.lessons.progress import LOCAL, Progress
from strata.storage.database import Database
from strata.storage.prompts import PromptStore
from strata.storage.tables import Base, ClassRow, MemberRow, SeatRow
from tests.lessons.test_progress import GUESS


@pytest.fixture
def roster(database: Database) -> Roster:
    return Roster(database)


def test_a_class_is_as_it_was_made_and_changed(roster: Roster) -> None:
    over = datetime.now(UTC) + timedelta(days=1)
    made = roster.create(" 3b <i> ", lessons=["b", "a"], model="m", expires=over)
    assert (made.name, made.lessons, made.model, made.expires) == ("3b <i>", ("b", "a"), "m", over)
    assert roster.classes() == [made]
    assert roster.by_code(made.code.upper().replace("-", "")) == made
    roster.change(made.id, model="", lessons=[])
    assert roster.classes() == [replace(made, model="", lessons=())]
    for wrong in ({"id": "x"}, {"name": ""}):
        with pytest.raises(InputError):
            roster.change(made.id, **wrong)
    with pytest.raises(InputError, match="not there"):
        roster.change("gone", model="m")


def test_joining_and_coming_back(roster: Roster) -> None:
    group = roster.create("3b")
    ann, code = roster.join(group.code, "Ann")
    other, _ = roster.join(group.code, "Ann")  # two may have one name
    assert ann.id != other.id
    assert roster.members(group.id) == [ann, other]
    assert roster.resume(code.upper().replace("-", " ")) == ann
    new = roster.renew(ann.id)
    with pytest.raises(InputError, match="Nobody has this resume code"):
        roster.resume(code)
    assert roster.resume(new) == ann
    for wrong in ("", "x", "aaaa-aaaa-aaaa", group.code, "' OR 1=1 --"):
        with pytest.raises(InputError, match="Nobody has this resume code"):
            roster.resume(wrong)
    for wrong in ("", "aaaa-aaaa", code, "' OR 1=1 --", "\0", "x" * 100_000):
        with pytest.raises(InputError, match="No class has this code"):
            roster.join(wrong, "Eve")
    with pytest.raises(InputError, match="name"):
        roster.join(group.code, "\u200b")


def test_nothing_that_lets_in_is_stored_itself(roster: Roster, database: Database) -> None:
    _, code = roster.join(roster.create("3b").code, "Ann")
    token = roster.seat()
    with database.session() as session:
        stored = [
            *session.scalars(select(MemberRow.resume)),
            *session.scalars(select(SeatRow.token)),
        ]
    assert not {code, token} & set(stored)
    assert all(len(each) == 64 for each in stored)


@pytest.mark.parametrize(
    ("times", "reason"),
    [
        ({"opens": timedelta(hours=1)}, "opens at"),
        ({"closes": timedelta(hours=-1)}, "was closed"),
        ({"opens": timedelta(hours=-2), "closes": timedelta(hours=1)}, ""),
    ],
)
def test_a_class_is_joined_while_it_is_open(
    roster: Roster, times: dict[str, timedelta], reason: str
) -> None:
    now = datetime.now(UTC)
    group = roster.create("3b", **{name: now + away for name, away in times.items()})
    assert (reason in group.closed()) if reason else not group.closed()
    if reason:
        with pytest.raises(InputError, match=reason):
            roster.join(group.code, "Ann")
    else:
        roster.join(group.code, "Ann")


def test_a_teacher_shuts_the_door_behind_those_who_are_in(roster: Roster) -> None:
    """Nobody new comes in, by the old code or the new one; who is in stays, and comes back."""
    group, other = roster.create("3b"), roster.create("other")
    ann, resume = roster.join(group.code, "Ann")
    token = roster.seat(ann.id)
    roster.change(group.id, joining=False)
    with pytest.raises(InputError, match="takes nobody new just now"):
        roster.join(group.code, "Eve")
    roster.join(other.code, "Bob")
    assert roster.resume(resume) == ann
    code = roster.renew_code(group.id)
    roster.change(group.id, joining=True)
    with pytest.raises(InputError, match="No class has this code"):
        roster.join(group.code, "Eve")
    roster.join(code, "Cid")
    seat = roster.seated(token)
    assert seat
    assert (seat.member, seat.group) == (ann, roster.by_code(code))
    assert roster.resume(resume) == ann
    with pytest.raises(InputError, match="not there any more"):
        roster.renew_code("gone")


def test_the_time_is_told_in_the_readers_zone(roster: Roster) -> None:
    winter = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
    group = roster.create("3b", closes=winter)
    assert group.closed().endswith("closed at 31 January 2026, 23:30 UTC.")
    berlin = group.closed(zone=ZoneInfo("Europe/Berlin"))
    assert berlin.endswith("closed at 01 February 2026, 00:30 (Europe/Berlin).")


@pytest.mark.parametrize(
    "name",
    [None, "", "Nowhere/Land", "../../etc/passwd", "/etc/passwd", "Europe", "\0", "x" * 9_999],
)
def test_a_zone_that_is_none_is_utc(name: str | None) -> None:
    assert zone_named(name) is UTC


def test_seats(roster: Roster) -> None:
    group = roster.create("3b")
    ann, _ = roster.join(group.code, "Ann")
    token, teacher, short = roster.seat(ann.id), roster.seat(), roster.seat(ann.id, hours=0)
    seat = roster.seated(token)
    assert seat
    assert (seat.member, seat.group, seat.is_teacher) == (ann, group, False)
    over = roster.seated(teacher)
    assert over
    assert over.is_teacher
    for nobody in ("", short, token[:-1], "x" * 10_000, ann.id, "\0"):
        assert roster.seated(nobody) is None
    roster.leave(token)
    assert roster.seated(token) is None


def fill(database: Database, group: Class, name: str) -> str:
    """A member who did something of every kind."""
    member, _ = Roster(database).join(group.code, name)
    progress = Progress(database)
    progress.note(member.id, "first", 0)
    progress.commit(member.id, "first", GUESS)
    progress.note(member.id, "first", 0, hints=1, observation=f"by {name}", figure="{}", code="x")
    PromptStore(database).save(f"typed by {name}", member.id, group.id)
    Roster(database).seat(member.id)
    return member.id


def rows(database: Database) -> dict[str, int]:
    with database.session() as session:
        return {
            mapper.local_table.name: len(session.scalars(select(mapper.class_)).all())  # type: ignore[attr-defined]
            for mapper in Base.registry.mappers
        }


def test_forgetting_one_and_removing_a_class_leave_nothing_of_them(
    roster: Roster, database: Database
) -> None:
    first, second = roster.create("first"), roster.create("second")
    empty = rows(database)
    ann = fill(database, first, "Ann")
    one_each = rows(database)
    fill(database, first, "Bob")
    fill(database, second, "Cid")
    roster.forget(ann)
    roster.remove(first.id)
    assert rows(database) == one_each | {"classes": 1}
    assert [member.name for member in roster.members(second.id)] == ["Cid"]
    roster.forget("")
    assert rows(database) == one_each | {"classes": 1}
    roster.remove(second.id)
    assert rows(database) == empty | {"classes": 0}


def test_several_are_forgotten_at_once_and_nobody_else(roster: Roster, database: Database) -> None:
    first, second = roster.create("first"), roster.create("second")
    kept = fill(database, first, "Ann")
    before = rows(database)
    gone = [fill(database, each, name) for each in (first, second) for name in ("Bob", "Cid")]
    revisions = revisions_of(database)
    roster.forget(*gone, "", "never there")
    assert rows(database) == before
    assert [member.id for member in roster.members(first.id)] == [kept]
    grown = revisions_of(database)
    assert all(grown[each.id] > revisions[each.id] for each in (first, second))  # all servers hear


def revisions_of(database: Database) -> dict[str, int]:
    with database.session() as session:
        return {row.id: row.revision for row in session.scalars(select(ClassRow))}


def test_an_expired_class_goes_with_all_its_data(roster: Roster, database: Database) -> None:
    now = datetime.now(UTC)
    over = roster.create("over", expires=now + timedelta(days=1))
    kept = roster.create("kept", expires=now + timedelta(days=9))
    fill(database, over, "Ann")
    assert roster.remove_expired() == 0
    assert roster.remove_expired(now + timedelta(days=2)) == 1
    assert roster.classes() == [kept]
    left = rows(database)
    assert (left["members"], left["events"], left["prompts"]) == (0, 0, 0)


def test_what_is_written_of_a_deleted_member_goes_soon_after(
    roster: Roster, database: Database
) -> None:
    """A page of theirs may still be at work, in this process or another, whose seat is known."""
    group, progress = roster.create("3b"), Progress(database)
    bob, ann = (roster.join(group.code, name)[0].id for name in ("Bob", "Ann"))
    before = rows(database)
    roster.forget(ann)
    roster.remove_expired()
    others = (bob, "teacher", LOCAL, new_code())  # who learn without a class
    for learner in (ann, *others):
        progress.note(learner, "predictions", 0, figure="{}")
        progress.note(learner, "predictions", 0, observation="late")
    for member in (ann, bob):
        PromptStore(database).save("late", member, group.id)
    token = roster.seat(ann)
    Roster(database).remove_expired()  # one that has not heard of it
    left = rows(database)
    assert (left["events"], left["figures"]) == (before["events"] + 4, before["figures"] + 4)
    assert (left["prompts"], left["seats"]) == (1, 0)
    assert roster.seated(token) is None
    for learner in others:
        assert progress.notes(learner, "predictions")[0].observation == "late"
    assert progress.notes(ann, "predictions", drawn=True) == {}


def test_a_class_keeps_no_prompts_longer_than_its_links_need(
    roster: Roster, database: Database
) -> None:
    group, now = roster.create("3b"), datetime.now(UTC)
    fill(database, group, "Ann")
    PromptStore(database).save("in no class")
    roster.remove_expired(now + timedelta(days=1))
    assert rows(database)["prompts"] == 2
    roster.remove_expired(now + timedelta(days=3))
    assert rows(database)["prompts"] == 0
    assert rows(database)["events"] > 0


def test_where_a_class_was_called_to_is_forgotten_when_nobody_follows_any_more(
    roster: Roster, database: Database
) -> None:
    """A learner's words may be in it."""

    def called() -> str:
        with database.session() as session:
            return session.scalars(select(ClassRow.call)).one()

    group = roster.create("3b")
    call(database, group.id, {"title": "Scaling", "prompt": "by Ann"})
    roster.remove_expired()
    assert "by Ann" in called()
    with database.session(write=True) as session:
        row = session.get(ClassRow, group.id)
        assert row
        long_ago = (datetime.now(UTC) - timedelta(minutes=4)).isoformat()
        row.call = json.dumps(json.loads(row.call) | {"at": long_ago})
    roster.remove_expired()
    assert called() == ""
    call(database, group.id, None)  # there is nothing to undo
    assert called() == ""


def test_an_export_holds_all_of_one_and_nothing_of_another(
    roster: Roster, database: Database
) -> None:
    group = roster.create("3b")
    ann, bob = fill(database, group, "Ann"), fill(database, group, "Bob")
    mine: dict[str, list[dict[str, Any]]] = kept_of(database, [ann])
    assert {name: len(each) for name, each in mine.items()} == {
        "members": 1,
        "events": 4,
        "figures": 1,
        "prompts": 1,
    }
    assert bob not in str(mine)
    assert "Bob" not in str(mine)
    assert "resume" not in mine["members"][0]
    assert mine["members"][0]["name"] == "Ann"
    assert mine["prompts"][0]["text"] == "typed by Ann"
    assert {"text": "by Ann"} in [event["data"] for event in mine["events"]]
    assert len(kept_of(database, [ann, bob])["events"]) == 8


def test_a_prompt_is_found_in_its_class_only(roster: Roster, database: Database) -> None:
    store = PromptStore(database)
    first, second = roster.create("first"), roster.create("second")
    prompt = store.save("secret", "ann", first.id)
    assert store.load(prompt, first.id) == "secret"
    assert store.load(prompt, second.id) is None
    assert store.load(prompt) is None
    assert store.load(prompt, None) == "secret"  # who teaches all of them
    assert store.load(store.save("free"), first.id) is None
