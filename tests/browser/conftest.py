"""What browser tests share: a mark, and a page of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture
def page(window: BrowserContext) -> Iterator[Page]:
    """A page of a browser that remembers nobody."""
    opened = window.new_page()
    yield opened
    if opened.url.startswith("http"):
        opened.evaluate("localStorage.clear()")
    for each in window.pages:
        each.close()
    window.clear_cookies()
