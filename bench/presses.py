"""`python -m bench.presses`: how many presses of a button are lost when something else is moved at
once, with `on_script_will_rerun` as Strata has it and as Streamlit has it.

A page of a button and a slider is served; sessions press and, 0 to 40 ms later, move. A press is
lost where its callback has not run when all is quiet again.

    python -m bench.presses --doubles 1000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.classroom_client import Browser
from tests.browser.server import serve

_APP = Path(__file__).with_name("presses_app.py")
_SESSIONS = 10  # at the same time, as in a class
_LONGEST = 0.04  # seconds between press and move
WAYS = {  # what is left of Streamlit's own, and its setting
    "as Strata has it": {},
    "without “presses”": {"STRATA_PLAIN_STREAMLIT": "presses"},
    "Streamlit as it is, fastReruns off": {"STRATA_PLAIN_STREAMLIT": "1"},
    "Streamlit as it is, its default": {
        "STRATA_PLAIN_STREAMLIT": "1",
        "STREAMLIT_RUNNER_FAST_RERUNS": "true",
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print presses and lost ones for each way; 1 if Strata's own loses any."""
    parser = argparse.ArgumentParser(prog="python -m bench.presses", description="Presses lost.")
    parser.add_argument("--doubles", type=int, default=1000, help="quick double actions")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    found = {}
    for way, environment in WAYS.items():
        with serve(_APP, environment, wait_until_ready=False) as address:
            found[way] = asyncio.run(_lost(address, options.doubles, options.seed))
        print(f"{way:<38}{options.doubles:>6} presses, {found[way]:>4} lost", flush=True)
    return int(found["as Strata has it"] > 0)


async def _lost(address: str, doubles: int, seed: int) -> int:
    each = doubles // _SESSIONS
    sessions = (_session(address, each, seed + number) for number in range(_SESSIONS))
    return sum(await asyncio.gather(*sessions))


async def _session(address: str, doubles: int, seed: int) -> int:
    """One browser's double actions; how many of its presses were not heard."""
    pauses, browser = random.Random(seed), Browser(address)
    await browser.open("")
    shown = dict(browser.widgets)
    for number in range(doubles):
        await browser.send_press("press")
        await asyncio.sleep(pauses.uniform(0, _LONGEST))
        browser.widgets |= shown  # while a run begins, the browser still shows the one before
        await browser.slide("move", number % 100)
    await browser.slide("move", 100)  # when this has come, all has
    [heard] = [key for key in browser.widgets if key.startswith("heard_")]
    await browser.close()
    return doubles - int(heard.removeprefix("heard_"))


if __name__ == "__main__":
    sys.exit(main())
