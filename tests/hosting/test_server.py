"""A real server that holds classes, without a proxy: what it answers to whom."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.ui.server import door
from strata.ui.server.start import HEADERS
from tests.browser.shared import NAME, SECRET, process, shared_class


@dataclass
class Server:
    address: str
    log: Path
    cookie: str = ""

    def get(self, path: str, **headers: str) -> httpx.Response:
        asked = {"host": NAME, "cookie": self.cookie, **headers}
        # No TLS here, and to make ready for it reads the system's certificates each time.
        return httpx.get(self.address + path, headers=asked, timeout=60, verify=False)

    def socket(self, host: str = NAME, origin: str | None = f"http://{NAME}") -> ClientConnection:
        at = urlsplit(self.address)
        return connect(
            f"ws://{host}/_stcore/stream",
            sock=socket.create_connection((at.hostname, at.port)),
            origin=origin,
            subprotocols=["streamlit"],
            additional_headers={"Cookie": self.cookie},
            open_timeout=60,
        )


@pytest.fixture(scope="module")
def server() -> Server:
    address, folder = shared_class()
    database = Database(folder / "state" / "strata.sqlite")
    group = Roster(database).create("3b")
    database.close()
    found = Server(address, folder / "log.txt")
    form = {"code": group.code, "name": "Annegret of the 3b"}
    answer = httpx.post(f"{address}/join", data=form, headers={"host": NAME}, timeout=60)
    found.cookie = f"{door.COOKIE}={answer.cookies[door.COOKIE]}"
    return found


def test_only_under_its_name_and_for_the_machine_itself(server: Server) -> None:
    for host in (NAME, f"{NAME}:443", NAME.upper(), "localhost", "127.0.0.1:8501"):
        assert server.get("/readyz", host=host).status_code == 200
        assert server.get("/predictions", host=host).status_code == 200
    for host in ("evil.example", f"{NAME}.evil.example", f"evil{NAME}", "10.0.0.1", ""):
        for path in ("/", "/join", "/readyz", "/static/x.js", "/_stcore/health"):
            assert server.get(path, host=host).status_code == 400
    server.socket().close()
    with pytest.raises(InvalidStatus, match="400"):
        server.socket(host="evil.example", origin="http://evil.example")


def test_a_foreign_page_gets_no_socket_even_with_the_cookie(server: Server) -> None:
    for origin in ("https://evil.example", f"http://{NAME}.evil.example", "null"):
        with pytest.raises(InvalidStatus, match="403"):
            server.socket(origin=origin)


@pytest.mark.parametrize("path", ["/", "/join", "/teach", "/readyz", "/predictions", "/_stcore/x"])
def test_every_answer_has_the_headers(server: Server, path: str) -> None:
    for asked in ({}, {"host": "evil.example"}, {"cookie": ""}):
        answer = server.get(path, **asked)
        for name, value in HEADERS.items():
            # The door's pages let the browser say whose their forms are.
            ours = name == "referrer-policy" and "· Strata</title>" in answer.text
            wanted = "same-origin" if ours else value
            assert answer.headers[name] == wanted


def test_numbers_are_closed_and_statistics_are_off(server: Server) -> None:
    assert server.get("/_stcore/metrics").status_code == 403
    from streamlit import config

    assert config.get_option("browser.gatherUsageStats") is False
    assert config.get_option("client.showErrorDetails") == "none"
    assert config.get_option("server.enableXsrfProtection") is True
    assert config.get_option("server.enableCORS") is True


def test_an_open_page_holds_one_descriptor_beside_that_for_its_class(server: Server) -> None:
    """Streamlit by itself holds four: three are of an event loop."""
    n, own = 12, process("class")
    before = own.num_fds()
    pages = [server.socket() for _ in range(n)]
    assert own.num_fds() - before < 2 * n
    for page in pages:
        page.close()
    assert server.get("/readyz").json()["learners"] > 1_000  # the limit was raised


def typed(address: str, secret: str, forwarded: str) -> str:
    return httpx.post(
        f"{address}/teach",
        data={"secret": secret},
        headers={"x-forwarded-for": forwarded},
        timeout=60,
    ).text


def test_behind_a_proxy_on_this_machine_each_address_has_its_own_attempts(server: Server) -> None:
    for _ in range(5):
        assert "not the teacher" in typed(server.address, "guess", "192.0.2.1")
    assert "Too many attempts" in typed(server.address, "guess", "192.0.2.1")
    assert "not the teacher" in typed(server.address, "guess", "192.0.2.2")
    # What the browser itself wrote stands before the address that the proxy added.
    assert "Too many attempts" in typed(server.address, "guess", "198.51.100.7, 192.0.2.1")


def test_nothing_of_a_person_is_in_the_log(server: Server) -> None:
    server.get("/predictions?prompt=my+unheard+words")
    log = server.log.read_text(errors="replace")  # others of this run are on the server too
    for personal in ("Annegret", "unheard", "192.0.2", server.cookie.split("=")[1], SECRET):
        assert personal not in log
