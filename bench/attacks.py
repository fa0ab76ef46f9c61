"""`python -m bench.attacks`: what one learner can take from another, by trying it on a real server.

While somebody attacks from a process of its own, another learner of the class goes on working: half
and 95 of 100 of that one's views and new prompts are printed beside what they took before, with by
how much the server grew at most, and what was left of that ten seconds after the attacker had gone.

    python -m bench.attacks --seconds 20 --json attacks.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from sqlalchemy import update

from bench.classroom import memory_of
from bench.classroom_client import Broken, Browser
from bench.measure import Sample
from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.storage.tables import MemberRow
from tests.browser.server import started

PAGE, SLOWEST = "predictions", "scaling"
_MB = 1024 * 1024
_BEGINS, _ROUNDS = 10.0, 3  # seconds until an attack is in full swing; quiet and attacked turns
_PAUSE = 1.5  # seconds of the other learner's between two actions
_AT_REST, _PATIENCE = 0.25, 60.0  # of a core; seconds until what was asked for must be done
_ALL_OF_IT = 0.8  # of what the server shares, the weights and libraries
_REST = 10.0  # seconds after which what a closed session held should be gone
_LONG = "the river and the garden behind the old library were quiet while "  # a dozen tokens
_GONE = (Broken, OSError, httpx.HTTPError, KeyError)

Attack = Callable[
    [str, list[str]], Coroutine[Any, Any, None]
]  # address, the cookies of its members


# -- attacks: each goes on until it is ended -----------------------------------------------------


async def sockets(address: str, cookies: list[str]) -> None:
    """30 tabs of one learner, each of which asks for its page again and again."""
    await _all(_reloading(address, cookies[0]) for _ in range(30))


async def uploads(address: str, cookies: list[str]) -> None:
    """40 tabs of one learner, into each of which 8 files of 5 MB are sent."""

    async def one() -> None:
        browser = Browser(address, cookies[0])
        await browser.open(PAGE)
        async with httpx.AsyncClient(timeout=60) as http:
            told = await http.get(f"{address}/_stcore/health", headers={"Cookie": cookies[0]})
            token = told.cookies["_streamlit_xsrf"]
            headers = {"Cookie": f"{cookies[0]}; _streamlit_xsrf={token}", "X-Xsrftoken": token}
            for number in range(8):
                file = {"file": ("text.txt", bytes(5 * _MB - 1_000))}
                path = f"/_stcore/upload_file/{browser.session}/{number}"
                await http.put(address + path, files=file, headers=headers)
        await browser.closed()

    await _all(_again(one) for _ in range(40))


def handshake(host: str, cookie: str) -> bytes:
    """What a browser sends to open a tab's socket."""
    asked = [
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Protocol: streamlit",
        f"Cookie: {cookie}",
    ]
    return "\r\n".join([*asked, "", ""]).encode()


