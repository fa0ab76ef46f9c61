"""A server with a class, which a drill may end, kill and start again with all that it holds."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil

from strata.classroom.asked import Asked
from strata.classroom.codes import fingerprint, new_code, new_id
from strata.classroom.roster import Class, Roster
from strata.classroom.votes import Votes
from strata.lessons import Question
from strata.storage.database import Database
from strata.storage.tables import MemberRow, SeatRow
from tests.browser.server import WITHOUT_A_PROCESS, await_ready, end, free_port, launched

_STARTS = 120.0  # seconds that a server has to answer again


@dataclass
class Seated:
    """A learner who has joined: the member's id and the browser's cookie."""

    member: str
    name: str
    cookie: str


@dataclass
class School:
    """One server, on one port for as long as the drill lasts. `place` is its database, `url` how
    the server itself is told of it, where that is another way."""

    place: str
    state: Path
    settings: Mapping[str, str]
    log: Path
    url: str = ""
    port: int = field(default_factory=free_port)
    process: psutil.Process | None = None
    printed: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, path: str = "/_stcore/health") -> None:
        """Begin, and wait until that path is answered 200."""
        environment = {
            **WITHOUT_A_PROCESS,
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": secrets.token_hex(8),
            "STRATA_DATABASE_URL": self.url or self.place,
            "STRATA_STATE": str(self.state),
            **self.settings,
        }
        self._read()
        self.process = launched(self.port, environment=environment, log=self.log)
        await_ready(self.process, self.address + path, self.log, _STARTS)

    def kill(self) -> None:
        """As the system does when memory is out."""
        assert self.process
        with suppress(psutil.NoSuchProcess):
            self.process.kill()
            self.process.wait(15)

    def stop(self) -> None:
        """As a service manager does: SIGTERM, and SIGKILL if that takes 15 s."""
        assert self.process
        end(self.process)

    def tracebacks(self) -> int:
        """How many errors of programs the log holds, of all servers of this drill; not that
        browsers went away."""
        self._read()
        pieces = self.printed.split("Traceback (most recent call last)")[1:]
        ended = [next((x for x in piece.splitlines()[1:] if x[:1].strip()), "") for piece in pieces]
        return sum("ClientDisconnect" not in line for line in ended)

    def _read(self) -> None:
        if self.log.is_file():
            self.printed += self.log.read_text(errors="replace")
            self.log.write_text("")

    async def waiting(self) -> int:
        """How many changes wait for the database."""
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(f"{self.address}/readyz", timeout=20)
        return int(json.loads(answer.text)["waiting"])

    async def settled(self, seconds: float) -> bool:
        """Whether all that waited is stored, within some seconds."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            with suppress(httpx.HTTPError, KeyError):
                if await self.waiting() == 0:
                    return True
            await asyncio.sleep(0.3)
        return False


def new_class(place: str, n_learners: int) -> tuple[Class, str, list[Seated]]:
    """A class that votes on a word, the vote's id, and so many learners in it."""
    database = Database(place)
    group = Roster(database).create("Drill")
    question = {"kind": "token", "ask": "Which word?", "answer": "none"}
    vote = Votes(database).open(group.id, Asked(question=Question.model_validate(question)))
    now, seated = datetime.now(UTC), []
    with database.session(write=True) as session:
        for number in range(n_learners):
            member, token, name = new_id(), secrets.token_urlsafe(32), f"Learner {number}"
            resume = fingerprint(new_code())
            joined = {"id": member, "class_id": group.id, "name": json.dumps(name)}
            session.add(MemberRow(**joined, resume=resume, joined=now))
            until = now + timedelta(days=30)
            session.add(SeatRow(token=fingerprint(token), member=member, until=until))
            seated.append(Seated(member, name, f"strata_seat={token}"))
    database.close()
    return group, vote.id, seated
