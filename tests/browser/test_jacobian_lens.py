"""The Jacobian lens in a browser. With a lens: its grid, read in three ways. Without one: a word's
beam, and words that do not fit."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests import small
from tests.browser import screen
from tests.browser.screen import (
    Watch,
    chart,
    eventually,
    eventually_asks,
    opened_menu,
    reading,
    said,
    settled,
)
from tests.browser.shared import shared

GRIDS = {
    "Jacobian lens": "Jacobian lens: what each state is disposed to say",
    "Logit lens": "Logit lens: what each state would say next",
    "Their difference": "Jacobian lens less logit lens: the token that it raises most",
}


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/jacobian_lens{query}")
    screen.no_exception(page)


def test_without_a_lens_a_words_beam_is_drawn_and_bad_words_are_told(
    page: Page, small_address: str
) -> None:
    watch = Watch(page)
    visit(page, small_address, "?passages=2&random=true")
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


@pytest.fixture
def with_a_lens() -> str:
    """A server with a small model to which a lens was fitted."""
    return shared("lens", lambda folder: small.with_a_lens(folder, seed=3))[0]


def grid(page: Page, by: str) -> Locator:
    return page.get_by_role("grid", name=re.compile(f"^{GRIDS[by]}"))


def cells(shown: Locator) -> list[list[str]]:
    """Token, colours and description of each cell of a grid."""
    expect(shown).to_be_visible()
    return shown.get_by_role("button").evaluate_all(
        "all => all.map(e => [e.textContent, e.style.cssText, e.ariaLabel])"
    )


def test_the_grid_is_read_in_three_ways_with_the_same_colours_pins_and_target(
    page: Page, with_a_lens: str
) -> None:
    screen.visit(page, f"{with_a_lens}/logit_lens?layer=2&front_states=Nothing")
    expect(page.get_by_role("grid")).to_be_visible()
    plain = cells(page.get_by_role("grid"))
    visit(page, with_a_lens, "?front_states=Nothing")
    drawn = {"Jacobian lens": cells(grid(page, "Jacobian lens"))}
    expect(page.locator('button[aria-pressed="true"]')).to_have_attribute(
        "aria-label", re.compile("^Layer 2, position 4 ")
    )
    expect(reading(page)).to_contain_text("At layer 2 the Jacobian lens names")
    pages_own = page.locator(".legend").inner_text()
    page.locator('[class*="st-key-pin_"] button').first.click()
    pinned = page.get_by_role("button", name=re.compile("^Remove|^Delete"))
    expect(pinned).to_have_count(1)
    for way in ("Logit lens", "Their difference"):
        page.get_by_role("radio", name=way).click()
        drawn[way] = cells(grid(page, way))
        eventually_asks(page, by=way.replace(" ", "+"))
    assert drawn["Logit lens"] == plain
    assert len({len(each) for each in drawn.values()}) == 1
    assert drawn["Jacobian lens"] != drawn["Logit lens"]
    followed = chart(page, "␣Paris minus ␣London at position 4, by both lenses")
    for label, word in (("Target: a token or a word", " Paris"), ("Minus another word", " London")):
        opened_menu(page.get_by_role("combobox", name=label), word)
        page.keyboard.press("Enter")
        settled(page)
    for way in ("Logit lens", "Jacobian lens"):
        page.get_by_role("radio", name=way).click()
        expect(grid(page, way)).to_be_visible()
        expect(followed).to_be_visible()
        expect(pinned).to_have_count(1)
        expect(page.locator(".legend")).to_contain_text("Letters: norm")
    assert page.locator(".legend").inner_text() != pages_own
    grid(page, "Jacobian lens").get_by_role(
        "button", name=re.compile("^Layer 1, position 3 ")
    ).click()
    expect(chart(page, "Logit lens: layer 1 after ␣France (position 3)")).to_be_visible()
    expect(chart(page, "Jacobian lens: layer 1 after ␣France (position 3)")).to_be_visible()
    eventually_asks(page, layer="1", at="3")
    page.reload()
    expect(chart(page, "␣Paris minus ␣London at position 3, by both lenses")).to_be_visible()
    expect(pinned).to_have_count(1)
    settled(page)
    beyond = "e => e.closest('.box').scrollWidth - e.closest('.box').clientWidth"
    grid(page, "Jacobian lens").evaluate("e => (e.closest('.box').style.width = '400px')")
    eventually(page, lambda: grid(page, "Jacobian lens").evaluate(beyond) <= 0)  # all five columns
    screen.no_exception(page)
