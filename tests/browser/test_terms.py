"""Terms of the field: underlined where a page says one, explained to pointer, keys and finger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from strata.display.terms import TERMS
from strata.lessons import glossary
from tests.browser.driver import DESK, PATIENCE
from tests.browser.screen import (
    Watch,
    chart,
    eventually_asks,
    idle,
    reading,
    settled,
    slider,
    type_prompt,
    visit,
)
from tests.browser.test_lessons import forget, panel

TIP = "#term-tip"
# The terms whose buttons do not lie over them.
LIE = """() => [...document.querySelectorAll("button.term:not(.own)")].filter(each => {
  each.scrollIntoView({block: "center"});
  const box = each.getBoundingClientRect();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const below = document.elementsFromPoint(x, y)
    .filter(one => one.matches("p, p *, span, text, tspan"));
  return !below.some(one => one.textContent.toLowerCase().includes(each.ariaLabel.toLowerCase()));
}).map(each => each.ariaLabel)"""
PLACES = """() => [...document.querySelectorAll("[data-testid=stMain] :is(p, span, svg)")]
  .map(each => JSON.stringify(each.getBoundingClientRect()))"""
# How far the line under a word of the reading is beside it, two frames after a change of size.
LATE = """() => addEventListener("resize", () => requestAnimationFrame(() => requestAnimationFrame(() => {
  const reading = document.querySelector(".st-key-reading");
  const under = reading.querySelector('[aria-label="nat"]');
  const walk = document.createTreeWalker(reading, NodeFilter.SHOW_TEXT);
  let node;
  do node = walk.nextNode(); while (!/ nats?/.test(node.data));
  const word = document.createRange();
  word.setStart(node, node.data.search(/ nats?/) + 1);
  word.setEnd(node, node.data.search(/ nats?/) + 4);
  const [one, other] = [word, under].map(each => each.getBoundingClientRect());
  window.late = Math.hypot(one.x - other.x, one.y - other.y);
})), {once: true})"""  # noqa: E501
HIDDEN = "button.term { display: none !important; }"


@pytest.fixture
def touched(browser: Browser) -> Iterator[Page]:
    """A page that has a pointer, keys and a finger."""
    context = browser.new_context(viewport=DESK, has_touch=True, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def term(place: Page | Locator, name: str) -> Locator:
    return place.locator(f'button.term[aria-label="{name}"]')


def test_a_term_is_explained_to_pointer_keyboard_and_finger(
    touched: Page, small_address: str
) -> None:
    page = touched
    watch = Watch(page)
    visit(page, f"{small_address}/predictions")
    tip = page.locator(TIP)
    main = page.get_by_test_id("stMain")

    def around(place: Locator) -> Locator:
        return place.locator("xpath=ancestor-or-self::*[@data-testid='stElementContainer'][1]")

    # A slider's label, a caption, a number's label, the reading, a chart's title, a sentence.
    places = {
        "token": around(slider(page, "Predict what follows")),
        "surprisal": around(main.get_by_text("colour is its own surprisal")),
        "entropy": around(main.get_by_test_id("stMetric").last),
        "nat": around(reading(page).get_by_test_id("stText")),
        "language model": page.locator(".st-key-question"),
    }
    for name, place in places.items():
        expect(term(place, name).first).to_be_attached()
        expect(term(place, name)).to_have_count(1)
    page.evaluate(LATE)
    page.set_viewport_size({"width": 900, "height": 900})
    page.wait_for_function("window.late !== undefined")
    assert page.evaluate("window.late") < 12
    page.set_viewport_size(DESK)
    for _ in range(30):  # while the page is still being laid out
        astray = page.evaluate(LIE)
        if not astray:
            break
        page.wait_for_timeout(300)
    assert astray == []
    with_them = page.evaluate(PLACES)
    for _ in range(30):  # and while a figure fits the wider window
        page.wait_for_timeout(300)
        before, with_them = with_them, page.evaluate(PLACES)
        if before == with_them:
            break
    hiding = page.add_style_tag(content=HIDDEN)
    assert page.evaluate(PLACES) == with_them, "it moves nothing"
    hiding.evaluate("each => each.remove()")

    surprisal = term(page, "surprisal").first
    surprisal.hover()
    expect(tip).to_have_text(f"surprisal {TERMS['surprisal']}")
    expect(surprisal).to_have_attribute("aria-describedby", "term-tip")
    tip.hover()  # to read it by a magnifier
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    surprisal.hover()
    expect(tip).to_be_visible()
    page.mouse.move(2, 2)
    expect(tip).to_be_hidden()

    entropy = term(page, "entropy").first
    entropy.focus()
    expect(tip).to_contain_text(TERMS["entropy"])
    page.keyboard.press("Tab")
    expect(tip).not_to_contain_text(TERMS["entropy"])
    stops = page.evaluate(
        "[...document.querySelectorAll('button.term')].filter(each => each.tabIndex === 0)"
        ".map(each => each.ariaLabel.toLowerCase())"
    )
    assert len(stops) == len(set(stops)), "the keyboard stops once at each"

    page.set_viewport_size({"width": 390, "height": 844})
    idle(page)
    term(page, "surprisal").first.tap()
    expect(tip).to_contain_text(TERMS["surprisal"])
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    page.locator("h1").tap()
    expect(tip).to_be_hidden()
    assert watch.complaints == []


def test_words_of_a_prompt_are_no_terms_and_its_slider_says_what_moved_it(
    page: Page, small_address: str
) -> None:
    visit(page, f"{small_address}/predictions")
    slider(page, "Predict what follows").press("ArrowLeft")
    eventually_asks(page, at="3")
    type_prompt(page, "kurtosis of UMAP: “an attention sink” median")
    expect(reading(page)).to_contain_text("UMAP")
    settled(page)
    moved = "Moved from 3 to 12: this is the last token of another text."
    expect(page.get_by_test_id("stMain").get_by_text(moved)).to_be_visible()
    expect(chart(page, "What may follow")).to_be_visible()
    expect(term(page, "entropy").first).to_be_visible()
    page.wait_for_timeout(300)
    said = set(page.evaluate("[...document.querySelectorAll('button.term')].map(e => e.ariaLabel)"))
    assert not {each.lower() for each in said} & {"kurtosis", "umap", "attention sink", "median"}


def test_terms_of_a_lesson_are_reached_by_keys_too(page: Page, small_address: str) -> None:
    forget(page, small_address, "predictions")
    page.goto(f"{small_address}/predictions?lesson=predictions&step_of_lesson=1")
    expect(page.locator(".st-key-look button")).to_be_visible()
    idle(page)
    said = panel(page).locator("abbr").first
    expect(said).to_be_visible()
    name = said.inner_text()
    button = term(panel(page), name).first
    button.focus()
    expect(page.locator(TIP)).to_contain_text(glossary()[name.lower()])
    # Of the figure that waits there is nothing to explain.
    expect(page.locator(".st-key-foot")).to_have_count(0)
    expect(term(page, "entropy")).to_have_count(0)
