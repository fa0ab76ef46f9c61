"""The browser and the server of all tests that need one; without a Chromium they are skipped,
unless STRATA_REQUIRE_BROWSER is set, as it is in continuous integration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ViewportSize, expect, sync_playwright

from tests.browser.shared import shared, shared_small

OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync "
    # One process for all pages of a context: each that starts compiles Streamlit's scripts anew.
    "--process-per-site"
).split()
# Milliseconds: a machine of two cores may be busy with other tests.
PATIENCE = 1000 * int(os.environ.get("STRATA_TEST_PATIENCE", "120"))
DESK: ViewportSize = {"width": 1440, "height": 900}
expect.set_options(timeout=PATIENCE)


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
def window(browser: Browser) -> Iterator[BrowserContext]:
    """Where tests open pages of their own that need not forget Strata's scripts in between: with
    them a page comes in two thirds of the time. Who asks for less motion is asked a fifth less of
    the processor; other contexts see all of it."""
    context = browser.new_context(viewport=DESK, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


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