async def frames(address: str, cookies: list[str]) -> None:
    """3 messages of 145 MB of which the end never comes."""

    async def one() -> None:
        place = urlsplit(address)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(handshake(place.netloc, cookies[0]))
        await reader.readuntil(b"\r\n\r\n")
        size = 145 * _MB
        writer.write(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
        with suppress(OSError):
            for _ in range(144):
                writer.write(bytes(_MB))
                await writer.drain()
        await asyncio.Event().wait()

    await _all(one() for _ in range(3))


async def members(address: str, cookies: list[str]) -> None:
    """12 members made by one hand, each with a new prompt after the other, on 3 pages."""
    pages = (PAGE, "logit_lens", "hidden_states")
    await _all(_prompting(address, cookie, page) for cookie in cookies for page in pages)


async def sweeps(address: str, cookies: list[str]) -> None:
    """One learner with one sweep of a long text after the other, on 6 tabs."""
    await _all(_prompting(address, cookies[0], SLOWEST, 12) for _ in range(6))


ATTACKS: dict[str, tuple[Attack, int]] = {  # with how many members each is made
    "sockets": (sockets, 1),
    "uploads": (uploads, 1),
    "frames": (frames, 1),
    "members": (members, 12),
    "sweeps": (sweeps, 1),
}
OF_THE_MODEL = ("members", "sweeps")  # against which new prompts count; of others, views


async def _all(tasks: Iterator[Any]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


async def _again(act: Callable[[], Awaitable[None]]) -> None:
    """For ever, whatever the server says."""
    while True:
        with suppress(*_GONE):
            await act()
        await asyncio.sleep(2.0)  # as a browser does


async def _reloading(address: str, cookie: str) -> None:
    async def one() -> None:
        browser = Browser(address, cookie)
        await browser.open(PAGE)
        while True:
            await browser.again()

    await _again(one)


async def _prompting(address: str, cookie: str, page: str, repeats: int = 1) -> None:
    async def one() -> None:
        browser = Browser(address, cookie)
        await browser.open(page)
        for number in count():
            await ask(browser, f"{secrets.token_hex(3)} {number} " + _LONG * repeats)

    await _again(one)


def _attack(name: str, address: str, cookies: list[str]) -> None:
    asyncio.run(ATTACKS[name][0](address, cookies))


# -- who goes on working -------------------------------------------------------------------------


async def ask(browser: Browser, prompt: str) -> float:
    """A new prompt, in the field of the page; seconds until the page is complete."""
    box = next(key for key in browser.widgets if key.startswith("text_"))
    return await browser.write(box, prompt, "look_inside")


@dataclass
class Works:
    """What a learner waited for: seconds."""

    views: list[float] = field(default_factory=list)
    prompts: list[float] = field(default_factory=list)
    errors: int = 0

    async def work(self, browser: Browser, seconds: float, prompts: bool) -> None:
        """Another token, and after four of them a new prompt, if so wanted, no faster than a
        learner may: one who asks for more waits for that, whoever else is there."""
        until = time.monotonic() + seconds
        for number in count():
            if time.monotonic() > until:
                return
            try:
                if prompts and number % 5 == 4:
                    prompt = f"{secrets.token_hex(2)} found a letter in the garden of the"
                    self.prompts.append(await ask(browser, prompt))
                else:
                    slider = next(k for k, w in browser.widgets.items() if w.kind == "slider")
                    self.views.append(await browser.slide(slider, number % 3))
            except Broken:
                self.errors += 1
            await asyncio.sleep(_PAUSE)

    def as_dict(self) -> dict[str, Any]:
        kinds = {"view": self.views, "new prompt": self.prompts}
        told = {kind: Sample(tuple(taken)).as_dict() for kind, taken in kinds.items() if taken}
        return told | {"errors": self.errors}


@dataclass
class Scale:
    """How large a server and the processes that it started are, looked at once a second."""

    server: psutil.Process
    most: float = 0.0

    @property
    def now(self) -> float:
        """Megabytes."""
        return sum(map(memory_of, [self.server, *self.server.children(recursive=True)])) / _MB

    async def at_rest(self) -> None:
        """Wait until the server has nothing to do."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            before = self._worked
            await asyncio.sleep(1.0)
            if self._worked - before < _AT_REST:
                return

    @property
    def has_begun(self) -> bool:
        """Whether the process that runs the model, if there is one, has its weights: it starts
        later than the server, and what it takes for that is no attack's doing."""
        shared = [each.memory_info().shared for each in self.server.children()]
        whole = self.server.memory_info().shared
        return not shared or max(shared) > _ALL_OF_IT * whole

    @property
    def _worked(self) -> float:
        """Seconds of a core."""
        processes = [self.server, *self.server.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in processes)

    @contextmanager
    def watching(self) -> Iterator[None]:
        stop, self.most = Event(), self.now

        def look() -> None:
            while not stop.wait(1.0):
                self.most = max(self.most, self.now)

        thread = Thread(target=look, daemon=True)
        thread.start()
        yield
        stop.set()
        thread.join()


async def measured(
    name: str, address: str, victim: Browser, scale: Scale, cookies: list[str], seconds: float
) -> dict[str, Any]:
    """One attack: what it took from the other learner. Quiet and attacked take turns, since the
    machine may have other work at one time than at another."""
    quiet, attacked, prompts = Works(), Works(), name in OF_THE_MODEL
    before = scale.now
    attacker = multiprocessing.get_context("spawn").Process(
        target=_attack, args=(name, address, cookies), daemon=True
    )
    with scale.watching():
        attacker.start()
        process = psutil.Process(attacker.pid)
        await asyncio.sleep(_BEGINS)
        for _ in range(_ROUNDS):
            await attacked.work(victim, seconds / _ROUNDS, prompts)
            process.suspend()
            await scale.at_rest()  # what it has asked for is done
            await quiet.work(victim, seconds / _ROUNDS, prompts)
            process.resume()
            await asyncio.sleep(2.0)
    attacker.kill()
    attacker.join()
    await asyncio.sleep(_REST)
    return {
        "attack": name,
        "quiet": quiet.as_dict(),
        "attacked": attacked.as_dict(),
        "grown": round(scale.most - before, 1),
        "left": round(scale.now - before, 1),
    }


def run(names: Sequence[str], seconds: float, log: Path | None) -> list[dict[str, Any]]:
    """Each attack on a server of its own."""
    return [_run(name, seconds, log) for name in names]


def _run(name: str, seconds: float, log: Path | None) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        place = str(Path(folder) / "class.sqlite")
        database = Database(place)
        stack.callback(database.close)
        group = Roster(database).create("Under attack")
        environment = {
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": secrets.token_urlsafe(16),
            "STRATA_DATABASE_URL": place,
            "STRATA_READ_AHEAD": "false",  # 71 MB, whoever is there
        }
        address, server = stack.enter_context(started(environment=environment, log=log))

        async def whole() -> dict[str, Any]:
            async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
                victim = Browser(address)
                await victim.join(http, group.code, "Ann")
                joined_long_ago(database)
                cookies = []
                for number in range(ATTACKS[name][1]):
                    attacker = Browser(address)
                    await attacker.join(http, group.code, f"Eve {number}")
                    cookies.append(attacker.cookie)
            await victim.open(PAGE)
            scale, until = Scale(server), time.monotonic() + _PATIENCE
            while True:
                await Works().work(victim, 10.0, True)
                if scale.has_begun or time.monotonic() > until:
                    break
            return await measured(name, address, victim, scale, cookies, seconds)

        return asyncio.run(whole())


def joined_long_ago(database: Database) -> None:
    """Nobody who is in by now counts as one who has just joined."""
    with database.session(write=True) as session:
        session.execute(update(MemberRow).values(joined=datetime.now(UTC) - timedelta(hours=1)))


def line(row: dict[str, Any]) -> str:
    """One attack in words."""
    told = [f"{row['attack']}:"]
    for kind in ("view", "new prompt"):
        quiet, attacked = row["quiet"].get(kind), row["attacked"].get(kind)
        if quiet and attacked:
            times = (quiet["median"], quiet["p95"], attacked["median"], attacked["p95"])
            told.append(
                "{} {:.2f}, {:.2f} s quiet, {:.2f}, {:.2f} s attacked;".format(kind, *times)
            )
    told.append(f"{row['attacked']['errors']} errors; {row['grown']:.0f} MB more at most,")
    return " ".join([*told, f"{row['left']:.0f} MB ten seconds later"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each attack; its figures, one line each."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=line.__doc__)
    parser.add_argument("--only", action="append", choices=ATTACKS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each attack")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all numbers here")
    parser.add_argument("--log", metavar="FILE", type=Path, help="what the server prints")
    options = parser.parse_args(arguments)
    rows = []
    for name in options.only or ATTACKS:
        rows += run([name], options.seconds, options.log)
        print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
