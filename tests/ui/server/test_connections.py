"""Whoever keeps a server waiting gives way, and holds no descriptor for good."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import psutil
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.http.auto import AutoHTTPProtocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from strata.runtime import descriptors
from strata.runtime.later_loop import LaterLoop
from strata.ui.server import connections
from strata.ui.server.connections import BODY, HEAD, UNREAD, Connections, HangingUp
from tests.browser.server import free_port
from tests.loops import run_apart

BEGUN = b"GET / HTTP/1.1\r\nHost: here\r\nX-Slow: "
NO_BODY = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\ncode="
MOST = 40


class Transport:
    """Of a connection: what is looked at."""

    def __init__(self, cycle: Any = None, *, is_socket: bool = False, unsent: int = 0) -> None:
        self.protocol = SimpleNamespace() if is_socket else SimpleNamespace(cycle=cycle)
        self.unsent, self.ended = unsent, False

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_protocol(self) -> Any:
        return self.protocol

    def is_closing(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.ended = True


def cycle(*, more_body: bool = False, complete: bool = False) -> SimpleNamespace:
    return SimpleNamespace(more_body=more_body, response_complete=complete)


async def seen(transport: Transport, seconds: float, most: int = 9) -> tuple[Connections, list]:
    """Looked at when it comes and after so many seconds."""
    now = [0.0]
    all_of_them = Connections(lambda: most, lambda: now[0])
    all_of_them.begin(transport)  # type: ignore[arg-type]
    now[0] = seconds
    all_of_them.look()
    return all_of_them, now


async def looked_at(transport: Transport, seconds: float) -> None:
    await seen(transport, seconds)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("transport", "patience"),
    [
        (Transport(), HEAD),
        (Transport(cycle(complete=True)), HEAD),  # for the next request
        (Transport(cycle(more_body=True)), BODY),
        (Transport(cycle(), unsent=9), UNREAD),
        (Transport(is_socket=True, unsent=9), UNREAD),
        (Transport(cycle()), math.inf),  # it is the server that has to answer
        (Transport(is_socket=True), math.inf),
    ],
)
def test_who_keeps_the_server_waiting_is_waited_for_so_long(
    transport: Transport, patience: float
) -> None:
    run_apart(looked_at(transport, min(patience, 1e6) - 0.1))
    assert not transport.ended
    run_apart(looked_at(transport, min(patience, 1e6)))
    assert transport.ended == (patience < math.inf)


def test_who_moves_on_is_waited_for_anew() -> None:
    async def play() -> None:
        transport = Transport(cycle(), unsent=9)
        of_one, now = await seen(transport, UNREAD - 1)
        transport.unsent = 8
        of_one.look()
        now[0] += UNREAD - 1
        of_one.look()
        assert not transport.ended
        now[0] += 1
        of_one.look()
        assert transport.ended
        assert len(of_one) == 0

    run_apart(play())


def test_where_there_is_no_room_the_one_waited_for_longest_goes() -> None:
    async def play() -> None:
        first, answered, page = Transport(), Transport(cycle()), Transport(is_socket=True)
        all_of_them, now = await seen(first, 1.0, most=8)
        late = [Transport(is_socket=True) for _ in range(9)]
        for each in (answered, page, Transport()):
            all_of_them.begin(each)  # type: ignore[arg-type]
        assert not first.ended
        now[0] += 1
        for each in late:
            all_of_them.begin(each)  # type: ignore[arg-type]
        assert first.ended
        assert not answered.ended  # who waits for the server stays
        assert not page.ended
        assert late[0].ended is False
        assert late[-1].ended  # and where all are open pages, who comes last

    run_apart(play())


@dataclass
class Server:
    port: int
    kept: Connections


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server of its own with room for 40."""
    kept = Connections(lambda: MOST)

    class Kept(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            kept.begin(transport)

    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def bytes_only(here: WebSocket) -> None:
        await here.accept()
        while True:
            await here.send_bytes(await here.receive_bytes())

    app = Starlette(
        routes=[Route("/", echo, methods=["GET", "POST"]), WebSocketRoute("/socket", bytes_only)],
        middleware=[Middleware(HangingUp)],
    )
    port = free_port()
    options: dict[str, Any] = {"log_config": None, "ws": "websockets-sansio", "lifespan": "off"}
    running = uvicorn.Server(uvicorn.Config(app, port=port, http=Kept, **options))
    thread = threading.Thread(target=running.run)
    thread.start()
    until(lambda: running.started)
    yield Server(port, kept)
    running.should_exit = True
    thread.join()


def opened(port: int, sent: bytes) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=10)
    line.sendall(sent)
    return line


def is_over(line: socket.socket) -> bool:
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True


def answers(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/", verify=False, timeout=10).status_code == 200


@pytest.mark.parametrize("sent", [BEGUN, NO_BODY])
def test_requests_that_are_never_ended_do_not_shut_the_door(server: Server, sent: bytes) -> None:
    lines = [opened(server.port, sent) for _ in range(2 * MOST)]
    assert answers(server.port)
    assert 0 < len(server.kept) <= MOST
    assert is_over(lines[0])
    for line in lines:
        line.close()


def test_a_request_that_is_not_ended_in_time_is_closed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.2)
    monkeypatch.setattr(connections, "_EVERY", 0.1)
    # The look that is due may still be one of the old pace.
    with closing(opened(server.port, BEGUN)) as line:
        began = time.monotonic()
        assert is_over(line)
        assert time.monotonic() - began < 5


def test_hanging_up_and_words_to_a_socket_are_a_line_each(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        opened(server.port, NO_BODY).close()
        until(lambda: "A browser went away" in caplog.text)
        with connect(f"ws://127.0.0.1:{server.port}/socket", proxy=None) as line:
            line.send(b"bytes")
            assert line.recv() == b"bytes"
            line.send("words")
            with pytest.raises(ConnectionClosed):
                line.recv(timeout=10)
        until(lambda: "A socket sent text" in caplog.text)
    assert "Traceback" not in caplog.text
    assert answers(server.port)


def test_a_loop_that_nothing_runs_in_holds_no_descriptor() -> None:
    def of_a_session(loop: LaterLoop) -> None:
        asyncio.set_event_loop(loop)  # as Streamlit does in a session's thread
        assert asyncio.get_event_loop() is loop
        assert not loop.is_running()
        assert loop.run_until_complete(asyncio.sleep(0, "done")) == "done"
        asyncio.set_event_loop(None)

    own = psutil.Process()
    before = own.num_fds()
    loops = [LaterLoop() for _ in range(20)]  # type: ignore[abstract]
    assert own.num_fds() < before + 20
    with ThreadPoolExecutor(1) as apart:
        apart.submit(of_a_session, loops[0]).result()
    for loop in loops:
        loop.close()
        assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loops[0].call_soon(print)


def test_the_limit_is_raised_as_far_as_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    limits = SimpleNamespace(
        RLIMIT_NOFILE=0,
        RLIM_INFINITY=-1,
        setrlimit=lambda which, pair: asked.append(pair),
    )
    monkeypatch.setattr(descriptors, "resource", limits)
    for soft, hard, wanted in ((256, -1, 10_240), (1_024, 4_096, 4_096), (20_000, 20_000, None)):
        limits.getrlimit = lambda which, pair=(soft, hard): pair
        asked.clear()
        descriptors.raise_limit()
        assert asked == ([] if wanted is None else [(wanted, hard)])
    monkeypatch.setattr(connections.descriptors, "limit", lambda: 1_024)
    assert 300 <= connections.learners() <= 340
