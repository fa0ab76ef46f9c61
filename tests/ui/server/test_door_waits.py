"""Who comes while the database is away waits at the door, and is let in once."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from strata.classroom.codes import hashed
from strata.classroom.roster import Class, Roster
from strata.errors import InputError
from strata.runtime.attempts import Attempts
from strata.storage import database as database_module
from strata.storage.database import AwayError, Database
from strata.ui.server import door
from strata.ui.server.waiting_room import WaitingRoom
from tests.outages import locked_file
from tests.ui.server.test_door import SECRET, app, client, group, join

__all__ = ["client", "group"]
HOSTILE = """O'Hara "<b>" & Ann"""


def away(*_: object) -> Any:
    raise AwayError("The database is away.")


def for_times(times: int, act: Callable[..., Any]) -> Callable[..., Any]:
    """Away so many times, and then there."""
    left = [times]

    def tried(*given: Any) -> Any:
        left[0] -= 1
        return away() if left[0] >= 0 else act(*given)

    return tried


def fields(page: str) -> dict[str, str]:
    """What the form of a page sends by itself."""
    found = re.findall(r'<input type=hidden name=(\w+) value="([^"]*)">', page)
    return {name: unescape(value) for name, value in found}


def test_who_joins_meanwhile_waits_with_what_was_typed_and_is_let_in_once(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.reception
    roster = door.reception.roster
    monkeypatch.setattr(door.reception, "joins", WaitingRoom(Attempts(2, 1_000.0)))
    monkeypatch.setattr(roster, "join", for_times(5, roster.join))
    form = fields(client.get("/join").text)
    assert fields(client.get("/join").text) != form
    form |= {"code": group.code, "name": HOSTILE, "resume": ""}
    for _ in range(5):  # such tries use up nobody's turn
        waits = client.post("/join?next=/scaling", data=form)
        assert waits.status_code == 503
        assert "does not answer just now" in waits.text
        assert 'action="/join?next=/scaling"' in waits.text
        assert HOSTILE not in waits.text
        assert fields(waits.text) == {k: v for k, v in form.items() if v}
        assert waits.headers["cache-control"] == "no-store"
        assert "set-cookie" not in waits.headers
        form = fields(waits.text)
    # The answer is lost on its way, so the browser sends the form once more.
    first, again = (client.post("/join", data=form) for _ in range(2))
    assert first.status_code == again.status_code == 200
    code = re.compile(r"id=resume>([\w-]+)<")
    assert code.findall(first.text) == code.findall(again.text)
    assert [member.name for member in roster.members(group.id)] == [HOSTILE]
    assert client.get("/predictions").text == "a page"
    assert roster.resume(code.findall(first.text)[0]).name == HOSTILE


def test_who_was_let_in_is_in_though_the_class_is_closed_by_now(
    group: Class, database: Database
) -> None:
    """The answer was lost, and the form is sent once more."""
    roster, form = Roster(database), "f" * 32
    ann = roster.join(group.code, "Ann", form)
    roster.change(group.id, closes=datetime.now(UTC))
    assert roster.join(group.code, "Ann", form) == ann
    with pytest.raises(InputError, match="was closed"):
        roster.join(group.code, "Ben", form)


def test_the_same_form_with_another_name_is_somebody_else(group: Class, database: Database) -> None:
    """On a shared computer the page before may be shown again."""
    roster, form = Roster(database), "f" * 32
    ann, code = roster.join(group.code, "Ann", form)
    ben, other = roster.join(group.code, "Ben", form)
    assert ann.id != ben.id
    assert code != other
    assert roster.join(group.code, "Ann", form) == (ann, code)
    elsewhere = roster.create("4a")
    assert roster.join(elsewhere.code, "Ann", form)[0].class_id == elsewhere.id
    assert len(roster.members(group.id)) == 2


@pytest.mark.parametrize("form", ["", "short", "x" * 65])
def test_without_a_form_of_its_own_each_is_somebody_else(
    client: TestClient, group: Class, form: str
) -> None:
    assert door.reception
    typed = {"code": group.code, "name": "Ann", "form": form}
    for _ in range(2):
        assert client.post("/join", data=typed).status_code == 200
    assert len(door.reception.roster.members(group.id)) == 2


def test_who_comes_back_meanwhile_waits_too(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.reception
    code = join(client, group)
    client.post("/leave")
    roster = door.reception.roster
    monkeypatch.setattr(roster, "resume", for_times(1, roster.resume))
    waits = client.post("/join", data={"resume": code})
    assert (waits.status_code, fields(waits.text)) == (503, {"resume": code})
    assert client.post("/join", data=fields(waits.text)).status_code == 303


def test_teachers_and_who_leaves_are_kept_waiting_for_some_time(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.reception
    roster = door.reception.roster
    monkeypatch.setattr(door, "PAUSE", 0.0)
    for name in ("seat", "leave"):
        monkeypatch.setattr(roster, name, for_times(2, getattr(roster, name)))
    assert client.post("/teach", data={"secret": SECRET}).status_code == 303
    assert client.get("/class").text == "a page"
    assert client.post("/leave").status_code == 303
    assert client.get("/class").status_code == 303

    monkeypatch.setattr(door, "LONGEST_WAIT", -1.0)
    monkeypatch.setattr(roster, "seat", away)
    monkeypatch.setattr(roster, "leave", away)
    assert "Try again" in client.post("/teach", data={"secret": SECRET}).text
    left = client.post("/leave")
    assert left.status_code == 503
    assert "not left yet" in left.text


def test_a_file_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0)
    with locked_file(tmp_path, None) as held:  # type: ignore[arg-type]
        database = Database(held.url)
        group = Roster(database).create("3b")
        monkeypatch.setattr(door, "reception", door.Reception(Roster(database), hashed(SECRET)))
        with TestClient(app(), follow_redirects=False) as client:
            form = {**fields(client.get("/join").text), "code": group.code, "name": "Ann"}
            held.away()
            waits = client.post("/join", data=form)
            assert waits.status_code == 503
            held.back()
            assert client.post("/join", data=fields(waits.text)).status_code == 200
        assert len(Roster(database).members(group.id)) == 1
        database.close()
