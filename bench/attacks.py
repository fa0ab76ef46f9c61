"""`python -m bench.attacks`: what one learner can take from another, by trying it on a real server.

While somebody attacks from a process of its own, another learner of the class goes on working: half
and 95 of 100 of that one's views and new prompts are printed beside what they took before, and of
how many, with what the attacker itself took of the cores, by how much the server grew at most, and
what was left of that ten seconds after the attacker had gone. In truth the attacker is another
machine: here it stands back for the server.

    python -m bench.attacks --only tabs members --json attacks.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psutil
from sqlalchemy import update

from bench.attackers import ATTACKS, OF_THE_MODEL, PAGE, WRITING, ask
from bench.classroom import memory_of
from bench.classroom_client import Broken, Browser
from bench.measure import Sample
from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.storage.tables import MemberRow
from tests.browser.server import started

_MB = 1024 * 1024
_BEGINS, _ROUNDS = 10.0, 3  # seconds until an attack is in full swing; quiet and attacked turns
_PAUSE = 0.5  # seconds of the other learner's between two actions
_STANDS_BACK = 10  # of the attacker's processes, as `nice` has it
_AT_REST, _PATIENCE = 0.25, 60.0  # of a core; seconds until what was asked for must be done
_EVERY = 10  # of so many actions one is a new prompt: a learner may ask for 120 jobs a minute
_ALL_OF_IT = 0.8  # of what the server shares, the weights and libraries
_REST = 10.0  # seconds after which what a closed session held should be gone


def _attack(name: str, address: str, cookies: list[str]) -> None:
    os.nice(_STANDS_BACK)
    asyncio.run(ATTACKS[name][0](address, cookies))


# -- who goes on working -------------------------------------------------------------------------


@dataclass
class Works:
    """What a learner waited for: seconds."""

    pause: float = 1.5  # seconds between two actions
    every: int = 5  # of so many actions one is a new prompt, or has it go on
    views: list[float] = field(default_factory=list)
    prompts: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    errors: int = 0

    async def work(
        self, browser: Browser, seconds: float, prompts: bool, writing: Browser | None = None
    ) -> None:
        """Other tokens, and between them new prompts, if so wanted, or 12 tokens more of one on the
        page `writing`; no faster than a learner may: one who asks for more waits for that, whoever
        else is there."""
        until = time.monotonic() + seconds
        for number in count(1):
            if time.monotonic() > until:
                return
            try:
                if writing is not None and number % self.every == 0:
                    self.written.append(await writing.set("draw", secrets.randbelow(10_000)))
                elif prompts and number % self.every == 0:
                    prompt = f"{secrets.token_hex(2)} found a letter in the garden of the"
                    self.prompts.append(await ask(browser, prompt))
                else:
                    slider = next(k for k, w in browser.widgets.items() if w.kind == "slider")
                    self.views.append(await browser.slide(slider, number % 3))
            except Broken:
                self.errors += 1
            await asyncio.sleep(self.pause)

    def as_dict(self) -> dict[str, Any]:
        kinds = {"view": self.views, "new prompt": self.prompts, "12 tokens more": self.written}
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
    name: str,
    address: str,
    victim: Browser,
    writing: Browser | None,
    scale: Scale,
    cookies: list[str],
    seconds: float,
) -> dict[str, Any]:
    """One attack: what it took from the other learner. Quiet and attacked take turns, since the
    machine may have other work at one time than at another."""
    (quiet, attacked), prompts = (Works(_PAUSE, _EVERY) for _ in range(2)), name in OF_THE_MODEL
    before = scale.now
    attacker = multiprocessing.get_context("spawn").Process(
        target=_attack, args=(name, address, cookies), daemon=True
    )
    with scale.watching():
        attacker.start()
        process = psutil.Process(attacker.pid)
        await asyncio.sleep(_BEGINS)
        for _ in range(_ROUNDS):
            await attacked.work(victim, seconds / _ROUNDS, prompts, writing)
            process.suspend()
            await scale.at_rest()  # what it has asked for is done
            await quiet.work(victim, seconds / _ROUNDS, prompts, writing)
            process.resume()
            await asyncio.sleep(2.0)
        worked = sum(process.cpu_times()[:2])
    attacker.kill()
    attacker.join()
    await asyncio.sleep(_REST)
    return {
        "attack": name,
        "quiet": quiet.as_dict(),
        "attacked": attacked.as_dict(),
        "attacker": round(worked, 1),  # seconds of a core
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
            writing = None
            if name == "apart":
                writing = Browser(address, victim.cookie)
                await writing.open(PAGE, WRITING.format(n=12))
            scale, until = Scale(server), time.monotonic() + _PATIENCE
            while True:
                await Works().work(victim, 10.0, True)
                if scale.has_begun or time.monotonic() > until:
                    break
            return await measured(name, address, victim, writing, scale, cookies, seconds)

        return asyncio.run(whole())


def joined_long_ago(database: Database) -> None:
    """Nobody who is in by now counts as one who has just joined."""
    with database.session(write=True) as session:
        session.execute(update(MemberRow).values(joined=datetime.now(UTC) - timedelta(hours=1)))


def line(row: dict[str, Any]) -> str:
    """One attack in words."""
    told = [f"{row['attack']}:"]
    for kind in ("view", "new prompt", "12 tokens more"):
        quiet, attacked = row["quiet"].get(kind), row["attacked"].get(kind)
        if quiet and attacked:
            times = [f"{s['median']:.2f}, {s['p95']:.2f} s of {s['n']}" for s in (quiet, attacked)]
            told.append(f"{kind} {times[0]} quiet, {times[1]} attacked;")
    told.append(f"{row['attacked']['errors']} errors; the attacker took {row['attacker']:.0f} s,")
    told.append(f"{row['grown']:.0f} MB more at most,")
    return " ".join([*told, f"{row['left']:.0f} MB ten seconds later"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Try each attack; its figures, one line each."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=line.__doc__)
    parser.add_argument("--only", nargs="+", choices=ATTACKS)
    parser.add_argument("--seconds", type=float, default=130.0, help="of each attack")
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
