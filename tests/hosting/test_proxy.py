"""Two processes on one database behind the proxy that the repository carries."""

from __future__ import annotations

import hmac
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from strata.classroom.roster import Class, Roster
from strata.storage.database import Database
from strata.ui.server import door
from tests import small
from tests.browser.attending import LESSON, answer_first_question, join, sent_by_another_site
from tests.browser.driver import Newcomer
from tests.browser.server import WITHOUT_A_PROCESS, has_ended, started
from tests.browser.test_lessons import at_step, panel
from tests.databases import new_place
from tests.hosting.proxy import Proxy, before, caddy

SECRET = "a secret of the teacher"


@dataclass
class Site:
    proxy: Proxy
    processes: dict[int, psutil.Process]  # by port
    roster: Roster
    group: Class

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.proxy.url, verify=self.proxy.trust, timeout=60)

    @contextmanager
    def joined(self, name: str) -> Iterator[httpx.Client]:
        with self.browser() as client:
            answer = client.post("/join", data={"code": self.group.code, "name": name})
            assert answer.status_code == 200, answer.text
            yield client

    def socket(self, client: httpx.Client, origin: str | None = None) -> ClientConnection:
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        return connect(
            f"wss://{urlsplit(self.proxy.url).netloc}/_stcore/stream",
            ssl=self.proxy.trust,
            origin=origin or self.proxy.url,
            subprotocols=["streamlit"],
            additional_headers={"Cookie": cookies},
            open_timeout=60,
        )

    def serving(self, client: httpx.Client) -> int:
        """The port of the process that the proxy's cookie names: of its address, the HMAC
        without a secret. Counting connections does not tell: the proxy carries a socket over one
        that it has kept open, when there is one."""
        (named,) = (
            port
            for port in self.processes
            if hmac.new(b"", f"127.0.0.1:{port}".encode(), "sha256").hexdigest()
            == client.cookies["strata_process"]
        )
        return named

    def busy(self) -> dict[int, int]:
        """Open connections to each process, by its port."""
        return {
            port: sum(
                each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED
                for each in process.net_connections("tcp")
            )
            for port, process in self.processes.items()
            if not has_ended(process)
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    caddy()
    folder = tmp_path_factory.mktemp("site")
    with new_place("postgresql", folder) as place, ExitStack() as stack:
        environment = {
            **WITHOUT_A_PROCESS,
            **small.environment(folder),
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": SECRET,
            "STRATA_DATABASE_URL": place,
            "STRATA_ALLOWED_HOSTS": "localhost",
        }
        servers = [
            started(environment=environment, log=folder / f"{name}.log") for name in ("one", "two")
        ]
        with ThreadPoolExecutor() as at_once:
            opened = list(at_once.map(stack.enter_context, servers))
        processes = {urlsplit(address).port or 0: process for address, process in opened}
        upstreams = [f"127.0.0.1:{port}" for port in processes]
        proxy = stack.enter_context(before(upstreams, folder))
        database = Database(place)
        roster = Roster(database)
        yield Site(proxy, processes, roster, roster.create("3b"))
        database.close()


def test_all_is_behind_tls_and_the_door(site: Site) -> None:
    with site.browser() as client:
        answer = client.get("/predictions")
        assert (answer.status_code, answer.headers["location"]) == (303, "/join?next=/predictions")
        assert "default-src 'self'" in answer.headers["content-security-policy"]
    plain = httpx.get(f"{site.proxy.plain_url}/join")
    assert plain.status_code == 308
    assert plain.headers["location"].startswith("https://")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(site.proxy.url, verify=ssl.create_default_context())


def test_the_cookie_is_sent_over_tls_only(site: Site) -> None:
    with site.browser() as client:
        answer = client.post("/join", data={"code": site.group.code, "name": "Ann"})
        seat = next(c for c in answer.headers.get_list("set-cookie") if c.startswith(door.COOKIE))
        assert "Secure" in seat


def test_numbers_about_the_server_are_closed(site: Site) -> None:
    with site.joined("Ann") as client:
        for path in ("/_stcore/metrics", "/_stcore/metrics/", "/_stcore/%6detrics"):
            assert client.get(path).status_code == 403


def test_a_browser_stays_with_one_process_and_browsers_are_spread(site: Site) -> None:
    used = set()
    for number in range(40):  # the proxy draws by lot, so two may come to the same one
        with site.joined(f"Ann {number}") as client, ExitStack() as stack:
            before_them = site.busy()
            for _ in range(4):
                stack.enter_context(site.socket(client))
            more = {port: count - before_them[port] for port, count in site.busy().items()}
            port = max(more, key=more.__getitem__)
            assert more[port] >= 3, more  # an idle connection of the proxy may have been there
            assert sum(more.values()) - more[port] <= 1, more
            assert port == site.serving(client)
            used.add(port)
        if used == set(site.processes):
            return
    pytest.fail(f"all at {used}")


def test_a_socket_needs_a_seat_and_this_sites_own_page(site: Site) -> None:
    with site.browser() as nobody, pytest.raises(InvalidStatus, match="403"):
        site.socket(nobody)
    with site.joined("Ann") as client:
        with pytest.raises(InvalidStatus, match="403"):
            site.socket(client, origin="https://evil.example")
        site.socket(client).close()


def test_when_a_process_ends_its_learners_go_on_with_the_other(
    site: Site,
    newcomer: Newcomer,
    empty_page: str,
) -> None:
    """Last in this file: one process is gone after it. Its own forms come from the proxy's address,
    another site's do nothing."""
    page, _ = join(newcomer, site.proxy.url, site.group.code, "Ann")
    assert sent_by_another_site(page, empty_page, f"{site.proxy.url}/leave") == 403
    step = answer_first_question(page)
    cookies = {cookie["name"]: cookie["value"] for cookie in page.context.cookies()}
    with site.joined("Bob") as client:
        client.cookies.delete("strata_process")  # sit down where Ann is
        client.cookies.set("strata_process", cookies["strata_process"], "localhost.local")
        with site.socket(client) as socket:
            ended = site.processes[site.serving(client)]
            ended.terminate()
            ended.wait(timeout=30)
            with suppress(ConnectionClosed):  # it was told, and not left hanging
                while socket.recv(timeout=60):
                    pass
        assert client.get("/predictions").status_code == 200
        site.socket(client).close()
    page.reload()
    at_step(page, step - 1, LESSON.steps[step - 1], len(LESSON.steps))
    expect(panel(page).locator('[class*="st-key-verdict_"]')).to_be_visible()
    page.locator(".st-key-step_on button").click()
    at_step(page, step, LESSON.steps[step], len(LESSON.steps))
