"""A learner holds so many tabs, sockets and files of a server, in however many browsers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from strata.runtime.attempts import Attempts
from strata.ui.server import tabs
from strata.ui.server.uploads import MOST_FILES, FewUploads
from tests.loops import run_apart

STREAM = "/_stcore/stream"
LONG = 10.0  # seconds


class Door:
    """Of a door, that it says who asks: whoever a header names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        named = dict(scope.get("headers", ())).get(b"named", b"").decode()
        kind, _, name = named.partition(" ")
        said = {"": {}, "member": tabs.member(name), "teacher": tabs.teacher(name)}[kind]
        await self.app({**scope, **said}, receive, send)


class Runtime:
    """Of Streamlit's, which sessions were closed."""

    def __init__(self) -> None:
        self.closed: list[str] = []

    def close_session(self, session: str) -> None:
        self.closed.append(session)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    made = Runtime()
    monkeypatch.setattr(tabs.runtime, "exists", lambda: True)
    monkeypatch.setattr(tabs.runtime, "get_instance", lambda: made)
    return made


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> Iterator[TestClient]:
    """A server that says of each socket which session it is, and then what it hears."""
    monkeypatch.setattr(tabs.tabs, "_of", {})
    monkeypatch.setattr(tabs.tabs, "_by_session", {})
    tabs.tabs.resting.clear()
    numbers = count(1)

    async def stream(socket: WebSocket) -> None:
        asked = socket.scope["subprotocols"]
        await socket.accept(subprotocol="streamlit")
        session = asked[2] if len(asked) > 2 else f"session{next(numbers)}"
        tabs.tabs.connected(session)
        await socket.send_text(session)
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            pass

    async def other(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive()

    async def kept(request: Request) -> PlainTextResponse:
        return PlainTextResponse("kept")

    routes = [
        WebSocketRoute(STREAM, stream),
        WebSocketRoute("/live", other),
        tabs.route,
        Route("/{path:path}", kept, methods=["GET", "PUT", "DELETE"]),
    ]
    layers = [Middleware(each) for each in (Door, tabs.FewSockets, FewUploads)]
    with TestClient(Starlette(routes=routes, middleware=layers)) as made:
        yield made


Open = Callable[..., tuple[WebSocketTestSession, str]]


@pytest.fixture
def open_tab(client: TestClient) -> Iterator[Open]:
    """Open a tab as somebody; its socket and its session."""
    with ExitStack() as stack:

        def opened(named: str = "", session: str = "") -> tuple[WebSocketTestSession, str]:
            asked = ["streamlit", "none", session] if session else ["streamlit"]
            headers = {"named": named} if named else {}
            socket = stack.enter_context(
                client.websocket_connect(STREAM, subprotocols=asked, headers=headers)
            )
            return socket, socket.receive_text()

        yield opened


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def rests(socket: WebSocketTestSession) -> bool:
    """Whether a tab is led to the page which says that it rests, and is closed."""
    led = ForwardMsg.FromString(socket.receive_bytes()).auth_redirect.url
    with pytest.raises(WebSocketDisconnect):
        socket.receive_bytes()
    return led == "/resting"


def test_of_one_tab_too_many_the_one_used_longest_ago_rests(
    client: TestClient, open_tab: Open, runtime: Runtime
) -> None:
    opened = [open_tab("member eve") for _ in range(tabs.MOST_TABS)]
    others, _ = open_tab("member ann")
    first = opened[0][0]
    first.send_text("still here")
    assert first.receive_text() == "still here"
    newest, session = open_tab("member eve")
    assert rests(opened[1][0])
    assert runtime.closed == [opened[1][1]], "with all that it held"
    for socket in (first, others, newest):
        socket.send_text("well")
        assert socket.receive_text() == "well"
    assert tabs.tabs.crowds(session) == tabs.MOST_TABS
    assert not tabs.tabs.crowds(session), "said once"
    said = client.get("/resting", headers={"named": "member eve"}).text
    assert f"more than {tabs.MOST_TABS} tabs" in said


def test_a_tab_that_rests_does_not_come_back_by_itself(open_tab: Open, client: TestClient) -> None:
    """Or seven tabs would put each other out for ever."""
    opened = [open_tab("member eve") for _ in range(tabs.MOST_TABS + 1)]
    assert rests(opened[0][0])
    again = client.websocket_connect(
        STREAM, subprotocols=["streamlit", "none", opened[0][1]], headers={"named": "member eve"}
    )
    with again as socket:
        assert rests(socket)
    assert all(tabs.tabs.of(session) for _, session in opened[1:])


def test_who_has_how_many(open_tab: Open) -> None:
    """A teacher has twice as many, and an address without seats those of a school."""
    for named, most in (("teacher t", 12), ("", 60)):
        opened = [open_tab(named) for _ in range(most)]
        assert all(tabs.tabs.of(session) for _, session in opened)
        open_tab(named)
        assert rests(opened[0][0])


def test_what_a_closed_tab_held_is_given_back_at_once(
    client: TestClient, open_tab: Open, runtime: Runtime
) -> None:
    socket, session = open_tab("member eve")
    socket.close(1001)
    until(lambda: runtime.closed == [session])
    assert tabs.tabs.of(session) is None


def test_a_tab_whose_connection_was_lost_can_come_back_for_a_while(
    monkeypatch: pytest.MonkeyPatch, open_tab: Open, runtime: Runtime
) -> None:
    monkeypatch.setattr(tabs, "_EXPECTED", 0.3)
    socket, session = open_tab("member eve")
    first = tabs.tabs.of(session)
    assert first
    first.files.add("a file")
    socket.close(1006)
    until(lambda: first.end is None)
    open_tab("member eve", session)
    again = tabs.tabs.of(session)
    assert again
    assert again is not first
    assert again.files == {"a file"}
    lost, gone = open_tab("member eve")
    lost.close(1006)
    until(lambda: runtime.closed == [gone])
    assert tabs.tabs.of(session) is again, "which came back in time"


def test_of_lost_tabs_the_latest_is_kept_for_long(
    monkeypatch: pytest.MonkeyPatch, open_tab: Open, runtime: Runtime
) -> None:
    """Each may hold files. Where nobody has a seat, those of an address are many people's."""
    monkeypatch.setattr(tabs, "_THE_OTHERS", 0.1)

    def lost(named: str) -> str:
        socket, session = open_tab(named)
        tab = tabs.tabs.of(session)
        assert tab
        socket.close(1006)
        until(lambda: tab.end is None)
        return session

    of_many = [lost("") for _ in range(2)]
    of_one = [lost("member eve") for _ in range(3)]
    open_tab("member eve")
    until(lambda: runtime.closed == of_one[:2])
    time.sleep(0.15)
    assert runtime.closed == of_one[:2]
    assert all(tabs.tabs.of(session) for session in (*of_many, of_one[2]))


def test_lost_tabs_count_and_go_first(open_tab: Open, runtime: Runtime) -> None:
    opened = [open_tab("member eve") for _ in range(tabs.MOST_TABS)]
    lost, session = opened[3]
    lost.close(1006)
    tab = tabs.tabs.of(session)
    assert tab
    until(lambda: tab.end is None)
    _, newest = open_tab("member eve")
    assert runtime.closed == [session]
    assert not tabs.tabs.crowds(newest), "nobody sees anything of it"


def test_other_sockets_are_few_too(client: TestClient) -> None:
    with ExitStack() as stack:
        for _ in range(2 * tabs.MOST_TABS):
            stack.enter_context(client.websocket_connect("/live", headers={"named": "member eve"}))
        with (
            pytest.raises(WebSocketDisconnect),
            client.websocket_connect("/live", headers={"named": "member eve"}),
        ):
            pass
        stack.enter_context(client.websocket_connect("/live", headers={"named": "member ann"}))


def test_who_opens_too_fast_waits() -> None:
    async def opened() -> float:
        few = tabs.FewSockets(lambda scope, receive, send: asyncio.sleep(0))
        few._opened = {tabs.MOST_TABS: Attempts(2, 0.1)}
        began = time.monotonic()
        for _ in range(4):
            await few._turn(tabs.Who("eve"))
        return time.monotonic() - began

    assert run_apart(opened()) > 0.15


def test_who_opens_and_closes_tabs_is_slowed_down_and_a_teacher_later() -> None:
    """As many at once as somebody may have, and two more."""
    few = tabs.FewSockets(lambda scope, receive, send: asyncio.sleep(0))
    for whose in (tabs.Who("eve"), tabs.Who("teacher t", 12)):
        opened = few._opened[whose.tabs]
        for _ in range(whose.tabs + 2):
            assert opened.wait(whose.name) == 0
            opened.take(whose.name)
        assert opened.wait(whose.name) > 0


def test_a_learner_has_so_many_files_at_a_time(client: TestClient, open_tab: Open) -> None:
    """In all tabs together; and none goes into a tab that is another's."""

    def put(session: str, file: int, named: str = "member eve") -> int:
        headers = {"named": named} if named else {}
        path = f"/_stcore/upload_file/{session}/{file}"
        return client.put(path, headers=headers).status_code

    socket, first = open_tab("member eve")
    _, second = open_tab("member eve")
    _, anns = open_tab("member ann")
    for file in range(MOST_FILES):
        assert put((first, second)[file % 2], file) == 200
    assert put(second, 100) == 429
    assert put(first, 0) == 200, "the same again is no other file"
    assert put(anns, 0, "member ann") == 200
    assert put(anns, 1) == 429, "not hers"
    path = f"/_stcore/upload_file/{first}/0"
    assert client.delete(path, headers={"named": "member eve"}).status_code == 200
    assert put(second, 100) == 200
    assert put(second, 101) == 429
    socket.close(1001)
    until(lambda: tabs.tabs.of(first) is None)
    assert put(second, 101) == 200, "what the closed tab held is free again"
    _, alone = open_tab()
    _, another = open_tab()
    for tab in (alone, another):  # without seats a tab is all that is known
        assert [put(tab, n, "") for n in range(MOST_FILES + 1)] == [200] * MOST_FILES + [429]
    assert client.get("/logit_lens").status_code == 200
