"""A class's sockets: who hears what, and what becomes of a ballot."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from strata.classroom.asked import Asked
from strata.classroom.board import Board
from strata.classroom.codes import hashed
from strata.classroom.roster import Class, Roster
from strata.classroom.votes import Votes, call
from strata.classroom.wall import give_time
from strata.lessons.progress import Progress
from strata.runtime.attempts import Attempts
from strata.storage.database import AwayError, Database
from strata.ui.server import door, live

OWN = Asked.own("Which?", ["a", "b"], right=1)
KEY = "a-key-of-its-own"


@pytest.fixture
def group(database: Database, monkeypatch: pytest.MonkeyPatch) -> Class:
    roster = Roster(database)
    monkeypatch.setattr(door, "reception", door.Reception(roster, hashed("correct horse")))
    opened = live.Desk(Board(database), Votes(database), Progress(database), Roster(database))
    monkeypatch.setattr(live, "desk", opened)
    monkeypatch.setattr(live, "EVERY", 0.02)
    return roster.create("3b")


@pytest.fixture
def client(group: Class) -> Iterator[TestClient]:
    with TestClient(app(), follow_redirects=False) as opened:
        yield opened


def app() -> Starlette:
    return Starlette(
        routes=live.routes,
        middleware=[Middleware(door.Door)],
        lifespan=lambda app: live.watching(),
    )


def seated(client: TestClient, group: Class, name: str) -> tuple[dict[str, str], str]:
    """The headers of a new member's browser, and the member's id."""
    assert door.reception is not None
    member, _ = door.reception.roster.join(group.code, name)
    return {"cookie": f"{door.COOKIE}={door.reception.roster.seat(member.id)}"}, member.id


def cookie_of(client: TestClient, group: Class) -> tuple[door.Reception, str]:
    """The reception, and what a new member's browser shows it."""
    headers, _ = seated(client, group, "Ann")
    assert door.reception is not None
    return door.reception, headers["cookie"].split("=", 1)[1]


def ballot(vote: str, guess: Any = 1, round_: Any = 1, key: Any = KEY) -> str:
    return json.dumps({"vote": vote, "round": round_, "guess": guess, "key": key})


def test_who_is_in_the_class_hears_of_a_vote_and_nobody_else(
    client: TestClient, group: Class, database: Database
) -> None:
    votes, other = Votes(database), Roster(database).create("other")
    ann, ann_id = seated(client, group, "Ann")
    eve, _ = seated(client, other, "Eve")
    with (
        client.websocket_connect("/live", headers=ann) as mine,
        client.websocket_connect("/live", headers=eve) as hers,
    ):
        assert "vote" not in mine.receive_json()
        assert "vote" not in hers.receive_json()
        vote = votes.open(group.id, OWN)
        while "vote" not in (heard := mine.receive_json()):
            pass
        assert heard["vote"]["ask"] == "Which?"
        sent = client.post("/live/vote", content=ballot(vote.id), headers=ann)
        assert (sent.status_code, sent.json()) == (200, {"kept": True})
        votes.change(vote.id, phase="talk", shown=True)
        while "results" not in (heard := mine.receive_json()["vote"]):
            pass
        assert [bar["learners"] for bar in heard["results"]] == [[0], [1]]
        # Eve's news is of her own class, with nothing of the other's.
        call(database, other.id, {"path": "/scaling", "query": "", "title": "S", "prompt": ""})
        while "call" not in (news := hers.receive_json()):
            assert "vote" not in news
        assert news["call"]["path"] == "/scaling"
        assert "vote" not in news
        refused = client.post("/live/vote", content=ballot(vote.id), headers=eve)
        assert refused.status_code == 409
    assert votes.ballots(vote.id)[vote.id] == {1: {ann_id: 1}, 2: {}}
    with client.websocket_connect("/live", headers=ann) as again:  # another browser of Ann's
        assert again.receive_json().items() >= {"mine": {"1": 1}, "who": ann_id}.items()


def test_who_hears_that_the_class_is_closed_is_refused_from_then_on(
    client: TestClient, group: Class
) -> None:
    ann, _ = seated(client, group, "Ann")
    token = ann["cookie"].split("=", 1)[1]
    assert door.reception is not None
    with client.websocket_connect("/live", headers=ann) as socket:
        before = door.reception.seated(token)
        assert before is not None
        assert before.group is not None
        assert not before.group.closed()
        door.reception.roster.change(group.id, closes=datetime.now(UTC))
        while not socket.receive_json().get("closed"):
            pass
        after = door.reception.seated(token)
        assert after is not None
        assert after.group is not None
        assert "was closed" in after.group.closed()


