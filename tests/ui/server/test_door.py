"""Nobody passes the door without a seat, and nothing typed there does harm."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from strata.classroom.codes import hashed
from strata.classroom.roster import Class, Roster
from strata.errors import StrataError
from strata.runtime.attempts import Attempts
from strata.storage.database import Database
from strata.ui.server import door
from strata.ui.server.waiting_room import WaitingRoom

SECRET = "correct horse"


async def page(request: Request) -> PlainTextResponse:
    return PlainTextResponse("a page")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("open")
    await websocket.close()


@pytest.fixture
def group(database: Database, monkeypatch: pytest.MonkeyPatch) -> Class:
    monkeypatch.setattr(door, "reception", door.Reception(Roster(database), hashed(SECRET)))
    return Roster(database).create("3b <b>")


async def told(request: Request) -> PlainTextResponse:
    return PlainTextResponse(",".join(request.headers.getlist("x-strata-seat")))


def app() -> Starlette:
    """A server with a door, whose every other page says "a page"."""
    routes = [
        Route("/told", told),
        Route("/{path:path}", page),
        WebSocketRoute("/_stcore/stream", socket),
    ]
    return Starlette(routes=[*door.routes, *routes], middleware=[Middleware(door.Door)])


@pytest.fixture
def client(group: Class) -> Iterator[TestClient]:
    with TestClient(app(), follow_redirects=False) as opened:
        yield opened


def join(client: TestClient, group: Class, name: str = "Ann", then: str = "") -> str:
    """Enter; the answer is the resume code."""
    answer = client.post(f"/join?next={then}", data={"code": group.code, "name": name})
    assert answer.status_code == 200
    found = re.search(r"id=resume>([\w-]+)<", answer.text)
    assert found
    return found[1]


def test_without_a_seat_there_is_no_page_no_file_and_no_socket(client: TestClient) -> None:
    for path in ("/", "/predictions", "/class", "/joinery", "/readyz/x", "/static", "/media/x"):
        answer = client.get(f"{path}?example=long")
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/join?next={path}%3Fexample%3Dlong"
        assert "a page" not in answer.text
    assert client.get("/_stcore/metrics").status_code == 403
    assert client.post("/_stcore/upload_file/x/y").status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/_stcore/stream"):
        pass
    for cookie in ("x", "x" * 5_000, "' OR 1=1 --"):
        client.cookies.set(door.COOKIE, cookie)
        assert client.get("/predictions").status_code == 303
    for path in ("/readyz", "/_stcore/health", "/static/app.js"):
        assert client.get(path).text == "a page"


def test_joining_opens_pages_and_socket(client: TestClient, group: Class) -> None:
    code = join(client, group, then="/predictions%3Fat%3D2")
    assert client.get("/predictions").text == "a page"
    assert client.get("/_stcore/metrics").status_code == 403
    with client.websocket_connect("/_stcore/stream") as opened:
        assert opened.receive_text() == "open"
    assert client.post("/leave").status_code == 303
    assert client.get("/predictions").status_code == 303
    back = client.post("/join?next=/scaling", data={"resume": code.upper()})
    assert (back.status_code, back.headers["location"]) == (303, "/scaling")
    assert client.get("/predictions").text == "a page"


def test_the_cookie_is_kept_from_scripts_and_other_sites(client: TestClient, group: Class) -> None:
    answer = client.post("/join", data={"code": group.code, "name": "Ann"})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    headers = {"X-Forwarded-Proto": "https"}
    answer = client.post("/join", data={"code": group.code, "name": "Ann"}, headers=headers)
    assert "Secure" in answer.headers["set-cookie"]
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "then", ["//evil.org", "https://evil.org", "/\\evil.org", "x", "/", "/a\nb"]
)
def test_nobody_is_led_elsewhere(client: TestClient, group: Class, then: str) -> None:
    answer = client.post("/join", params={"next": then}, data={"code": group.code, "name": "Ann"})
    assert 'href="/lessons"' in answer.text


def test_the_teacher_enters_by_the_secret_and_not_without_end(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.reception
    now = 0.0
    monkeypatch.setattr(door.reception, "secrets_typed", Attempts(5, 12.0, lambda: now))
    for _ in range(5):
        assert "not the teacher" in client.post("/teach", data={"secret": "guess"}).text
    assert "Too many attempts" in client.post("/teach", data={"secret": SECRET}).text
    assert client.get("/class").status_code == 303
    now += 12.1
    answer = client.post("/teach", data={"secret": SECRET})
    assert (answer.status_code, answer.headers["location"]) == (303, "/class")
    assert client.get("/class").text == "a page"


def test_who_tries_wrong_codes_without_end_keeps_nobody_out(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the class's own address, say: who has a right one is let in all the same."""
    assert door.reception
    monkeypatch.setattr(door.reception, "wrong_codes", Attempts(3, 60.0, lambda: 0.0))
    wrong = {"code": "aaaa-aaaa", "name": "x"}
    for often in (*[False] * 3, *[True] * 3):
        answer = client.post("/join", data=wrong).text
        assert "No class has this code" in answer
        assert ("Many wrong codes" in answer) == often
        assert "seconds" not in answer  # nobody is made to wait
    code = join(client, group)
    client.post("/leave")
    assert "Many wrong codes" in client.post("/join", data={"resume": "aaaa-aaaa-aaaa"}).text
    assert client.post("/join", data={"resume": code}).status_code == 303


