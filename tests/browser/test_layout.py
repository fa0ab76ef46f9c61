"""Pages laid out by the width that they have: nothing is cut beside a lesson."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.driver import DESK
from tests.browser.measured import CUT_TITLES, shifted
from tests.browser.screen import (
    TITLES,
    chart,
    charts,
    eventually,
    idle,
    reading,
    settled,
    sidebar,
    type_prompt,
    visit,
)
from tests.browser.test_look import PHONE

LAPTOP: ViewportSize = {"width": 1024, "height": 768}
# Labels and buttons whose words do not fit: more of them than is shown.
CUT = """() => [...document.querySelectorAll(`[data-testid=stMain] :is(
    [data-testid=stWidgetLabel], [data-testid=stCheckbox], [data-testid^=stBaseButton],
    [data-testid=stPopoverButton],
    [data-testid=stTab], [data-testid=stMetricLabel], .st-key-lesson_panel p)`)]
  .flatMap(each => [each, ...each.querySelectorAll("p, label, span, div")])
  .filter(each => each.checkVisibility({visibilityProperty: true}) && each.innerText
    && getComputedStyle(each).overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1)
  .concat([...document.querySelectorAll("[data-testid=stMain] [data-testid=stButtonGroup] button")]
    .filter(each => {
      const right = (box) => box.getBoundingClientRect().right;
      for (let box = each.parentElement; box; box = box.parentElement)
        if (getComputedStyle(box).overflowX !== "visible" && right(box) < right(each) - 1)
          return true;
    }))
  .map(each => each.innerText)"""
# What reaches beyond the right edge of the sheet.
BEYOND = """() => {
  const all = (root) => [...root.querySelectorAll("*")]
    .flatMap(each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]);
  const edge = document.documentElement.clientWidth + 1;
  return all(document.querySelector("[data-testid=stMain]"))
    .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > edge)
    .map(e => e.outerHTML.slice(0, 80));
}"""


def look(page: Page) -> None:
    expect(page.locator(".st-key-step_on button")).to_be_visible()
    idle(page)
    button = page.locator(".st-key-look button")
    expect(button.or_(page.locator(".st-key-foot")).first).to_be_visible()
    if button.count():
        button.click()
    settled(page)


@pytest.mark.parametrize("stem", TITLES)
def test_beside_a_lesson_nothing_is_cut(page: Page, small_address: str, stem: str) -> None:
    page.goto(f"{small_address}/{stem}?lesson={stem}")
    expect(page.locator(".st-key-step_on button")).to_be_visible()
    if page.get_by_role("heading", name=TITLES[stem], level=1).count():
        look(page)
    step, next_step = page.locator(".st-key-lesson_panel"), page.locator(".st-key-step_on button")
    for size in (DESK, LAPTOP):
        page.set_viewport_size(size)
        expect(next_step).to_be_in_viewport(ratio=1)
        page.wait_for_function(f"() => ({CUT})().length === 0", polling=200)
        box = step.bounding_box()
        assert box
        assert box["width"] >= 260
    if stem != "predictions":
        return
    # Beside a long page it stays in view, and from its answer one comes to the figure.
    figure = page.locator(".st-key-to_figure button")
    page.set_viewport_size(DESK)
    page.locator(".st-key-foot").scroll_into_view_if_needed()
    expect(next_step).to_be_in_viewport(ratio=1)
    page.set_viewport_size(PHONE)
    figure.click()
    expect(chart(page, "What may follow")).to_be_in_viewport(ratio=0.9)
    expect(figure).not_to_be_in_viewport()
    page.set_viewport_size(LAPTOP)
    # At the width of a laptop the step stands above, unless the sidebar makes room for it.
    title = page.get_by_role("heading", name=TITLES[stem], level=1)

    def beside() -> bool:
        left, right = step.bounding_box(), title.bounding_box()
        return left is not None and right is not None and left["x"] + left["width"] < right["x"]

    eventually(page, lambda: not beside())  # the sidebar comes back by and by
    pressed = page.locator(".st-key-panel button[aria-pressed=true]")
    expect(pressed).to_have_accessible_name("Above the page")  # as it is, not as was chosen
    sidebar(page).hover()
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    eventually(page, beside)
    expect(pressed).to_have_accessible_name("Beside the page")


def test_a_step_stands_where_the_learner_wants_it(page: Page, small_address: str) -> None:
    page.goto(f"{small_address}/predictions?lesson=predictions&step_of_lesson=2")
    look(page)
    step, figure = page.locator(".st-key-lesson_panel"), page.locator(".st-key-next_tokens")

    def put(where: str) -> None:
        button = page.get_by_role("button", name=where, exact=True)
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")

    def width() -> float:
        box = step.bounding_box()
        assert box
        return box["width"]

    narrow = width()
    put("Wider, beside the page")
    assert width() > 1.3 * narrow
    put("The step alone")
    expect(figure).to_be_hidden()
    put("Below the page")
    expect(page.locator(".st-key-step_on button")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("heading", name="Predictions", level=1)).to_be_in_viewport()
    page.reload()  # the browser remembers it
    idle(page)
    expect(page.get_by_role("button", name="Below the page")).to_have_attribute(
        "aria-pressed", "true"
    )
    put("Beside the page")
    assert abs(width() - narrow) < 2


def test_on_paper_a_page_is_what_it_says(page: Page, small_address: str) -> None:
    """White, as wide as the sheet, and without what only a screen can do."""
    page.emulate_media(color_scheme="dark")
    long = "all the words of a longer line that goes on and on so that its grid is wide indeed "
    visit(page, f"{small_address}/logit_lens")
    type_prompt(page, 2 * long)
    figures = [page.locator(".stBidiComponent table"), charts(page).first.locator("svg")]
    for figure in figures:
        expect(figure).to_be_visible()
    expect(page.get_by_role("grid").locator("thead .token")).to_have_count(24)
    settled(page)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 688, "height": 1000})  # A4 less its margins
    expect(page.locator("html")).to_have_attribute("data-strata-dark", "")
    for shown in (*figures, reading(page), page.locator(".st-key-proof")):
        expect(shown).to_be_visible()
    main = page.get_by_test_id("stMain")
    for put_away in (sidebar(page), page.get_by_test_id("stHeader"), page.locator(".st-key-foot")):
        expect(put_away).to_be_hidden()
    for control in ("stButton", "stSlider", "stSelectbox", "stPopover"):
        expect(main.get_by_test_id(control).locator("visible=true")).to_have_count(0)
    page.wait_for_function(f"() => ({BEYOND})().length === 0", polling=200)
    style = "each => [getComputedStyle(each).backgroundColor, getComputedStyle(each).breakInside]"
    assert page.locator("body").evaluate(style)[0] == "rgb(255, 255, 255)"
    assert charts(page).first.evaluate(style)[1] == "avoid"


ROWS = ["patching", "logit_lens", "laminar_profile?view=Between+layers"]


@pytest.mark.parametrize(
    "where",
    [
        *ROWS,
        *(pytest.param(stem, marks=pytest.mark.thorough) for stem in TITLES if stem not in ROWS),
    ],
)
def test_rows_of_choices_break_at_once_where_they_will(
    page: Page, small_address: str, where: str
) -> None:
    """At the width of a laptop what stands beside a figure comes below it, and a row of controls
    takes two: from the start, so that nothing jumps when they have come (`test_look`). And nothing
    is cut there, without a lesson too."""
    page.set_viewport_size(LAPTOP)
    for _ in range(3):  # a row that breaks late does so each time, a server that is busy does not
        visit(page, f"{small_address}/{where}")
        shifts, moved = shifted(page)
        if shifts <= 0.1:
            break
    assert shifts <= 0.1, moved
    page.wait_for_function(f"() => ({CUT})().length === 0", polling=200)
    page.wait_for_function(f"() => ({CUT_TITLES})().length === 0", polling=200)
