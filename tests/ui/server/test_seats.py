"""On a real server that holds classes: what one learner opens and sends leaves room for others."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed

from bench.attackers import handshake
from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.ui.server.tabs import MOST_TABS
from tests.browser.shared import process, shared_class
from tests.ui.server.sockets import Socket

LARGE = 145_000_000  # bytes


@pytest.fixture(scope="module")
def seat() -> tuple[str, str]:
    """The address of a server, and the cookie of a learner who does nothing else there."""
    url, folder = shared_class()
    database = Database(folder / "state" / "strata.sqlite")
    form = {"code": Roster(database).create("Seats").code, "name": "Zoe"}
    database.close()
    answer = httpx.post(f"{url}/join", data=form, verify=False)
    return url, answer.cookies["strata_seat"]


def test_one_tab_too_many_puts_the_oldest_to_rest(seat: tuple[str, str]) -> None:
    url, cookie = seat
    with ExitStack() as stack:
        tabs = []
        for _ in range(MOST_TABS + 1):
            tabs.append(stack.enter_context(Socket(url, cookie)))
            tabs[-1].run("lessons")
        assert f"more than {MOST_TABS} tabs of Strata open" in tabs[-1].said
        last = ForwardMsg.FromString(tabs[0].drained(5.0, whole=True)[-1])
        assert last.auth_redirect.url == "/resting"
        with pytest.raises(ConnectionClosed):
            tabs[0].run("lessons")
        with Socket(url, cookie, tabs[0].session) as again:  # as its browser would, by itself
            last = ForwardMsg.FromString(again.drained(5.0, whole=True)[-1])
            assert last.auth_redirect.url == "/resting"
        for tab in tabs[1:3]:
            tab.run("lessons")
            assert "more than" not in tab.said


def test_a_frame_that_is_too_large_is_not_read(seat: tuple[str, str]) -> None:
    """Of three whose end never comes nothing is kept."""
    url, cookie = seat
    place, server = urlsplit(url), process("class")
    before = server.memory_info().rss
    with ExitStack() as stack:
        for _ in range(3):
            line = stack.enter_context(socket.create_connection((place.hostname, place.port), 30))
            line.sendall(handshake(place.netloc, f"strata_seat={cookie}"))
            assert b" 101 " in line.recv(10_000)
            with pytest.raises(OSError):  # noqa: PT011 - closed or reset
                line.sendall(b"\x82\xff" + LARGE.to_bytes(8, "big") + b"mask" + bytes(LARGE - 1))
        assert server.memory_info().rss - before < 60_000_000
