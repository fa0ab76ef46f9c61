"""Attention heads in a browser: a pattern and its table, clicks that choose, what a link keeps."""

from __future__ import annotations

import io
import re

import pandas as pd
from playwright.sync_api import Page, expect

from tests.browser import screen
from tests.browser.screen import (
    Watch,
    chart,
    charts,
    click_mark,
    eventually,
    eventually_asks,
    popover,
    reading,
    said,
    settled,
    slider,
    type_prompt,
)

TABS = ("Who reads whom", "The sink", "Who wrote it", "Change a head")


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/heads{query}")
    screen.no_exception(page)


def test_the_head_that_writes_the_answer_reads_the_word_and_is_needed(
    page: Page, address: str
) -> None:
    watch = Watch(page)
    visit(page, address)
    expect(reading(page)).to_contain_text(
        "Head 4 of block 23 reads at “␣is” (position 4) most of all “␣France” (position 3), 90%"
    )
    expect(chart(page, "Who reads whom in head 4 of block 23")).to_be_visible()
    small = page.get_by_role("group", name="where you are in it")
    expect(small).to_contain_text("You are at block 23, token 4")
    expect(chart(page, "The heads of block 23, small")).to_be_visible()
    popover(page, "Download")
    with page.expect_download() as started:
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="CSV").first.click()
    frame = pd.read_csv(io.BytesIO(started.value.path().read_bytes()))
    sums = frame.groupby("query")["weight"].sum()
    assert len(sums) == 5
    assert (abs(sums - 1) < 1e-5).all()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Who wrote it").click()
    expect(page.locator(".st-key-reading_explains")).to_contain_text("0 write a tenth of what")
    proof = page.locator(".st-key-proof")
    expect(proof).to_contain_text("heads + bias = what attention added: off by")
    expect(proof).to_contain_text("a block by itself = the block in the run: off by")
    page.get_by_role("tab", name="Change a head").click()
    # What the tab before said may still be there, hidden, until the page is whole.
    told = reading(page).filter(has_text="With head 4 of block 23 left out")
    expect(told).to_contain_text("(77% to 14%)")
    small.get_by_role("button", name="blocks").click()  # in its middle
    eventually_asks(page, which="Choose")
    expect(small).to_contain_text(re.compile(r"block 1[45]\b"))
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_a_click_chooses_and_the_link_restores_it(page: Page, small_address: str) -> None:
    watch = Watch(page)
    visit(page, small_address)
    small = chart(page, "The heads of block").locator("canvas")
    box = small.bounding_box()
    assert box
    second = {"x": box["width"] / 3 + 12, "y": 0.35 * box["height"]}
    small.click(position=second)  # the first tile is of the head that writes most
    eventually_asks(page, which="Choose", head="1")
    settled(page)
    told = reading(page)
    expect(told).to_contain_text("Head 1 of block")
    before = told.inner_text()
    page.goto(page.url)
    settled(page)
    expect(told).to_have_text(before, use_inner_text=True)
    page.get_by_role("tab", name="Who wrote it").click()
    figure = chart(page, "What each head adds")
    expect(figure).to_be_visible()
    settled(page)
    first = figure.locator("svg .mark-rect.role-mark path").first
    for _ in range(2):  # the same cell once more, after the slider has left it
        click_mark(first, lambda: screen.query(page).get("block") == "0")
        settled(page)
        slider(page, "Block").press("End")
        eventually(page, lambda: screen.query(page).get("block") != "0")
        settled(page)
    page.set_viewport_size({"width": 390, "height": 844})
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        settled(page)
        places = (charts(page).first, page.get_by_role("button", name="Target").first)
        ends = [box["y"] for each in places if (box := each.bounding_box())]
        assert ends[0] < 500 < ends[1], f"{tab}: on a phone the figure comes first"
    assert watch.complaints == []


def test_short_and_hostile_prompts_and_a_missing_second_one(page: Page, small_address: str) -> None:
    visit(page, small_address, "?view=Change+a+head&change=Take+from+another+prompt&pair=own")
    expect(said(page, "note").filter(has_text="Write a second prompt")).to_be_visible()
    page.get_by_role("textbox", name="Your second prompt").fill("<img src=y onerror=hacked=1>")
    page.keyboard.press("Control+Enter")
    expect(reading(page)).to_contain_text("taken from the other prompt")
    for text in ("<img src=x onerror=hacked=1>", "a"):
        for tab in TABS:
            page.get_by_role("tab", name=tab).click()
            settled(page)
            screen.no_exception(page)
        type_prompt(page, text)
        settled(page)
    assert page.evaluate("window.hacked") is None
