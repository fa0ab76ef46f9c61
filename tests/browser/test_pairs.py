"""A difference of two words as target, and the lens while a model writes, in a browser."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser import screen
from tests.browser.screen import (
    chart,
    eventually_asks,
    opened_menu,
    query,
    reading,
    settled,
    slider,
)


def test_two_words_are_compared_on_every_page_of_a_target(page: Page, address: str) -> None:
    screen.visit(page, f"{address}/scaling")
    box = page.get_by_role("combobox", name="Minus another word")
    expect(box).to_have_value("nothing")
    opened_menu(box, "peaks at layer")
    half_way = page.get_by_role("option", name=re.compile(r" \(peaks at layer \d+, \d+%\)$"))
    expect(half_way.first).to_be_visible()
    opened_menu(box, "London")
    page.keyboard.press("Enter")
    expect(reading(page)).to_contain_text("lowers “␣Paris” minus “␣London” most at block")
    expect(reading(page)).to_contain_text("from 4.13 nats to")
    figure = chart(page, "␣Paris minus ␣London with the stream × 0.8 at one block")
    expect(figure.locator("svg")).to_contain_text("minus that of ␣London (nats)")
    expect(page).to_have_url(re.compile(r"[?&]minus=\d+(&|$)"))
    settled(page)
    asked = query(page)["minus"]
    page.goto(f"{address}/logit_lens?minus={asked}&view=Where+the+target%27s+logit+comes+from")
    parts = page.locator(".st-key-reading_attribution")
    expect(parts).to_contain_text("put “␣Paris” 4.126 above “␣London”; the model itself 4.126.")
    expect(chart(page, "What puts ␣Paris above ␣London at position 4")).to_be_visible()
    expect(page.locator(".st-key-against")).to_have_count(0)
    page.get_by_role("tab", name="Tokens through the layers").click()
    said = page.locator(".st-key-reading_followed")
    expect(said).to_contain_text(
        "to +4.13 nats at layer 30, where “␣Paris” is 61.9 times as likely"
    )
    expect(chart(page, "Difference through the layers")).to_be_visible()
    # A word less itself says nothing, and is said to.
    target = page.get_by_role("combobox", name=re.compile("Target"))
    target.click()
    target.fill("London")
    page.keyboard.press("Enter")
    warned = page.get_by_text("“␣London” minus itself is 0 everywhere")
    expect(warned).to_be_visible()
    screen.no_exception(page)


def test_the_steps_of_a_continuation_are_scrubbed(page: Page, small_address: str) -> None:
    screen.visit(page, f"{small_address}/logit_lens?view=While+it+writes&n_written=4")
    said = page.locator(".st-key-reading_written")
    expect(said).to_contain_text("Step 1 writes “")
    grid = page.get_by_role("grid", name=re.compile("^While it writes"))
    expect(grid.get_by_role("button")).to_have_count(4 * 4)  # 4 layers, 4 steps
    slider(page, "Step").focus()
    page.keyboard.press("ArrowRight")
    expect(said).to_contain_text("Step 2 writes “")
    expect(grid.locator("th.stands").first).to_contain_text("2")
    eventually_asks(page, step="2", n_written="4")
    grid.get_by_role("button", name=re.compile(r"^Layer 1, step 4 ")).click()
    expect(said).to_contain_text("Step 4 writes “")
    expect(slider(page, "Step")).to_have_value("4")
    expect(grid.locator('[aria-pressed="true"]')).to_have_count(1)
    screen.no_exception(page)
