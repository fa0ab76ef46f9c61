"""`python -m tests.drills`: of what learners are told to be kept, is all of it stored, and once?"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests import small
from tests.browser import running
from tests.databases import KINDS, Server
from tests.drills.faults import FAULTS, Fault, Scene, Skip, put_away
from tests.drills.kept import Kept, compared
from tests.drills.learners import Day, Told
from tests.drills.school import School, Seated, new_class

_CALM = 5.0  # seconds before the fault
_AFTER = 6.0  # seconds of work after it
_ANSWERS = 5  # of lessons that are kept by then: of none it could not be said that none was lost
_FIRST_WORD = 120.0  # seconds that a busy machine has for them
_LAST_WORD = 40.0  # seconds in which all that was begun has to come to an end
_IN_LESSONS = 6  # learners
_JOINING = 10  # who join while it happens
_HEAD = (
    "fault",
    "database",
    "ballots",
    "answers",
    "joins",
    "lost",
    "twice",
    "given up",
    "no word",
    "longest",
)


@dataclass
class Outcome:
    """What came of one drill; `skipped`: why it was not made."""

    fault: Fault
    kind: str
    told: Told
    kept: Kept | None = None
    skipped: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there were answers of all kinds, and nothing was lost, there twice, wrongly
        refused, or left without a word."""
        kept, told = self.kept, self.told
        if kept is not None and not (kept.ballots and kept.answers and kept.joins):
            return False
        return kept is None or not (
            kept.lost or kept.twice or told.refused or told.forgotten or told.open or self.remarks
        )

    def row(self) -> list[str]:
        if self.kept is None:
            return [self.fault.name, self.kind, f"not made: {self.skipped}"]
        numbers = (self.kept.ballots, self.kept.answers, self.kept.joins)
        wrong = (len(self.kept.lost), len(self.kept.twice), sum(self.told.refused.values()))
        said = [f"{each:,}" for each in (*numbers, *wrong, self.told.open)]
        return [self.fault.name, self.kind, *said, f"{self.told.longest:.0f} s"]

    def details(self) -> list[str]:
        """What was wrong, in lines."""
        if self.kept is None:
            return []
        found = [*self.told.refused.items(), *self.told.forgotten.items()]
        return [
            *(f"lost: {each}" for each in self.kept.lost[:5]),
            *(f"twice: {each}" for each in self.kept.twice[:5]),
            *(f"{count} x {words}" for words, count in found),
            *self.remarks,
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the drills that are asked for; 0 only if nothing was lost, or there twice."""
    parser = argparse.ArgumentParser("python -m tests.drills", description=__doc__)
    add = parser.add_argument
    add("--only", default="", metavar="TEXT", help="drills whose name holds this")
    add("--database", choices=KINDS, help="only on this one")
    add("--learners", type=int, default=300)
    add("--write", type=Path, metavar="FILE", help="write the table there, as Markdown")
    add("--log", type=Path, metavar="FILE", help="keep what the servers print")
    asked = parser.parse_args(arguments)
    kinds = [asked.database] if asked.database else KINDS
    chosen = [
        (fault, kind)
        for kind in kinds
        for fault in FAULTS
        if kind in fault.kinds and asked.only in fault.name
    ]
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    with ExitStack() as stack:
        running.begin()
        stack.callback(running.end)
        models = Path(stack.enter_context(TemporaryDirectory()))
        settings = small.environment(models)
        for fault, kind in chosen:
            outcomes.append(outcome := drilled(fault, kind, asked.learners, settings, asked.log))
            print(" | ".join(outcome.row()), "" if outcome.ok else "  <-- WRONG", flush=True)
            for line in outcome.details():
                print("    ", line[:300], flush=True)
    print(table(outcomes))
    if asked.write:
        before = asked.write.read_text("utf-8") if asked.write.exists() else ""
        _, found, rest = before.partition(_FOUND)  # written by hand
        made = page(outcomes, asked.learners, time.monotonic() - begun)
        asked.write.write_text(made + found + rest, "utf-8")
    return int(not all(outcome.ok for outcome in outcomes))


def drilled(
    fault: Fault, kind: str, learners: int, settings: dict[str, str], log: Path | None
) -> Outcome:
    """One drill, from an empty database to the comparison."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="drill-")))
        os.chmod(folder, 0o755)  # PostgreSQL is not run by root
        try:
            server = stack.enter_context(_server(folder)) if kind == "postgresql" else None
            scene = Scene(folder, kind, server, settings=dict(settings))
            scene.prepare()
            stack.callback(put_away, scene)
            stack.enter_context(fault.around(scene))
            group, vote, seated = new_class(scene.place, learners)
            printed = log or folder / "log.txt"
            scene.school = School(scene.place, scene.state, scene.settings, printed)
            stack.callback(scene.school.stop)
            told = Told()
            settled = asyncio.run(_played(fault, scene, vote, group.code, seated, told))
        except Skip as reason:
            return Outcome(fault, kind, Told(), skipped=str(reason))
        except TimeoutError as error:  # no server, no result
            return Outcome(fault, kind, Told(), Kept(0, 0, 0), remarks=(str(error),))
        remarks = [] if settled else ["not all that waited was stored"]
        if errors := scene.school.tracebacks():
            remarks.append(f"{errors} errors of programs in the log")
        return Outcome(fault, kind, told, compared(scene.place, told, vote), "", tuple(remarks))


@contextmanager
def _server(folder: Path) -> Iterator[Server]:
    server = Server(folder / "server")
    try:
        yield server
    finally:
        if server.runs:
            server.stop()


async def _played(
    fault: Fault, scene: Scene, vote: str, code: str, seated: list[Seated], told: Told
) -> bool:
    """A class at work, and the fault; whether all that waited was stored at the end."""
    school, address = scene.here, scene.here.address
    for line in scene.lines:
        ours = line.to == 0
        line.to = line.to or school.port
        await line.start()
        if ours:
            address = f"http://127.0.0.1:{line.port}"
        else:
            school.url = scene.place.replace(f":{line.to}/", f":{line.port}/")
    await asyncio.to_thread(school.start, "/readyz")
    limits = httpx.Limits(max_connections=400, keepalive_expiry=2.0)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as http:
        day, dice = Day(address, vote, told, http), random.Random(0)
        following = [asyncio.create_task(day.follows(who)) for who in seated]
        working = [
            asyncio.create_task(
                day.learns(who, random.Random(n))
                if n < _IN_LESSONS
                else day.votes(who, random.Random(n))
            )
            for n, who in enumerate(seated)
        ]
        await asyncio.sleep(_CALM)
        until = time.monotonic() + _FIRST_WORD
        while len(told.answers) < _ANSWERS and time.monotonic() < until:
            await asyncio.sleep(0.2)
        joining = [
            asyncio.create_task(_later(dice.uniform(0, 8), day.joins(code, f"Newcomer {n}")))
            for n in range(_JOINING)
        ]
        await fault.happens(scene)
        await asyncio.sleep(_AFTER)
        day.over.set()
        _, late = await asyncio.wait([*working, *joining], timeout=_LAST_WORD)
        settled = await school.settled(_LAST_WORD)
        for task in (*late, *following):
            task.cancel()
        results = await asyncio.gather(*working, *joining, *following, return_exceptions=True)
        for line in scene.lines:
            line.stop()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return settled


async def _later(seconds: float, what: object) -> None:
    await asyncio.sleep(seconds)
    await what  # type: ignore[misc]


def table(outcomes: Sequence[Outcome]) -> str:
    """All of it, in Markdown."""
    rows = [list(_HEAD), ["---"] * len(_HEAD)]
    for outcome in outcomes:
        row = outcome.row()
        rows.append(row + [""] * (len(_HEAD) - len(row)))
    made = [each.kept for each in outcomes if each.kept]
    sums = [sum(getattr(k, name) for k in made) for name in ("ballots", "answers", "joins")]
    wrong = sum(len(k.lost) for k in made), sum(len(k.twice) for k in made)
    given = sum(sum(each.told.refused.values()) for each in outcomes)
    last = [f"{each:,}" for each in (*sums, *wrong, given, sum(o.told.open for o in outcomes))]
    rows.append(["**all**", "", *last, ""])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page(outcomes: Sequence[Outcome], learners: int, seconds: float) -> str:
    """docs/drills.md."""
    words = {outcome.fault.name: outcome.fault.words for outcome in outcomes}
    faults = "\n".join(f"- **{name}**: {said}" for name, said in words.items())
    return _PAGE.format(
        learners=learners,
        lessons=_IN_LESSONS,
        joining=_JOINING,
        minutes=seconds / 60,
        table=table(outcomes),
        faults=faults,
    )


_FOUND = "\n## What it found\n"
_PAGE = """# Fault drills

`python -m tests.drills --write docs/drills.md` has a class of {learners} work at a real server
while something goes wrong, and compares what each browser was told with what is stored in the end,
asked past the code under test. {lessons} of them answer in lessons, by the pages and their sockets;
all others hand in a ballot every 3 to 8 s, as a learner's browser does it (it tries again where it
is not told that a ballot is kept); {joining} more join meanwhile. It took {minutes:.0f} minutes and
is no part of continuous integration.

The last result. **Ballots**, **answers** and **joins** are what somebody was told to be kept;
**lost** what of that is not stored; **twice** what is stored more than once; **given up** what a
browser was told not to try again though nothing was wrong with it; **no word** ballots that had
neither been kept nor refused 40 s after the work had ended; **longest** what a ballot had to wait.

{table}

What happens once the class is at work:

{faults}

SQLite's database is a file of its own; PostgreSQL is a server of the drill's own, whose clock is
not moved. For the full disk both the database and what the server keeps (`STRATA_STATE`) are on one
disk of 22 MB, with PostgreSQL of 200 MB. A power cut is not among them.
"""


if __name__ == "__main__":
    sys.exit(main())
