"""What a class's log says after learners have come and strangers have tried this and that."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from strata.classroom.roster import Roster
from strata.storage.database import Database
from tests.browser.shared import NAME, shared_class
from tests.ui.server.sockets import Socket

WHO, PROMPT = "Annegret Log", "nobody but me wrote these violet words"
EVIL = "evil.example"


def test_a_log_tells_nothing_of_who_did_what() -> None:
    address, folder = shared_class()
    at, log = urlsplit(address), folder / "log.txt"
    assert at.hostname
    assert at.port
    begun = len(log.read_bytes())
    database = Database(folder / "state" / "strata.sqlite")
    group = Roster(database).create("The class of the log")
    database.close()

    def join(name: str) -> str:
        form = {"code": group.code, "name": name}
        answer = httpx.post(f"{address}/join", data=form, verify=False, timeout=60)
        return answer.cookies["strata_seat"]

    def frame(cookie: str, sent: bytes | str, **asked: str) -> None:
        """A socket with headers of its own, one frame, and its end."""
        headers = {"Cookie": f"strata_seat={cookie}", "X-Forwarded-For": "192.0.2.55", **asked}
        line = socket.create_connection((at.hostname, at.port))
        to = f"ws://{headers.pop('Host', at.netloc)}/_stcore/stream?asked={EVIL}"
        more: dict[str, Any] = {"sock": line, "additional_headers": headers, "open_timeout": 60}
        with suppress(ConnectionClosed, InvalidStatus), connect(to, **more) as forged:
            forged.send(sent)
            forged.recv(timeout=60)

    ann, ben = join(WHO), join("Ben")
    with Socket(address, ann) as page:
        page.run("predictions", f"prompt={PROMPT.replace(' ', '+')}&target=1")
        session = page.session
        with Socket(address, ben, session) as other:  # another's session
            other.run("predictions")
        with Socket(address, ann, session) as again:  # one's own from another tab
            again.run("predictions")
    for number in range(20):
        frame(ann, b"\xff\xfe no message of Streamlit's %d" % number)
    for sent, asked in (
        ("words", {}),
        (b"", {"Origin": f"https://{EVIL}"}),
        (b"", {"Origin": f"http://[{EVIL}"}),  # half of an address
        (b"", {"Host": EVIL}),
        (b"", {"Host": NAME, "Origin": f"http://{NAME}:80"}),  # Streamlit itself refuses that
    ):
        frame(ann, sent, **asked)
    for number in range(20):
        with closing(socket.create_connection((at.hostname, at.port))) as line:
            head = f"POST /join?next=/{EVIL} HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 99\r\n\r\n"
            line.sendall(f"{head}code={number}&name={WHO}".encode())
            line.shutdown(socket.SHUT_RDWR)
    with closing(socket.create_connection((at.hostname, at.port))) as line:
        line.sendall(f"{EVIL} is no HTTP\r\n\r\n".encode())
        line.recv(9)
    for path in ("/media/nothing.csv", f"/predictions?prompt={EVIL}", "/_stcore/upload_file/x/y"):
        cookies = {"strata_seat": ann}
        for method in ("GET", "PUT", "DELETE"):
            httpx.request(method, address + path, cookies=cookies, verify=False, timeout=60)
    ends = time.monotonic() + 30
    while (written := log.read_bytes()[begun:].decode()).count("went away while") == 0:
        assert time.monotonic() < ends
        time.sleep(0.1)

    private = (WHO, "Annegret", PROMPT, "violet", session, ann, ben, group.code, group.id)
    for each in (*private, EVIL, NAME, "192.0.2.55", "127.0.0.1"):
        assert each not in written, written
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", written), written  # a session's id
    assert "Traceback" not in written
    assert 'File "' not in written
    for said in ("went away while", "Error deserializing", "sent text", "disallowed Origin"):
        assert 1 <= written.count(said) <= 6, json.dumps([said, written])
