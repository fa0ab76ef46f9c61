"""Scaling in a browser: the sweep, a map that can be given up, one block, what the link keeps."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser import screen
from tests.browser.screen import Watch, chart, eventually_asks, reading, settled, slider
from tests.browser.test_look import PHONE

PARIS = "hurts “␣Paris” most at block 2: from −0.26 nats to −1.44 nats, rank 0"


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/scaling{query}")
    screen.no_exception(page)


def test_the_sweep_of_the_notebook_comes_first(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, address)
    expect(reading(page)).to_contain_text(f"Multiplying the stream by 0.8 {PARIS}")
    figure = chart(page, "␣Paris with the stream × 0.8 at one block")
    expect(figure.locator("svg")).to_contain_text("Clean: −0.26")
    expect(figure.locator("svg .mark-symbol path")).to_have_count(30)
    last = page.locator(".st-key-reading_last")
    expect(last).to_contain_text("leaves “␣Paris” at −0.2581 nats and “␣Paris” stays first")
    expect(last).to_contain_text("the final norm divides a state by its own size")
    likeliest = chart(page, "Without an edit: the likeliest next tokens")
    expect(likeliest.locator("svg .mark-rect path")).to_have_count(21)
    # A word of several tokens is followed only knowingly.
    box = page.get_by_role("combobox", name=re.compile("Target"))
    box.click()
    box.fill(" xylophone")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("xylophone.* tokens"))).to_be_visible()
    expect(reading(page)).to_contain_text("␣Paris")
    page.get_by_text(re.compile("^Follow its first token")).click()
    expect(reading(page)).not_to_contain_text("␣Paris")
    expect(reading(page)).to_contain_text("“␣x")
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_the_link_restores_part_factor_positions_and_view(page: Page, small_address: str) -> None:
    visit(page, small_address)
    page.get_by_role("radio", name="MLP", exact=True).click()
    title = " with the MLP write × 0.8 at one block"  # of whatever this model says
    expect(page.locator(f'[data-testid="stVegaLiteChart"][aria-label*="{title}"]')).to_be_visible()
    page.get_by_role("radio", name="Chosen", exact=True).click()
    eventually_asks(page, positions="4")  # on its way, it would take back what is set meanwhile
    slider(page, "By the factor").focus()
    page.keyboard.press("Home")
    eventually_asks(page, factor="0")  # Streamlit forgets it if another control is moved at once
    page.get_by_role("tab", name="One block in detail").click()
    slider(page, "Scale at block").focus()
    page.keyboard.press("ArrowRight")
    title = "Next token, the MLP write × 0 at block 2"
    expect(chart(page, title)).to_be_visible()
    eventually_asks(page, part="MLP", positions="4", block="2")
    settled(page)
    page.goto(page.url)
    expect(chart(page, title)).to_be_visible()
    expect(page.get_by_text("4 ␣is", exact=True).first).to_be_visible()
    # On a phone the figure comes before what is chosen for it.
    page.set_viewport_size(PHONE)
    screen.leads(page)


def test_a_block_that_matters_is_told_from_any_push(page: Page, small_address: str) -> None:
    """What the bundled model says there: concepts/scaling/test_controls.py."""
    visit(page, small_address, "?view=Beside+noise")
    title = ": the stream × 0.8 at one block, beside noise"
    figure = page.locator(f'[data-testid="stVegaLiteChart"][aria-label*="{title}"]')
    expect(figure.locator("svg .mark-symbol.role-mark path")).to_have_count(3 * 3)
    expect(figure.locator("svg")).to_contain_text("9 random pushes as large: median, range")
    expect(reading(page)).to_contain_text("more than all 9 random pushes of the same size")
    page.get_by_role("radio", name="Attention", exact=True).click()
    expect(reading(page)).to_contain_text("Multiplying the attention write by 0.8")
    screen.no_exception(page)


def test_one_block_in_detail(page: Page, address: str) -> None:
    visit(page, address, "?view=One+block+in+detail")
    page.get_by_role("button", name="Hurts most: block 2").click()
    expect(chart(page, "Next token, the stream × 0.8 at block 2")).to_be_visible()
    grid = page.get_by_role("grid", name=re.compile(r"the stream × 0.8 at block 2\b"))
    rows = grid.get_by_role("button", name=re.compile(r"^Layer \d+, position 0 "))
    expect(rows).to_have_count(29)  # from layer 2, which the edit leaves as it is, to layer 30
    expect(page.get_by_text("Without the edit, the model goes on:")).to_be_visible()
    expect(page.locator(".st-key-reading_grid")).to_contain_text(
        "With the edit another token leads in"
    )
    screen.no_exception(page)


def test_a_long_map_says_how_far_it_is_and_can_be_given_up(page: Page, address: str) -> None:
    visit(page, address, "?example=long")
    page.get_by_role("tab", name="Every factor").click()
    expect(page.get_by_text("270 edited runs of")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(chart(page, "␣lighthouse with the stream × 0.8 at one block")).to_be_visible()
    settled(page)
    expect(page.get_by_text("270 edited runs of")).to_have_count(0)
    screen.no_exception(page)


def test_the_map_in_every_colour(page: Page, address: str) -> None:
    visit(page, address, "?view=Every+factor")
    cells = chart(page, "Change of the log-probability: ␣Paris").locator(
        "svg .mark-rect.role-mark path"
    )
    expect(cells).to_have_count(9 * 30)
    expect(reading(page)).to_contain_text("of 240 edited runs; worst is a factor of 0.5 at block 8")
    for name in ("Rank", "KL divergence"):
        page.get_by_role("radio", name=name, exact=True).click()
        expect(chart(page, f"{name}: ␣Paris")).to_be_visible()
