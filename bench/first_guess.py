"""`python -m bench.first_guess`: how late the guess of the first page is, beside a Streamlit page
of one line, each opened in turn by browsers that know neither. From the request until what is
looked for can be seen, which of the guess is when it is painted; and until Streamlit's own field
has taken its place, from which on it is answered.

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
_GUESS = "#strata-first input", ".st-key-first_word input"
# What is visible to Playwright may wait to be painted.
_PAINTED = """new Promise(done => new PerformanceObserver(() => done())
  .observe({type: "paint", buffered: true}))"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both medians and their ratio; 1 if it is above 1.3."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_guess", description="Seconds.")
    parser.add_argument("--times", type=int, default=7, help="how often each page is opened")
    parser.add_argument("--before-the-weights", action="store_true")
    options = parser.parse_args(arguments)
    lines, guesses = [], []
    with (
        serve(_EMPTY, wait_until_ready=False) as empty,
        serve(wait_until_ready=not options.before_the_weights) as strata,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        for _ in range(options.times):
            lines += _seconds(browser, empty, "text=Here I am.")
            guesses.append(_seconds(browser, strata, *_GUESS))
        browser.close()
    early, own = zip(*guesses, strict=True)
    for name, seconds in (("one line", lines), ("the guess", early), ("Streamlit's own", own)):
        print(f"{name:<15} {statistics.median(seconds):.2f} s, {min(seconds):.2f} at best")
    ratio = statistics.median(early) / statistics.median(lines)
    later = statistics.median(own) / statistics.median(lines)
    print(f"{ratio:.2f} times as late, {later:.2f} Streamlit's own")
    return int(ratio > _MOST)


def _seconds(browser: Browser, address: str, *selectors: str) -> list[float]:
    """How long each of `selectors` lets one wait."""
    with browser.new_context(viewport=DESK) as context:
        page, passed = context.new_page(), []
        began = time.perf_counter()
        page.goto(address, wait_until="commit")
        for selector in selectors:
            expect(page.locator(selector)).to_be_visible(timeout=120_000)
            page.evaluate(_PAINTED)
            passed.append(time.perf_counter() - began)
        return passed


if __name__ == "__main__":
    raise SystemExit(main())
