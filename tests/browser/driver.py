"""The browser and the server of all tests that need one; without a Chromium they are skipped,
unless STRATA_REQUIRE_BROWSER is set, as it is in continuous integration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from tests.browser.shared import shared, shared_small

OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync "
    # One process for all pages of a context, and scripts that it has compiled are not parsed again
    # while they come: with what `windows` keeps open, a page takes two thirds of the processor.
    "--process-per-site --disable-features=ScriptStreaming"
).split()
# A page of a test lives for seconds: to compile its scripts to the best code costs more than that
# code saves, and a small heap is cleared all the time. A fifth of what the renderer takes.
OPTIONS.append(
    "--js-flags=--no-opt --no-maglev --always-sparkplug "
    "--min-semi-space-size=64 --max-semi-space-size=64"
)
# Milliseconds: a machine of two cores may be busy with other tests.
PATIENCE = 1000 * int(os.environ.get("STRATA_TEST_PATIENCE", "120"))
DESK: ViewportSize = {"width": 1440, "height": 900}
expect.set_options(timeout=PATIENCE)

# A press is sent to the server at once, and the page says a moment later that its script runs: what
# is asked between the two would look settled. When was sent last, and when did a script last run?
SENDING = """(() => {
  const {send} = WebSocket.prototype;
  WebSocket.prototype.send = function (...message) {
    window.sentAt = performance.now();
    return send.apply(this, message);
  };
  new MutationObserver(changes => {
    for (const {target} of changes)
      if (target.dataset.testScriptState === "running") window.ranAt = performance.now();
  }).observe(document, {subtree: true, attributeFilter: ["data-test-script-state"]});
})();"""

Windows = Callable[[int], BrowserContext]
Newcomer = Callable[[], Page]


def chromium() -> str | None:
    # The first is the same engine without a window's machinery: pages open in half the time.
    names = (
        "chromium-headless-shell chromium chromium-browser google-chrome google-chrome-stable"
    ).split()
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        reason = "no Chromium on this machine: install the chromium package"
        if os.environ.get("STRATA_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def windows(browser: Browser, empty_page: str) -> Windows:
    """`windows(n)`: one of the browsers, apart from each other, in which tests open pages. They
    keep Streamlit's scripts, and a page of the same site, without which the process that has them
    compiled would end with each test. Who asks for less motion is asked a fifth less of the
    processor; other contexts see all of it."""

    @cache
    def numbered(number: int) -> BrowserContext:
        context = browser.new_context(
            viewport=DESK, reduced_motion="reduce", ignore_https_errors=True
        )
        context.set_default_timeout(PATIENCE)
        context.add_init_script(SENDING)
        context.new_page().goto(empty_page)
        return context

    return numbered


@pytest.fixture(scope="session")
def empty_page() -> Iterator[str]:
    """The address of a page of this machine with nothing in it."""

    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Nothing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def newcomer(windows: Windows) -> Iterator[Newcomer]:
    """`newcomer()`: a page of someone whom no server knows yet, nor anyone else of the test."""
    opened: list[Page] = []

    def come() -> Page:
        opened.append(windows(len(opened)).new_page())
        return opened[-1]

    yield come
    for page in opened:
        forget(page)


@pytest.fixture
def page(newcomer: Newcomer) -> Page:
    """A page of a browser that remembers nobody."""
    return newcomer()


def forget(page: Page) -> None:
    """Close all pages of that browser but the empty one, and forget what servers left there."""
    for each in page.context.pages[1:]:
        if each.url.startswith("http"):
            each.evaluate("localStorage.clear()")
        each.close()
    page.context.clear_cookies()


@pytest.fixture(scope="session")
def address() -> str:
    """A server with the real model, for all tests that do not break it."""
    return shared("plain")[0]


@pytest.fixture(scope="session")
def small_address() -> str:
    """A server with a small random model, where what it answers does not matter."""
    return shared_small()


@pytest.fixture(name="address")
def on_a_small_model(small_address: str) -> str:
    """For files that import it: there what a model answers does not matter, and the pages of a
    small one are drawn sooner."""
    return small_address
