"""The Jacobian lens in a browser, without a lens: a word's beam, and words that do not fit."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser import screen
from tests.browser.screen import (
    Watch,
    chart,
    opened_menu,
    reading,
    said,
    settled,
)


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/jacobian_lens{query}")
    screen.no_exception(page)


def test_without_a_lens_a_words_beam_is_drawn_and_bad_words_are_told(
    page: Page, small_address: str
) -> None:
    watch = Watch(page)
    visit(page, small_address, "?passages=2")
    expect(said(page, "note").filter(has_text="python -m strata fit-lens")).to_be_visible()
    page.get_by_role("button", name="To the beam of a word, which needs none").click()
    figure = chart(page, "How disposed the state of ␣is")
    expect(figure.locator("svg")).to_contain_text("random blocks")
    expect(reading(page)).to_contain_text("95% interval")
    expect(page.locator(".st-key-reading_passages")).to_contain_text("By 2 passages")
    for typed, why in (
        ("<img src=x onerror=hacked=1>", "tokens"),
        ("[a](javascript:hacked=1) $x$ :red[x]", "tokens"),
    ):
        opened_menu(page.get_by_role("combobox", name="Target: a token or a word"), typed)
        page.keyboard.press("Enter")
        expect(said(page, "warning").filter(has_text=why)).to_have_count(1)
        settled(page)
        expect(figure).to_be_visible()
        screen.no_exception(page)
    assert page.evaluate("window.hacked") is None
    assert watch.complaints == []
    assert watch.outside(small_address) == []
