"""`python -m bench.first_sample`: how soon the Gaussian baseline is there in a fresh browser.

Seconds to its first figure and until the page is whole: of a server that has just been started, and
of the next one, which finds what the first has summarised. `--beside ADDRESS` opens the same page
of another server that has just been started, first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, expect, sync_playwright

from strata.runtime.folders import home
from tests.browser.driver import DESK, OPTIONS, chromium
from tests.browser.server import serve

_FIGURE = "[data-testid=stVegaLiteChart] svg"
_PATIENCE = 300_000  # milliseconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the seconds of each."""
    parser = argparse.ArgumentParser(prog="python -m bench.first_sample", description="Seconds.")
    parser.add_argument("--beside", metavar="ADDRESS", help="of another server")
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        if options.beside:
            print(f"beside it:       {_opened(browser, options.beside)}", flush=True)
        for kept in home().iterdir():  # weights, but nothing that was summarised
            if kept.name != "summaries":
                (Path(folder) / kept.name).symlink_to(kept)
        environment = {"STRATA_HOME": folder, "STRATA_SUMMARIES": "true"}
        for name in ("a fresh server:", "after a restart:"):
            with serve(environment=environment) as address:
                print(f"{name:<16} {_opened(browser, address)}", flush=True)
        browser.close()
    return 0


def _opened(browser: Browser, address: str) -> str:
    with browser.new_context(viewport=DESK) as context:
        page = context.new_page()
        page.goto(address)  # Streamlit's own scripts are there, as they are for who comes to a page
        expect(page.get_by_role("link", name="Gaussian baseline")).to_be_visible(timeout=_PATIENCE)
        began = time.perf_counter()
        page.goto(f"{address}/gaussian_baseline")
        expect(page.locator(_FIGURE).first).to_be_visible(timeout=_PATIENCE)
        figure = time.perf_counter() - began
        expect(page.locator(".st-key-foot")).to_be_visible(timeout=_PATIENCE)
        whole = time.perf_counter() - began
        return f"first figure {figure:.2f} s, whole {whole:.2f} s"


if __name__ == "__main__":
    raise SystemExit(main())
