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


def tries(thorough: bool) -> list[tuple[int, str]]:
    """Numbers of prompts and the page that is looked at: every second prompt on one, the others on
    the other (all together are on both in `test_hostile_pages`); thorough: each on both."""
    one, other = "predictions", "hidden_states"
    if not thorough:
        numbers = range(len(PROMPTS))
        return [(i, one) for i in numbers[::2]] + [(i, other) for i in numbers[1::2]]
    # The next prompt is typed on the page that is open now.
    pairs = [(one, other) if i % 2 == 0 else (other, one) for i in range(len(PROMPTS))]
    return [(i, stem) for i, pair in enumerate(pairs) for stem in pair]


def test_hostile_prompts_stay_text_on_both_pages(
    page: Page, small_address: str, thorough: bool
) -> None:
    watch = Watch(page)
    visit(page, f"{small_address}/predictions")
    before = pictures(page)
    typed, opened = -1, "predictions"
    for i, stem in tries(thorough):
        text, address_before = f"{PROMPTS[i]} try {i}.", page.url
        if i != typed:
            type_prompt(page, text)
            expect(page).not_to_have_url(address_before)
        if stem != opened:
            go_to(page, stem)
        typed, opened = i, stem
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
