"""The way back of the browser: a step of a lesson, a page and a tab are one press each."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from strata.lessons import lessons
from tests.browser.driver import on_a_small_model  # noqa: F401
from tests.browser.screen import TITLES, go_to, idle, slider, visit
from tests.browser.test_lessons import apply, at_step, panel


def test_the_step_before_is_one_press_back_on_its_own_page(page: Page, address: str) -> None:
    """Whatever was set up, looked at and chosen in between."""
    lesson = lessons()["capstone"]
    count = len(lesson.steps)
    page.goto(f"{address}/lessons")
    page.locator(f".st-key-open_{lesson.stem} button").click()
    for number in range(3):
        at_step(page, number, lesson.steps[number], count)
        apply(page)
        look = page.locator(".st-key-look button")
        if look.count():  # not where another test has answered
            look.click()
            expect(look).to_have_count(0)
            idle(page)
        page.locator(".st-key-step_on button").click()
    at_step(page, 3, lesson.steps[3], count)
    for number in (2, 1, 0):
        page.go_back()
        at_step(page, number, lesson.steps[number], count)
        title = TITLES[lesson.page_of(number)]  # as the browser lists it
        expect(page).to_have_title(f"{lesson.title}, step {number + 1} · {title} · Strata")
        expect(page.locator(".st-key-set_up button")).to_have_count(0)  # as it was left
        expect(page).to_have_url(re.compile(rf"/{lesson.page_of(number)}\?.*step_of_lesson="))
    page.reload()
    at_step(page, 0, lesson.steps[0], count)
    expect(page.locator(".st-key-set_up button")).to_have_count(0)  # also to a new session
    page.go_forward()
    at_step(page, 1, lesson.steps[1], count)
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", name="Lessons", level=1)).to_be_visible()
    expect(panel(page)).to_have_count(0)


def test_tabs_and_pages_are_on_the_way_back_and_settings_are_not(page: Page, address: str) -> None:
    visit(page, f"{address}/hidden_states?example=pattern")
    page.get_by_text("Logarithmic values").click()
    expect(page).to_have_url(re.compile("log=false"))
    idle(page)
    page.get_by_role("tab", name="All tokens").click()
    expect(page).to_have_url(re.compile("view=All"))
    idle(page)
    go_to(page, "scaling")
    idle(page)
    expect(page).to_have_title("Scaling · Strata")
    page.go_back()
    expect(page.get_by_role("heading", name="Hidden states", level=1)).to_be_visible()
    idle(page)
    page.go_back()
    expect(page.get_by_role("tab", name="One token")).to_have_attribute("aria-selected", "true")
    expect(page).not_to_have_url(re.compile("view="))


def test_back_at_a_step_its_settings_are_its_own_and_its_tab_is_as_it_was_left(
    page: Page, small_address: str
) -> None:
    lesson, number = lessons()["laminar_profile"], 3
    count, step = len(lesson.steps), lesson.steps[number]
    page.goto(f"{small_address}/laminar_profile?lesson={lesson.stem}&step_of_lesson={number + 1}")
    at_step(page, number, step, count)
    apply(page)
    look, layer = page.locator(".st-key-look button"), slider(page, "Layer")
    if look.count():  # not where another test has answered
        look.click()
    expect(layer).to_be_visible()
    idle(page)
    last = layer.input_value()
    centred = page.get_by_test_id("stCheckbox").filter(has_text="Mean-centred")
    layer.press("ArrowLeft")  # kept in the address by Strata
    expect(page).to_have_url(re.compile("layer="))
    idle(page)
    centred.locator("label").first.click()  # and by Streamlit
    expect(page).to_have_url(re.compile("center=true"))
    idle(page)

    def there_and_back() -> None:
        page.locator(".st-key-step_on button").click()
        at_step(page, number + 1, lesson.steps[number + 1], count)
        idle(page)
        page.go_back()
        at_step(page, number, step, count)
        idle(page)

    there_and_back()
    expect(layer).to_have_value(last)
    expect(centred.get_by_role("switch")).not_to_be_checked()
    expect(page.locator(".st-key-set_up button")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("layer=|center="))
    tab = page.get_by_role("tab", name="Between layers")
    tab.click()  # which is a stop of the way back itself
    expect(page).to_have_url(re.compile("view=Between.layers"))
    idle(page)
    there_and_back()
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.locator(".st-key-set_up button")).to_have_count(1)
    page.go_back()
    expect(layer).to_have_value(last)
    idle(page)
    expect(page.locator(".st-key-set_up button")).to_have_count(0)


def test_from_the_first_page_and_back(page: Page, address: str) -> None:
    """It has no state in its address, with which it would mean another page."""
    page.goto(address)
    page.get_by_role("textbox", name="Your word").fill("came")
    page.keyboard.press("Enter")
    own = page.locator(".st-key-first_own textarea")
    expect(own).to_be_visible()
    idle(page)
    own.fill("I should like to")
    page.locator(".st-key-first_look button").click()
    expect(page.get_by_role("heading", name="Predictions", level=1)).to_be_visible()
    expect(page).to_have_url(re.compile(r"/predictions\?prompt="))
    assert page.get_by_test_id("stMain").evaluate("main => main.scrollTop") == 0
    idle(page)
    page.go_back()
    expect(page.get_by_role("textbox", name="Your word")).to_be_visible()
    assert page.url.removesuffix("/") == address.removesuffix("/")
