"""The guess of the first page is there before Streamlit is, and what is done with it is kept."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from strata.ui.server.first_page import LINE
from tests.browser.driver import DESK
from tests.browser.screen import Watch, idle, prompt_box

EARLY = "#strata-first"
GUESSED = re.compile("yours, “␣?passed”")
PARTS = {  # here and as Streamlit draws it
    "h1": "#root h1",
    ".what": "#root .st-key-question p",
    "form": "#root .st-key-first_guess",
    ".line": "#root .st-key-first_guess [data-testid=stText]",
    "button": "#root .st-key-reveal button",
}
SIZES: list[ViewportSize] = [DESK, {"width": 1024, "height": 768}, {"width": 390, "height": 844}]
AT = """selectors => selectors.map(each => {
  const {x, y, width, height} = document.querySelector(each).getBoundingClientRect();
  return [x, y, width, height].map(Math.round);
})"""

PAINTED = "performance.getEntriesByName('first-contentful-paint').length"


def held_back(page: Page) -> list[Route]:
    """Streamlit's main script and style, as long as nobody goes on with them."""
    held: list[Route] = []
    for name in ("js/index.*.js", "css/*.css"):
        page.route(f"**/static/{name}", lambda route: held.append(route))
    return held


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size["width"]))
def test_what_is_typed_early_goes_on(page: Page, small_address: str, size: ViewportSize) -> None:
    page.set_viewport_size(size)
    watch, held = Watch(page), held_back(page)
    page.goto(small_address, wait_until="commit")
    word = page.get_by_role("textbox", name="Your word")
    word.press_sequentially("pas")
    page.evaluate("document.fonts.ready")
    page.wait_for_function(PAINTED, polling=50)  # which waits for nothing that Streamlit needs
    before = page.evaluate(AT, [f"{EARLY} {part}" for part in PARTS])
    # A page is hidden until its sidebar is there, and what is hidden takes no focus.
    hiding = page.add_style_tag(content="[data-testid=stMain] { visibility: hidden !important; }")
    for route in held:
        route.continue_()
    expect(page.locator(PARTS["button"])).to_be_attached()
    expect(page.locator(EARLY)).to_be_visible()
    hiding.evaluate("each => each.remove()")
    expect(page.locator(EARLY)).to_have_count(0)
    expect(word).to_be_focused()
    expect(word).to_have_value("pas")
    idle(page)
    now = page.evaluate(AT, list(PARTS.values()))
    for part, here, there in zip(PARTS, before, now, strict=True):
        assert here == pytest.approx(there, abs=1), f"{part} jumps"
    word.press_sequentially("sed")
    word.press("Enter")
    expect(page.locator(".st-key-reading_first")).to_contain_text(GUESSED)
    assert watch.complaints == []


def test_what_is_pressed_early_is_done(page: Page, small_address: str) -> None:
    held = held_back(page)
    page.goto(small_address, wait_until="commit")
    page.get_by_role("textbox", name="Your word").fill("passed")
    page.get_by_role("button", name="Show the model's").click()
    expect(page.locator(EARLY)).to_contain_text("One moment")
    for route in held:
        route.continue_()
    expect(page.locator(".st-key-reading_first")).to_contain_text(GUESSED)
    # The model that did it is drawn, and leads to the pages that look at its parts, with this line.
    part = page.get_by_role("group", name="The model").get_by_role("button")
    part.nth(2).click()  # its blocks
    expect(page.get_by_role("heading", name="Hidden states", level=1)).to_be_visible()
    expect(prompt_box(page)).to_have_value(LINE)
    # An address that asks for more is another page's.
    page.goto(f"{small_address}/?example=gold", wait_until="commit")
    expect(page.locator(EARLY)).to_have_count(0)
