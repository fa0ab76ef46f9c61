"""Patching in a browser: the map and a cell of it, two cells, what the link keeps, bad prompts."""

from __future__ import annotations

import io
import re

import pandas as pd
from playwright.sync_api import Locator, Page, expect

from tests.browser import screen
from tests.browser.screen import (
    Watch,
    chart,
    click_mark,
    eventually_asks,
    popover,
    reading,
    said,
    settled,
    slider,
    type_prompt,
)
from tests.browser.test_look import PHONE

MAP = "Share restored of ␣Paris − ␣Rome"


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/patching{query}")
    screen.no_exception(page)


def cells(figure: Locator) -> Locator:
    """The coloured cells of a map."""
    return figure.locator("svg .mark-rect.role-mark").first.locator("path")


def drawn(page: Page, words: str) -> Locator:
    """The first chart of which these words are said to who cannot see it."""
    return page.locator(f'[data-testid="stVegaLiteChart"][aria-label*="{words}"]').first


def test_the_map_is_what_its_table_says_and_a_click_opens_a_cell(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, address)
    expect(reading(page)).to_contain_text(
        "“␣France” (position 3) restores most up to layer 23 and “␣is” (position 4) from layer 24"
    )
    figure = chart(page, MAP)
    expect(cells(figure)).to_have_count(60)  # 31 layers of 2 tokens; one dotted at either end
    expect(page.locator(".st-key-reading_cell")).to_contain_text("Layer 15, “␣France”")
    cells(figure).first.click()  # layer 0
    told = page.locator(".st-key-reading_cell")
    expect(told).to_contain_text("Layer 0, “␣France” (position 3)")
    popover(page, "Download")
    with page.expect_download() as started:
        page.get_by_test_id("stPopoverBody").get_by_role("button", name="CSV").first.click()
    frame = pd.read_csv(io.BytesIO(started.value.path().read_bytes()))
    [cell] = frame[(frame["layer"] == 0) & (frame["position"] == 3)].to_dict("records")
    assert len(frame) == 60
    assert abs(cell["share"] - 1) < 1e-3, "the only token that differs, at the lowest layer"
    said_value = f"to {cell['value']:.2f}".replace("-", "−")
    expect(told).to_contain_text(said_value)
    expect(told).to_contain_text(f"a share of {cell['share']:.2f}")
    page.keyboard.press("Escape")
    slider(page, "Layer").press("End")
    expect(told).not_to_contain_text("Layer 0")
    settled(page)
    # The same cell once more, now that the slider has left it.
    click_mark(cells(figure).first, lambda: "Layer 0" in told.inner_text())
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_two_cells_are_clicked_and_the_link_restores_them(page: Page, small_address: str) -> None:
    visit(page, small_address, "?view=Two+cells")
    page.get_by_role("radio", name="Corrupt", exact=True).click()
    figure = page.locator('[data-testid="stVegaLiteChart"][aria-label^="Share corrupted"]')
    expect(figure).to_be_visible()
    settled(page)
    n_cells = cells(figure).count()
    cells(figure).nth(0).click()
    eventually_asks(page, layer="0", direction="Corrupt")
    settled(page)
    cells(figure).nth(n_cells - 1).click()
    told = page.locator(".st-key-reading")
    expect(told).to_contain_text("(layer 0, “␣France” (position 3))")
    expect(told).to_contain_text("(layer 3, “␣is” (position 4))")
    settled(page)
    before = told.inner_text()
    page.goto(page.url)
    expect(told).to_have_text(re.compile(re.escape(before.split(maxsplit=2)[-1][:80])))
    slider(page, "First layer").focus()
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("(layer 1, “␣France” (position 3))")
    for name, value in (("First layer", "3"), ("First token at position", "4")):
        slider(page, name).focus()
        page.keyboard.press("End")
        expect(slider(page, name)).to_have_value(value)
        settled(page)
    expect(said(page, "note").filter(has_text="Choose two different cells")).to_be_visible()
    expect(figure).to_be_visible()
    page.evaluate("history.replaceState(history.state, '', location.href + '&more=1')")
    fills = "bars => bars.map(bar => bar.getAttribute('fill'))"
    bars = page.locator('svg .role-legend [fill^="url("]').evaluate_all(fills)
    assert bars, "no colour bar"
    assert all(fill.startswith("url(#") for fill in bars), "painted only at the address before"
    page.set_viewport_size(PHONE)
    screen.leads(page)


def test_prompts_that_do_not_fit_are_told_and_pairs_are_offered(
    page: Page, small_address: str
) -> None:
    visit(page, small_address, "?pair=own")
    note = said(page, "warning").filter(has_text="tokens")
    expect(note).to_contain_text("Write a second prompt of 5 tokens")
    box = page.get_by_role("textbox", name="Your second prompt")
    for text, why in (
        ("The capital of France is not", "5 and 6, and part at position 5"),
        ("The capital of France is", "Both prompts are the same"),
        ("[a](javascript:hacked=1) $x$ :red[x]", "number of tokens"),
    ):
        box.fill(text)
        page.keyboard.press("Control+Enter")
        expect(said(page, "warning").filter(has_text=why)).to_be_visible()
        settled(page)
    type_prompt(page, "<img src=x onerror=hacked=1>")
    box.fill("<img src=y onerror=hacked=1>")
    page.keyboard.press("Control+Enter")
    expect(drawn(page, "A “<img src=x onerror=hacked=1>”")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    page.get_by_role("combobox", name="Pair of prompts").click()
    page.get_by_role("option", name="Numbers:").first.click()
    expect(drawn(page, "A “one, two, three,”")).to_be_visible()
    expect(screen.prompt_box(page)).to_have_value(re.compile("^one, two"))
    type_prompt(page, "The capital of Italy is")  # of a pair, from its other side
    expect(drawn(page, "A “The capital of Italy is”")).to_be_visible()
    type_prompt(page, "Of no pair")
    expect(said(page, "warning").filter(has_text="number of tokens")).to_be_visible()
    page.get_by_role("button", name="Numbers:").click()
    expect(drawn(page, "A “one, two, three,”")).to_be_visible()
    screen.no_exception(page)


def test_a_state_is_read_elsewhere_and_a_click_opens_its_layer(
    page: Page, small_address: str
) -> None:
    watch = Watch(page)
    visit(page, small_address, "?view=Read+elsewhere")
    grid = page.locator('table[role="grid"]')
    expect(grid.locator("tbody tr")).to_have_count(4)  # layers 0 to 3
    expect(reading(page)).to_contain_text("With the state of “␣is” (position 4)")
    grid.locator("tbody tr").last.locator("button").first.click()
    eventually_asks(page, layer="0")
    expect(page.locator(".st-key-reading_cell")).to_contain_text("The state of layer 0 makes")
    page.get_by_role("combobox", name="Read it in").click()
    page.get_by_role("option", name="Your own text").click()
    box = page.get_by_role("textbox", name="Your second prompt")
    expect(said(page, "note").filter(has_text="Write a text")).to_be_visible()
    for text, why in (("a b " * 40, "tokens"), ("\u200b", "")):
        box.fill(text)
        page.keyboard.press("Control+Enter")
        settled(page)
        if why:
            expect(said(page, "note").filter(has_text=why).first).to_be_visible()
        screen.no_exception(page)
    assert watch.complaints == []
    assert watch.outside(small_address) == []
