"""Pages laid out by the width that they have: nothing is cut beside a lesson."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.driver import DESK
from tests.browser.screen import TITLES, idle, settled, sidebar

LAPTOP: ViewportSize = {"width": 1024, "height": 768}
# Labels and buttons whose words do not fit: more of them than is shown.
CUT = """() => [...document.querySelectorAll(`[data-testid=stMain] :is(
    [data-testid=stWidgetLabel], [data-testid=stCheckbox], [data-testid^=stBaseButton],
    [data-testid=stPopoverButton],
    [data-testid=stTab], [data-testid=stMetricLabel], .st-key-lesson_panel p)`)]
  .flatMap(each => [each, ...each.querySelectorAll("p, label, span, div")])
  .filter(each => each.checkVisibility({visibilityProperty: true}) && each.innerText
    && getComputedStyle(each).overflowX !== "visible" && each.scrollWidth > each.clientWidth + 1)
  .map(each => each.innerText)"""


def look(page: Page) -> None:
    expect(page.locator(".st-key-step_on button")).to_be_visible()
    idle(page)
    button = page.locator(".st-key-look button")
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
        page.wait_for_function(f"() => ({CUT})().length === 0")
        box = step.bounding_box()
        assert box
        assert box["width"] >= 260
    if stem != "predictions":
        return
    # At the width of a laptop the step stands above, unless the sidebar makes room for it.
    title = page.get_by_role("heading", name=TITLES[stem], level=1)
    beside = "([a, b]) => a.getBoundingClientRect().right < b.getBoundingClientRect().left"
    handles = [step.element_handle(), title.element_handle()]
    assert not page.evaluate(beside, handles)
    sidebar(page).hover()
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    page.wait_for_function(beside, arg=handles)


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
