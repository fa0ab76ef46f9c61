"""Prompts that try to be more than text: nothing in them runs, loads, or hides."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.screen import (
    Watch,
    charts,
    go_to,
    idle,
    no_exception,
    popover,
    prompt_box,
    query,
    reading,
    settled,
    sidebar,
    strip,
    token,
    type_prompt,
    visit,
)
from tests.hostile import IN_A_BROWSER

# Short ones, since a sentence on the page quotes the last 60 characters.
PROMPTS = IN_A_BROWSER[:12]
VIEWS = ("One token", "All tokens", "Outlier dimensions", "Final norm", "What came out")
# Everything that hides or reorders text, in what a page shows.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2066-\u206f\ufeff]"
)


def pictures(page: Page) -> list[str]:
    return sorted(page.locator("img").evaluate_all("all => all.map(each => each.src)"))


def is_inert(page: Page, address: str, watch: Watch, before: list[str]) -> None:
    """Nothing of the prompt ran or was fetched, and all of it that is shown can be seen."""
    no_exception(page)
    assert page.evaluate("window.hacked") is None
    assert pictures(page) == before
    assert watch.outside(address) == []
    assert watch.complaints == []
    main = page.get_by_test_id("stMain")
    assert main.locator("a[href^=javascript], script, iframe, .katex, del").count() == 0
    spoken = charts(page).evaluate_all("all => all.map(each => each.ariaLabel + each.textContent)")
    for text in (main.inner_text(), sidebar(page).inner_text(), *spoken):
        assert not UNSEEN.search(text), repr(text)


def test_hostile_prompts_stay_text_on_both_pages(page: Page, small_address: str) -> None:
    watch = Watch(page)
    visit(page, f"{small_address}/predictions")
    before = pictures(page)
    pages = ["predictions", "hidden_states"]
    for i, prompt in enumerate(PROMPTS):
        text, address_before = f"{prompt} try {i}.", page.url
        type_prompt(page, text)
        expect(page).not_to_have_url(address_before)
        for stem in pages:
            go_to(page, stem)  # the first is open already
            if stem == "predictions":
                expect(reading(page)).to_contain_text(f"try {i}.”")
                if text.isascii() and text.isprintable():
                    expect(strip(page)).to_have_text(text.replace(" ", "␣"))
            else:
                view = page.get_by_role("tab", name=VIEWS[i % len(VIEWS)])
                view.click()
                expect(view).to_have_attribute("aria-selected", "true")
            settled(page)
            is_inert(page, small_address, watch, before)
        pages.reverse()  # the next prompt is typed on the page that is open now


def test_popovers_of_a_hostile_prompt(page: Page, small_address: str) -> None:
    watch = Watch(page)
    visit(page, f"{small_address}/predictions")
    before = pictures(page)
    text = "".join(PROMPTS[:4]) + PROMPTS[8] + PROMPTS[9] + " all."
    type_prompt(page, text)
    expect(reading(page)).to_contain_text("all.”")
    settled(page)
    asked = query(page)
    for name in ("Table", "Code", "Download", "Link"):
        body = popover(page, name)
        expect(body).not_to_be_empty()
        if name == "Code":
            assert "\\u202e" in body.locator("code").inner_text()  # written by repr
        is_inert(page, small_address, watch, before)
        page.keyboard.press("Escape")
        expect(body).to_have_count(0)
        idle(page)
    token(page, 0).hover()
    page.get_by_text("Does it know anything?").click()
    settled(page)
    is_inert(page, small_address, watch, before)

    page.reload()  # the text comes from the store now
    expect(reading(page)).to_contain_text("all.”")
    assert query(page) == asked
    expect(prompt_box(page)).to_have_value(text.replace("\r", "\n"))
    is_inert(page, small_address, watch, before)
