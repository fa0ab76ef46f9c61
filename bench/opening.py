"""`python -m bench.opening`: what a class that opens a new page takes from one who works elsewhere.

For each page a real server: one learner goes on looking at other tokens of another page, first
while nobody else does anything, then while 30 learners open that page within a minute, each with a
prompt or a set of their own choice, then alone again. Half and 95 of 100 of that one's views are
printed, quiet and meanwhile, and what those who opened the page waited for.

    python -m bench.opening --page evidence --json opening.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from bench.attackers import PAGE, ask
from bench.attacks import Scale, Works, joined_long_ago
from bench.classroom_client import Browser
from bench.measure import Sample
from strata.classroom.roster import Roster
from strata.storage.database import Database
from tests.browser.server import started

MOST = 1.5  # times its quiet value that another's view may take, 95 of 100
_READS = 5.0  # seconds from a page to what is chosen on it
_PROMPT = "{} wrote the letter that was found in the garden of the"

Act = Callable[[Browser, int], Awaitable[float]]


async def _another_set(browser: Browser, number: int) -> float:
    """One set of those there are after the other."""
    sets = list(browser.widgets["set"].proto.options)[:-1]  # all but one's own
    return await browser.write("set", sets[number % len(sets)])


async def _another_prompt(browser: Browser, number: int) -> float:
    return await ask(browser, _PROMPT.format(f"Learner {number}"))


PAGES: dict[str, tuple[str, str, Act]] = {  # address, its query, what is done on it
    "evidence": ("evidence", "", _another_set),
    "shape": ("trajectories", "view=Shape", _another_prompt),
    "whole layers": ("laminar_profile", "view=Whole+layers", _another_prompt),
}


async def _open(
    browser: Browser, page: tuple[str, str, Act], number: int, after: float, waited: list[float]
) -> None:
    """Come after so many seconds, look, choose something."""
    address, query, act = page
    await asyncio.sleep(after)
    waited.append(await browser.open(address, query))
    await asyncio.sleep(_READS)
    waited.append(await act(browser, number))


async def measured(
    name: str,
    address: str,
    code: str,
    database: Database,
    scale: Scale,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """One page: what it took from the other learner, and from those who opened it."""
    page = PAGES[name]
    quiet, meanwhile, waited = Works(), Works(), list[float]()
    async with httpx.AsyncClient(timeout=60, trust_env=False) as http:
        other = Browser(address)
        await other.join(http, code, "Ann")
        class_ = [Browser(address) for _ in range(options.learners)]
        for number, browser in enumerate(class_):
            await browser.join(http, code, f"Learner {number}")
    joined_long_ago(database)
    await other.open(PAGE)
    await Works().work(other, 3.0, True)
    await scale.at_rest()
    await quiet.work(other, options.seconds / 2, False)
    apart = options.seconds / options.learners
    coming = [
        asyncio.create_task(_open(browser, page, number, number * apart, waited))
        for number, browser in enumerate(class_)
    ]
    await meanwhile.work(other, options.seconds + _READS, False)
    told = await asyncio.gather(*coming, return_exceptions=True)
    await scale.at_rest()
    await quiet.work(other, options.seconds / 2, False)
    errors = [str(each) for each in told if isinstance(each, Exception)]
    for browser in [other, *class_]:
        await browser.close()
    return {
        "page": name,
        "quiet": quiet.as_dict(),
        "meanwhile": meanwhile.as_dict(),
        "waited": Sample(tuple(waited)).as_dict(),
        "errors": errors,
        "load_average": os.getloadavg()[0],
    }


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One page, on a server of its own."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        place = str(Path(folder) / "class.sqlite")
        database = Database(place)
        stack.callback(database.close)
        code = Roster(database).create("Opening a page").code
        environment = {
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": secrets.token_urlsafe(16),
            "STRATA_DATABASE_URL": place,
        }
        begun = started(environment=environment, log=options.log)
        address, server = stack.enter_context(begun)
        return asyncio.run(measured(name, address, code, database, Scale(server), options))


def ratio(row: dict[str, Any]) -> float:
    """How many times its quiet value another's view took meanwhile, 95 of 100 of each."""
    return float(row["meanwhile"]["view"]["p95"] / row["quiet"]["view"]["p95"])


def line(row: dict[str, Any]) -> str:
    """One page in words."""
    quiet, meanwhile, waited = row["quiet"]["view"], row["meanwhile"]["view"], row["waited"]
    return (
        f"{row['page']}: another's view {quiet['median']:.2f}, {quiet['p95']:.2f} s quiet, "
        f"{meanwhile['median']:.2f}, {meanwhile['p95']:.2f} s meanwhile "
        f"({ratio(row):.2f} times at 95 of 100, at most {MOST:g}); who opened it waited "
        f"{waited['median']:.2f}, {waited['p95']:.2f} s; {len(row['errors'])} errors; load "
        f"{row['load_average']:.1f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Each page, one line each; 1 if one takes more from another's view than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.opening", description=line.__doc__)
    parser.add_argument("--page", choices=PAGES, action="append", dest="pages")
    parser.add_argument("--learners", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="within which all open it")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write all numbers here")
    parser.add_argument("--log", metavar="FILE", type=Path, help="what the server prints")
    options = parser.parse_args(arguments)
    rows = []
    for name in options.pages or PAGES:
        rows.append(run(name, options))
        print(line(rows[-1]), *rows[-1]["errors"], sep="\n  ", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")
    return int(any(row["errors"] or ratio(row) > MOST for row in rows))


if __name__ == "__main__":
    sys.exit(main())
