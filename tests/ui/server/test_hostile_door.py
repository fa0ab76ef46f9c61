"""Hostile texts at the door: in every field, address, cookie and form, nobody gets further."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, quote_from_bytes, urljoin, urlsplit

import pytest
from starlette.testclient import TestClient

from strata.classroom.codes import hashed
from strata.classroom.roster import Class, Roster
from strata.runtime.attempts import Attempts
from strata.storage.database import Database
from strata.ui.server import door
from strata.ui.server.waiting_room import WaitingRoom
from tests.hostile import CASES, Case, each_sink, of_kinds, try_all
from tests.ui.server.test_door import app

TAGS = set(
    "html meta title style main h1 p form label input button details summary a".split()
)  # of the door's own pages
UNSET = {"x", "hacked"}


class Page(HTMLParser):
    """The door's page as a browser takes it apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.acts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.acts += [name for name, _ in attrs if name.startswith("on") or name == "src"]
        self.links += [value or "" for name, value in attrs if name in ("href", "action")]


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """A class, and a door before it that does not mind how often one tries."""
    database = Database(tmp_path_factory.mktemp("door") / "strata.sqlite")
    opened = door.Reception(Roster(database), hashed("correct horse"))
    opened.wrong_codes = opened.secrets_typed = Attempts(10**9, 0.0)
    opened.joins = WaitingRoom(Attempts(10**9, 0.0))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(door, "reception", opened)
        patched.setattr(door, "is_password", lambda typed, kept: typed == "correct horse")
        yield Roster(database).create("3b")
    database.close()


@pytest.fixture(scope="module")
def client(group: Class) -> Iterator[TestClient]:
    with TestClient(app(), follow_redirects=False) as opened:
        yield opened


@cache
def encoded(text: str) -> str:
    """As a browser sends it, half characters as the bytes that they would be."""
    return quote_from_bytes(text.encode("utf-8", "surrogatepass"), safe="")


def sent(client: TestClient, path: str, **fields: str) -> Any:
    body = "&".join(f"{name}={encoded(value)}" for name, value in fields.items())
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return client.post(path, content=body, headers=headers)


def inert(answer: Any, *statuses: int) -> Page:
    assert answer.status_code in statuses, answer.text[:300]
    page = Page(answer.text)
    assert page.tags <= TAGS
    assert not page.acts
    for link in (*page.links, answer.headers.get("location", "")):
        # Browsers leave out tabs and the ends of lines, and take a backslash for a slash.
        seen = "".join(c for c in link if c not in "\t\r\n").replace("\\", "/")
        assert urlsplit(urljoin("http://here/join", seen)).netloc == "here", link
    assert not UNSET & set(answer.cookies)
    return page


def outside(client: TestClient) -> None:
    """Nobody was let in, nor out with anything."""
    assert client.get("/predictions").status_code == 303


def as_code(client: TestClient, group: Class, text: str) -> None:
    inert(sent(client, "/join", code=text, name="Ann"), 403)
    outside(client)


def as_name(client: TestClient, group: Class, text: str) -> None:
    inert(sent(client, "/join", code=group.code, name=text), 200, 403)
    client.cookies.clear()


def as_resume(client: TestClient, group: Class, text: str) -> None:
    answer = sent(client, "/join", resume=text)
    inert(answer, 403)
    outside(client)


def as_next(client: TestClient, group: Class, text: str) -> None:
    """However an address is led round, who enters stays on this server."""
    if len(text) > 20_000:
        return  # longer than any server takes
    inert(client.get(f"/join?next={encoded(text)}"), 200)
    path = f"/join?next={encoded(text)}"
    inert(sent(client, path, code=group.code, name="Ann"), 200)
    client.cookies.clear()


def as_secret(client: TestClient, group: Class, text: str) -> None:
    inert(sent(client, "/teach", secret=text), 403)
    assert client.get("/class").status_code == 303


def as_cookie(client: TestClient, group: Class, text: str) -> None:
    value = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ").replace(b"\r", b" ")
    headers = {b"cookie": door.COOKIE.encode() + b"=" + value[:50_000]}
    answer = client.get("/predictions", headers=headers)
    inert(answer, 303)
    assert client.post("/leave", headers=headers).status_code == 303


def as_query(client: TestClient, group: Class, text: str) -> None:
    given = encoded(text)[:20_000]
    inert(client.get(f"/join?code={given}&{given}={given}"), 200)
    inert(client.get(f"/predictions?{given}"), 303)


def as_body(client: TestClient, group: Class, text: str) -> None:
    """Other kinds of content than a form's are no form."""
    body = text.encode("utf-8", "surrogatepass")
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        inert(client.post("/join", content=body, headers={"content-type": kind}), 403)
    inert(client.post("/teach", content=b"&" * 30 + body, headers={}), 403)
    outside(client)


def as_path(client: TestClient, group: Class, text: str) -> None:
    given = encoded(text)[:5_000]
    for before in ("/", "/media/", "/_stcore/", "/class/", "/predictions/"):
        answer = client.get(f"{before}{given or 'x'}")
        assert answer.status_code in (303, 403)
        assert "a page" not in answer.text
    inert(client.get(f"/{given or 'x'}"), 303)


SINKS: dict[str, Callable[[TestClient, Class, str], None]] = {
    "code": as_code,
    "name": as_name,
    "resume": as_resume,
    "next": as_next,
    "secret": as_secret,
    "cookie": as_cookie,
    "query": as_query,
    "body": as_body,
    "path": as_path,
}


@each_sink(SINKS, CASES, but="control")
def test_nobody_gets_further(
    client: TestClient, group: Class, sink: str, cases: tuple[Case, ...]
) -> None:
    try_all(cases, partial(SINKS[sink], client, group))


@each_sink(["code", "name", "next", "cookie"], of_kinds("control"))
def test_nor_by_a_control(
    client: TestClient, group: Class, sink: str, cases: tuple[Case, ...]
) -> None:
    try_all(cases, partial(SINKS[sink], client, group))


def test_letters_that_look_like_the_code_are_not_the_code(client: TestClient, group: Class) -> None:
    alike = str.maketrans(
        "abcdefghjkmnpqrstuvwxyz23456789", "аЬсԁеfgһјkmոрԛrѕtυνԝхуz２３４５６７８９"
    )
    for forged in (group.code.translate(alike), group.code[:-1], group.code + "a", group.id):
        if forged != group.code:
            as_code(client, group, forged)


@pytest.mark.parametrize("host", ["here/readyz?", "here/readyz#", "here\\readyz", "/readyz", ""])
def test_a_forged_host_opens_nothing(client: TestClient, host: str) -> None:
    assert "a page" not in client.get("/_stcore/metrics", headers={"host": host}).text
    assert "a page" not in client.get("/predictions", headers={"host": host}).text


@pytest.mark.parametrize("path", ["/join", "/leave", "/teach"])
def test_asking_for_the_head_of_a_page_does_nothing(
    client: TestClient, group: Class, path: str
) -> None:
    sent(client, "/join", code=group.code, name="Ann")
    assert client.head(path).status_code == 200
    assert client.get("/predictions").text == "a page"
    client.cookies.clear()


def test_a_seat_cannot_be_claimed_by_a_header(client: TestClient, group: Class) -> None:
    """What Streamlit is told of the seat is the door's word, not the browser's."""
    sent(client, "/join", code=group.code, name="Ann")
    told = [client.get("/told", headers=given).text for given in ({}, {"X-Strata-Seat": "forged"})]
    assert told[0] == told[1]
    assert len(told[0]) == 64
    client.cookies.clear()
    assert quote(told[0]) == told[0]