def test_who_was_deleted_is_out_where_they_are_seated(client: TestClient, group: Class) -> None:
    """As well on a server other than that of the teacher who deleted them."""
    ann, ann_id = seated(client, group, "Ann")
    token = ann["cookie"].split("=", 1)[1]
    assert door.reception is not None
    bob, _ = seated(client, group, "Bob")
    with (
        client.websocket_connect("/live", headers=ann) as socket,
        client.websocket_connect("/live", headers=bob) as other,
    ):
        before = socket.receive_json()["revision"]
        assert door.reception.seated(token) is not None
        door.reception.roster.forget(ann_id)
        while (heard := socket.receive_json())["revision"] == before:
            pass
        assert "taken out of the class 3b" in heard["gone"]
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
        assert door.reception.seated(token) is None
        while (news := other.receive_json())["revision"] <= before:
            pass
        assert "gone" not in news


def test_who_has_joined_since_the_latest_look_is_not_called_deleted(
    client: TestClient, group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live.desk is not None
    ann, _ = seated(client, group, "Ann")
    with client.websocket_connect("/live", headers=ann) as socket:
        monkeypatch.setattr(live.desk.board, "knows", lambda class_id, member: False)
        give_time(database, group.id, timedelta(minutes=1))
        while (heard := socket.receive_json()).get("left") is None:
            pass
        give_time(database, group.id, None)
        while (heard := socket.receive_json()).get("left") is not None:
            pass
        assert "gone" not in heard


def test_a_round_is_over_when_its_time_is_up(
    client: TestClient, group: Class, database: Database
) -> None:
    ann, _ = seated(client, group, "Ann")
    with client.websocket_connect("/live", headers=ann) as socket:
        vote = Votes(database).open(group.id, OWN)
        give_time(database, group.id, timedelta(seconds=0.01))
        while socket.receive_json().get("vote", {}).get("phase") != "talk":
            pass
    sent = client.post("/live/vote", content=ballot(vote.id), headers=ann)
    assert sent.status_code == 409


def test_who_leaves_while_they_are_looked_up_is_out(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    reception, token = cookie_of(client, group)
    leave = reception.roster.leave

    def slowly(token: str) -> None:
        assert reception.seated(token) is not None  # a page of theirs, before it is written
        leave(token)

    monkeypatch.setattr(reception.roster, "leave", slowly)
    reception.forget(token)
    assert reception.seated(token) is None


def test_a_look_that_fails_half_way_loses_no_news(
    group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live.desk is not None
    board, roster = live.desk.board, Roster(database)
    other = roster.create("other")
    board.look()
    for each in (group, other):
        roster.change(each.id, closes=datetime.now(UTC))
    read, asked = board._read, list[str]()

    def fails_at_the_second(class_id: str, revision: int) -> None:
        asked.append(class_id)
        if len(asked) == 2:
            raise AwayError("The database is away.")
        read(class_id, revision)

    with monkeypatch.context() as away:
        away.setattr(board, "_read", fails_at_the_second)
        with pytest.raises(AwayError):
            board.look()
    assert board.look() == {group.id, other.id}
    assert board.look() == set()


def test_a_look_at_a_seat_that_crosses_a_change_is_not_kept(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    reception, token = cookie_of(client, group)
    look = reception.roster.seated

    def slowly(token: str) -> Any:
        found = look(token)
        reception.roster.change(group.id, closes=datetime.now(UTC))
        reception.changed({group.id})
        return found

    monkeypatch.setattr(reception.roster, "seated", slowly)
    reception.seated(token)
    monkeypatch.undo()
    monkeypatch.setattr(door, "reception", reception)
    after = reception.seated(token)
    assert after is not None
    assert after.group is not None
    assert "was closed" in after.group.closed()


def test_a_ballot_is_kept_once_and_only_while_its_round_is_open(
    client: TestClient, group: Class, database: Database
) -> None:
    votes = Votes(database)
    ann, ann_id = seated(client, group, "Ann")
    vote = votes.open(group.id, OWN)
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass

        def send(**said: Any) -> int:
            return client.post(
                "/live/vote", content=ballot(vote.id, **said), headers=ann
            ).status_code

        assert send() == send() == 200
        assert send(guess=0, key="another-key") == 200  # changed
        assert send(key="short") == send(key=7) == send(round_=2) == send(round_=True) == 409
        assert send(guess=5) == send(guess="<b>") == send(guess=[1]) == 409
        for body in ("", "[]", "{", "null", '{"vote": 1}', "[" * 1_900, "x" * 5_000, '"\\ud800"'):
            sent = client.post("/live/vote", content=body, headers=ann)
            assert sent.status_code == 409
            assert "Traceback" not in sent.text
        votes.change(vote.id, phase="talk")
        while socket.receive_json()["vote"]["phase"] != "talk":
            pass
        assert send(key="a-later-key") == 409
    assert votes.ballots(vote.id)[vote.id] == {1: {ann_id: 0}, 2: {}}


def test_a_change_is_told_at_once_and_rarely_looked_for(
    group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database tells of it; where it does not, or not any more, by a look."""
    assert live.desk
    looks, look = list[float](), live.desk.board.look
    heard: asyncio.Queue[bool] = asyncio.Queue()

    async def notices() -> AsyncIterator[None]:
        yield
        while await heard.get():
            yield
        raise OSError("The line is lost.")

    def counted() -> set[str]:
        looks.append(time.monotonic())
        return look()

    monkeypatch.setattr(live.desk.board, "notices", notices)
    monkeypatch.setattr(live.desk.board, "look", counted)
    votes = Votes(database)
    with (
        TestClient(app()) as client,
        client.websocket_connect("/live", headers=seated(client, group, "Ann")[0]) as socket,
    ):
        assert client.portal
        socket.receive_json()
        time.sleep(0.2)
        before = len(looks)
        vote = votes.open(group.id, OWN)
        time.sleep(0.2)  # ten times as long as between two looks
        assert len(looks) == before
        client.portal.call(heard.put_nowait, True)
        while "vote" not in socket.receive_json():
            pass
        assert len(looks) == before + 1
        client.portal.call(heard.put_nowait, False)
        time.sleep(0.1)
        votes.change(vote.id, phase="talk")
        while socket.receive_json()["vote"]["phase"] != "talk":
            pass


def test_too_many_ballots_are_told_to_wait(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live.desk is not None
    monkeypatch.setattr(live.desk, "ballots", Attempts(2, 1_000))
    ann, _ = seated(client, group, "Ann")
    bob, _ = seated(client, group, "Bob")
    codes = [client.post("/live/vote", content="{}", headers=ann).status_code for _ in range(4)]
    assert codes == [409, 409, 429, 429]
    assert client.post("/live/vote", content="{}", headers=bob).status_code == 409


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?zone=Europe/Berlin", "01 February 2026, 00:30 (Europe/Berlin)."),
        ("?zone=../x", "31 January 2026, 23:30 UTC."),
        ("", "31 January 2026, 23:30 UTC."),
    ],
)
def test_a_closed_class_is_told_in_the_browsers_time(
    client: TestClient, group: Class, database: Database, query: str, told: str
) -> None:
    ann, _ = seated(client, group, "Ann")
    with client.websocket_connect(f"/live{query}", headers=ann) as socket:
        Roster(database).change(group.id, closes=datetime(2026, 1, 31, 23, 30, tzinfo=UTC))
        while not (said := socket.receive_json().get("closed")):
            pass
    assert said.endswith(told)


def test_without_a_seat_in_a_class_there_is_no_socket_and_no_ballot(
    client: TestClient, group: Class
) -> None:
    assert door.reception is not None
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        pass
    assert client.post("/live/vote", content="{}").status_code == 303
    ann, _ = seated(client, group, "Ann")
    foreign = {**ann, "origin": "https://evil.example"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live", headers=foreign):
        pass
    own = {**ann, "origin": "http://testserver"}
    with client.websocket_connect("/live", headers=own) as socket:
        socket.receive_json()
    teacher = {"cookie": f"{door.COOKIE}={door.reception.roster.seat()}"}
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live", headers=teacher):
        pass
    assert client.post("/live/vote", content="{}", headers=teacher).status_code == 403


def test_a_wall_hears_of_ballots_and_of_what_screens_show(
    client: TestClient, group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's only, of that class only, and however many vote no oftener than it can show."""
    assert door.reception is not None
    monkeypatch.setattr(live, "_WALL_RESTS", 0.3)
    roster, votes = door.reception.roster, Votes(database)
    vote, elsewhere = votes.open(group.id, OWN), votes.open(roster.create("other").id, OWN)
    members = [seated(client, group, f"Ann {number}")[0] for number in range(5)]
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(f"/live/wall?of={group.id}", headers=members[0]),
    ):
        pass
    teacher = {"cookie": f"{door.COOKIE}={roster.seat()}"}
    # A wall that came before the look at the new vote was told of might be told of that too.
    with client.websocket_connect("/live", headers=members[0]) as screen:
        while "vote" not in screen.receive_json():
            pass
        time.sleep(0.1)
    with client.websocket_connect(f"/live/wall?of={group.id}", headers=teacher) as wall:
        began = time.monotonic()
        for number, headers in enumerate(members):
            kept = client.post(
                "/live/vote", content=ballot(vote.id, key=KEY + str(number)), headers=headers
            )
            assert kept.json() == {"kept": True}
        assert wall.receive_json() == {"changed": True}
        votes.change(elsewhere.id, phase="talk")
        votes.change(vote.id, phase="talk")
        assert wall.receive_json() == {"changed": True}
        assert time.monotonic() - began >= 0.3