def test_many_who_join_at_once_wait_for_their_turn(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address can fill no class in seconds, nor keep others out of theirs."""
    assert door.reception
    other = door.reception.roster.create("4a")
    monkeypatch.setattr(door.reception, "joins", WaitingRoom(Attempts(3, 0.2)))
    begun = time.monotonic()
    for number in range(5):
        join(client, group, f"Ann {number}")
    assert 0.3 < time.monotonic() - begun < 20
    monkeypatch.setattr(door.reception, "joins", WaitingRoom(Attempts(1, 1000.0)))
    join(client, group, "Bob")
    form = {"code": group.code, "name": "Cid"}
    assert "Many are joining just now" in client.post("/join", data=form).text
    join(client, other)
    assert len(door.reception.roster.members(group.id)) == 6


def test_who_joins_over_anothers_seat_gives_it_back(client: TestClient, group: Class) -> None:
    """As on a shared computer; one's own is good, for who tries twice."""
    assert door.reception
    resume = join(client, group)
    anns = client.cookies[door.COOKIE]
    client.post("/join", data={"resume": resume})
    again = client.cookies[door.COOKIE]
    assert door.reception.seated(anns)
    join(client, group, "Bob")
    assert door.reception.roster.seated(again) is None
    assert door.reception.seated(again) is None
    assert client.get("/predictions").text == "a page"


def test_a_closed_class_says_so_and_lets_nobody_on(
    client: TestClient, group: Class, database: Database
) -> None:
    join(client, group)
    Roster(database).change(group.id, closes=datetime.now(UTC))
    assert door.reception
    door.reception._seen.clear()  # as after a few seconds
    answer = client.get("/predictions")
    assert answer.status_code == 403
    assert "The class 3b &lt;b&gt; was closed" in answer.text
    # On a shared computer somebody of another class goes on from there.
    assert 'href="/join"' in answer.text
    assert "This browser is now that of Ann in 3b &lt;b&gt;" in client.get("/join").text
    join(client, Roster(database).create("4a"), "Bob")
    assert client.get("/predictions").text == "a page"
    assert client.cookies.get(door.BESIDE) is None  # Ann's seat is nothing that Bob could take


def test_a_closed_page_asks_until_it_is_open(
    client: TestClient, group: Class, database: Database
) -> None:
    join(client, group)
    later = datetime.now(UTC) + timedelta(seconds=0.5)
    Roster(database).change(group.id, opens=later)
    assert door.reception
    door.reception._seen.clear()
    answer = client.get("/predictions")
    assert "opens at" in answer.text
    assert "fetch(location.href" in answer.text
    while datetime.now(UTC) <= later:
        time.sleep(0.05)
    assert client.get("/predictions").text == "a page"
    refused = client.post("/leave", headers={"origin": "null"})
    assert "<script>" not in refused.text  # what came by a form is not asked for again


def test_a_teacher_tries_the_learners_link_and_is_not_thrown_out(
    client: TestClient, group: Class
) -> None:
    client.post("/teach", data={"secret": SECRET})
    teacher = client.cookies[door.COOKIE]
    shown = client.get(f"/join?code={group.code}").text
    assert "You sit here as the teacher" in shown
    assert "name=keep value=1 checked" in shown
    form = {"code": group.code, "name": "Me <b>", "keep": "1"}
    assert client.post("/join", data=form).status_code == 200
    learner = client.cookies[door.COOKIE]
    assert client.get("/predictions").text == "a page"
    answer = client.get("/class")  # reloaded, in the tab that was the teacher's
    assert (answer.status_code, answer.headers["location"]) == (303, "/switch")
    shown = client.get("/switch").text
    assert "You sit here as Me &lt;b&gt; in 3b &lt;b&gt;" in shown
    assert "Go on as the teacher" in shown
    assert client.get("/class").status_code == 303  # to look changes nothing
    answer = client.post("/switch")
    assert answer.headers["location"] == "/class"
    assert client.get("/class").text == "a page"
    assert (client.cookies[door.COOKIE], client.cookies[door.BESIDE]) == (teacher, learner)
    assert client.post("/switch").headers["location"] == "/lessons"
    # Whoever leaves is the other one again, or nobody.
    assert "is that of the teacher again" in client.get("/leave").text
    assert client.post("/leave").headers["location"] == "/class"
    assert client.get("/class").text == "a page"
    assert door.BESIDE not in client.cookies
    assert client.post("/leave").headers["location"] == "/join"
    assert client.post("/switch").headers["location"] == "/join"
    assert client.get("/predictions").status_code == 303


def test_a_learners_seat_waits_while_a_teacher_uses_the_machine(
    client: TestClient, group: Class
) -> None:
    join(client, group)
    assert "That seat is kept" in client.get("/teach").text
    client.post("/teach", data={"secret": SECRET})
    assert client.get("/class").text == "a page"
    assert client.post("/leave").headers["location"] == "/lessons"
    assert "Ann in 3b" in client.get("/join").text


def test_no_seat_is_left_beside_that_is_not_meant_to_be(client: TestClient, group: Class) -> None:
    """Not the teacher's where that was given back, nor one learner's beside another's."""
    assert door.reception
    client.post("/teach", data={"secret": SECRET})
    teacher = client.cookies[door.COOKIE]
    join(client, group)  # without the mark to keep it
    assert door.BESIDE not in client.cookies
    assert door.reception.roster.seated(teacher) is None
    client.post("/teach", data={"secret": SECRET})
    assert client.cookies[door.BESIDE]  # Ann's
    both = {"code": group.code, "name": "Bob", "keep": "1"}
    client.post("/join", data=both)
    kept = door.reception.roster.seated(client.cookies[door.BESIDE])
    assert kept
    assert kept.is_teacher
    tokens = [client.cookies[name] for name in (door.COOKIE, door.BESIDE)]
    client.post("/leave", data={"both": "1"})
    assert not {door.COOKIE, door.BESIDE} & set(client.cookies)
    assert [door.reception.roster.seated(token) for token in tokens] == [None, None]
    for name in ("Cid", "Dan"):
        client.post("/join", data=both | {"name": name})
    assert door.BESIDE not in client.cookies


def test_a_database_that_is_away_keeps_in_who_was_in(
    client: TestClient, group: Class, monkeypatch: pytest.MonkeyPatch
) -> None:
    join(client, group)
    assert client.get("/predictions").text == "a page"

    def fail(*_: object) -> None:
        raise StrataError("The database is away.")

    assert door.reception
    for name in ("seated", "join", "seat"):
        monkeypatch.setattr(door.reception.roster, name, fail)
    monkeypatch.setattr(door, "_FRESH", -1.0)
    assert client.get("/predictions").text == "a page"
    client.cookies.clear()
    client.cookies.set(door.COOKIE, "another")
    answer = client.get("/predictions")
    assert "does not answer" in answer.text
    assert (answer.status_code, answer.headers["refresh"]) == (503, "5")
    answer = client.post("/join", data={"code": group.code, "name": "Bob"})
    assert answer.status_code == 503


def test_a_server_without_classes_has_no_door(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "reception", None)
    assert client.get("/predictions").text == "a page"


FOREIGN = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://testserver:8080"},
    {"origin": "http://testserver.evil.example"},
    {"origin": "http://testserver:x"},
    {"origin": "http://[testserver"},
    {"origin": "http://testserver", "host": "[testserver"},
    {"origin": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site", "origin": "http://testserver"},
)
OWN = (
    {},
    {"origin": "http://testserver"},
    {"origin": "https://testserver:443"},  # a proxy speaks TLS to the browser
    {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
    {"host": "[testserver"},  # a program's, which says no origin
)


@pytest.mark.parametrize("said", FOREIGN, ids=str)
def test_a_form_of_another_site_changes_nothing(
    client: TestClient, group: Class, said: dict[str, str]
) -> None:
    """Nor do the answer's cookies: such a form comes without any, and would put some there."""
    for path, form in (
        ("/join", {"code": group.code, "name": "Eve"}),
        ("/teach", {"secret": SECRET}),
        ("/leave", {}),
        ("/switch", {}),
        ("/_stcore/upload_file/x/y", {}),
    ):
        answer = client.post(path, data=form, headers=said)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert door.reception
    assert door.reception.roster.members(group.id) == []
    join(client, group)
    client.post("/leave", headers=said)
    assert client.get("/predictions").text == "a page"  # by a link one still comes from anywhere
    assert client.get("/predictions", headers=said).text == "a page"
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_stcore/stream", headers=said),
    ):
        pass


@pytest.mark.parametrize("said", OWN, ids=str)
def test_its_own_forms_do(client: TestClient, group: Class, said: dict[str, str]) -> None:
    form = {"code": group.code, "name": "Ann"}
    answer = client.post("/join", data=form, headers=said)
    assert answer.status_code == 200
    with client.websocket_connect("/_stcore/stream", headers=said) as opened:
        assert opened.receive_text() == "open"
    assert "set-cookie" in client.post("/leave", headers=said).headers
    assert "set-cookie" not in client.post("/leave", headers=said).headers  # nothing to give back


def test_pages_with_forms_let_the_browser_say_whose_they_are(
    client: TestClient, database: Database
) -> None:
    client.cookies.set(door.BESIDE, Roster(database).seat())
    for path in ("/join", "/teach", "/leave", "/switch"):
        assert client.get(path).headers["referrer-policy"] == "same-origin"
