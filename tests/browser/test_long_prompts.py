"""Long prompts: figures open at the chosen token, cut nothing, and say what they leave out."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser import screen
from tests.browser.driver import DESK, on_a_small_model  # noqa: F401
from tests.browser.screen import chart, eventually, strip, token
from tests.browser.test_look import PHONE

LONG = "?example=long"
INSIDE = """(element, box) => {
  const place = element.getBoundingClientRect();
  const frame = element.closest(box).getBoundingClientRect();
  return place.top >= frame.top - 1 && place.bottom <= frame.bottom + 1
    && place.left >= frame.left - 1 && place.right <= frame.right + 1;
}"""


def grid(page: Page) -> Locator:
    return page.get_by_role("grid")


def cut(table: Locator) -> list[str]:
    """The names of columns of which a part is hidden at the left end of a grid."""
    return table.evaluate(
        """table => {
            const edge = table.querySelector(".corner").getBoundingClientRect().right;
            const names = [...table.querySelectorAll("thead .token")];
            return names.filter(name => {
                const place = name.getBoundingClientRect();
                return place.left < edge - 2 && place.right > edge + 2;
            }).map(name => name.textContent);
        }"""
    )


def inside(element: Locator, box: str) -> bool:
    """Whether all of an element is in view in the box that scrolls it."""
    return element.evaluate(INSIDE, box)


def test_the_strip_shows_the_chosen_token(page: Page, address: str) -> None:
    screen.visit(page, f"{address}/predictions{LONG}")
    chosen = strip(page).locator('[aria-pressed="true"]')
    expect(chosen).to_be_visible()
    assert strip(page).evaluate("strip => strip.scrollHeight > strip.clientHeight + 20")
    assert inside(chosen, ".strip")
    page.set_viewport_size(PHONE)  # another width, other rows
    eventually(page, lambda: inside(chosen, ".strip"))
    page.set_viewport_size(DESK)
    assert page.evaluate("document.scrollingElement.scrollTop") == 0
    # The first token has no surprisal, and does not look like one that was foreseen.
    expect(token(page, 0)).to_have_class("none")
    assert token(page, 0).evaluate("b => getComputedStyle(b).borderStyle") == "dashed"
    expect(page.get_by_text("no surprisal: nothing came before")).to_be_visible()
    expect(strip(page).locator(".none")).to_have_count(1)


def test_the_grid_of_the_lens_cuts_no_column(page: Page, address: str) -> None:
    screen.visit(page, f"{address}/logit_lens{LONG}")
    chosen = grid(page).locator('[aria-pressed="true"]')
    expect(chosen).to_be_visible()
    assert inside(chosen, ".box")
    page.set_viewport_size(PHONE)
    eventually(page, lambda: inside(chosen, ".box"))
    assert cut(grid(page)) == []
    page.set_viewport_size(DESK)
    assert grid(page).evaluate("table => table.closest('.box').scrollLeft") > 0
    assert cut(grid(page)) == []


def test_the_grid_of_an_edit_opens_at_the_prompts_end(page: Page, address: str) -> None:
    screen.visit(page, f"{address}/scaling{LONG}&view=One+block+in+detail")
    last = grid(page).locator("thead .token").last
    expect(last).to_be_visible()
    page.set_viewport_size({"width": 1500, "height": 900})  # another width moves the columns
    page.wait_for_timeout(500)
    assert inside(last, ".box")
    assert cut(grid(page)) == []
    expect(page.get_by_text(re.compile(r"the last 16 of \d+ tokens"))).to_be_visible()


def test_a_map_says_which_tokens_it_draws(page: Page, address: str) -> None:
    screen.visit(page, f"{address}/trajectories{LONG}&method=PCA")
    expect(page.get_by_text(re.compile(r"10 of \d+ tokens are drawn, at first"))).to_be_visible()
    texts = chart(page, "Activations").locator("svg .mark-text text")
    names = texts.filter(has_text=re.compile(r"^\d+ \S"))  # not those of the legend
    expect(names.first).to_be_visible()
    found = names.evaluate_all(
        """names => names.map(name => {
            const place = name.getBoundingClientRect();
            return [name.textContent, place.left, place.right, (place.top + place.bottom) / 2];
        })"""
    )
    assert len({name for name, *_ in found}) >= 5
    for i, (name, left, right, middle) in enumerate(found):
        assert re.match(r"1\d ", name)
        for other, its_left, its_right, its_middle in found[:i]:
            apart = abs(middle - its_middle) > 11 or right <= its_left or its_right <= left
            assert apart or name == other, (name, other)  # each is drawn over its own ground
