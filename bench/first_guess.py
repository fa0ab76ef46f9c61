"""`python -m bench.first_guess`: how late the guess of the first page is, beside a Streamlit page
of one line, each opened in turn by browsers that know neither.

With `--before-the-weights` the servers have just been started, and no model is there yet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.driver import DESK, OPTIONS, chromium
from tests.browser.server import serve

_EMPTY = Path(__file__).with_name("empty_page.py")
_MOST = 1.3  # times as late as the page of one line


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both medians and their ratio; 1 if it is above 1.3."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_guess", description="Seconds.")
    parser.add_argument("--times", type=int, default=7, help="how often each page is opened")
    parser.add_argument("--before-the-weights", action="store_true")
    options = parser.parse_args(arguments)
    found: dict[str, list[float]] = {"one line": [], "the guess": []}
    with (
        serve(_EMPTY, wait_until_ready=False) as empty,
        serve(wait_until_ready=not options.before_the_weights) as strata,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        for _ in range(options.times):
            found["one line"].append(_seconds(browser, empty, "text=Here I am."))
            found["the guess"].append(_seconds(browser, strata, "input[aria-label='Your word']"))
        browser.close()
    for name, seconds in found.items():
        print(f"{name:<10} {statistics.median(seconds):.2f} s, {min(seconds):.2f} at best")
    ratio = statistics.median(found["the guess"]) / statistics.median(found["one line"])
    print(f"{ratio:.2f} times as late")
    return int(ratio > _MOST)


def _seconds(browser: Browser, address: str, selector: str) -> float:
    with browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        began = time.perf_counter()
        page.goto(address)
        expect(page.locator(selector)).to_be_visible(timeout=120_000)
        return time.perf_counter() - began


if __name__ == "__main__":
    raise SystemExit(main())
