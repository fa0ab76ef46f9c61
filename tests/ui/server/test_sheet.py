"""The sheet to print: for a teacher only, and the only place where new resume codes stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from strata.classroom.codes import hashed
from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.ui.server import door, sheet


@pytest.fixture
def client(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    made = door.Reception(Roster(database), hashed("correct horse"))
    monkeypatch.setattr(door, "reception", made)
    app = Starlette(routes=sheet.routes, middleware=[Middleware(door.Door)])
    with TestClient(app, follow_redirects=False) as opened:
        yield opened


def test_the_sheet_is_the_teachers_and_its_codes_let_learners_in(
    client: TestClient, database: Database
) -> None:
    roster = Roster(database)
    group = roster.create("<i>3b")
    (ann, old), (bob, bobs) = (roster.join(group.code, name) for name in ("<b>Ann", "Bob"))
    address = f"/sheet?of={group.id}"
    learner = {"cookie": f"{door.COOKIE}={roster.seat(ann.id)}"}
    teacher = {"cookie": f"{door.COOKIE}={roster.seat()}"}
    assert client.get(address).status_code == 303  # the door
    for ask in (client.get, client.post):
        assert ask(address, headers=learner).status_code == 403
        assert ask("/sheet?of=gone", headers=teacher).status_code == 404
    foreign = {**teacher, "origin": "https://evil.example"}
    assert client.post(address, headers=foreign).status_code == 403
    assert roster.resume(old) == ann  # nothing has become of it yet

    drawn = client.get(address, headers=teacher)
    assert drawn.headers["cache-control"] == "no-store"
    assert f"http://testserver/join?code={group.code}" in drawn.text
    assert 'alt="The link as a QR code"' in drawn.text
    assert "&lt;i&gt;3b" in drawn.text
    assert not re.search("<i>3b|<b>Ann", drawn.text)
    assert roster.resume(old) == ann

    one = client.post(address, data={"learner": ann.id}, headers=teacher)
    [code] = re.findall(r">(\w{4}-\w{4}-\w{4})<", one.text)
    assert (roster.resume(code), roster.resume(bobs)) == (ann, bob)
    assert "&lt;b&gt;Ann" in one.text
    everyone = client.post(address, data={"learner": ""}, headers=teacher)
    codes = re.findall(r">(\w{4}-\w{4}-\w{4})<", everyone.text)
    assert [roster.resume(each).id for each in codes] == [ann.id, bob.id]
