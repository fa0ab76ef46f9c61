"""Who cannot see, or point, or bear motion, can use every page: docs/accessibility.md."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from strata.lessons import lessons
from tests.browser import driver
from tests.browser.axe import POPOVER, faults, faults_everywhere
from tests.browser.driver import DESK, Windows
from tests.browser.measured import TOO_SMALL, shifted
from tests.browser.screen import (
    TITLES,
    Watch,
    idle,
    popover,
    slider,
    strip,
    token,
    visit,
)
from tests.browser.test_lessons import answer, apply, forget, panel, start
from tests.browser.test_look import GROUNDS, PHONE


@pytest.fixture(scope="module")
def watched(windows: Windows, small_address: str) -> Iterator[tuple[Page, Watch]]:
    """One page, in which all others are opened; of a browser of its own, since the browser
    remembers that a phone puts the sidebar away."""
    page = windows(1).new_page()
    yield page, Watch(page)
    driver.forget(page)


def ask_for(page: Page, ground: str) -> None:
    page.set_viewport_size(DESK if ground == "light" else PHONE)
    page.emulate_media(color_scheme=ground)


def look(page: Page, ground: str) -> None:
    ask_for(page, ground)
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[ground])


def ground_of(page: Page) -> str:
    return "light" if page.viewport_size == DESK else "dark"


def in_both(page: Page, where: str = "") -> list[str]:
    """What is found in light on a desk and in dark on a phone, beginning as the page is."""
    first = ground_of(page)
    found = [f"{first}: {fault}" for fault in faults(page, where)]
    other = "dark" if first == "light" else "light"
    look(page, other)
    idle(page)
    return found + [f"{other}: {fault}" for fault in faults(page, where)]


# Of the pages of concepts it is thorough: `test_look` has them in light on a desk.
PAGES = [
    ("", "light"),
    ("", "dark"),
    *(pytest.param((stem, "dark"), marks=pytest.mark.thorough) for stem in TITLES),
]


@pytest.fixture(params=PAGES, ids="-".join, scope="module")
def opened(
    request: pytest.FixtureRequest, watched: tuple[Page, Watch], small_address: str
) -> tuple[Page, Watch]:
    """A page that has just come, in dark on a phone; the first one in light on a desk too, where
    `test_look` has the others. To draw a page anew for another size and ground takes longer than to
    open it there."""
    stem, ground = request.param
    page, watch = watched
    page.goto("about:blank")  # where there is nothing to be drawn anew
    ask_for(page, ground)
    page.goto(f"{small_address}/{stem}")
    expect(page.locator(".st-key-foot" if stem else "[aria-label='Your word']")).to_be_visible()
    idle(page)
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[ground])
    return page, watch


def test_nothing_jumps_while_a_page_comes(opened: tuple[Page, Watch]) -> None:
    """Cumulative layout shift (web-vitals), of which up to 0.1 counts as good."""
    shifts, moved = shifted(opened[0])
    assert shifts <= 0.1, moved


def test_axe_finds_nothing(opened: tuple[Page, Watch]) -> None:
    page, watch = opened
    found = faults_everywhere(page)
    assert found == [], "\n".join(found)
    assert watch.complaints == []  # nor has the browser a warning, or asked for what is not there


def test_at_the_foot_and_on_the_list_of_lessons(
    watched: tuple[Page, Watch], small_address: str, thorough: bool
) -> None:
    page, watch = watched
    visit(page, f"{small_address}/predictions")
    found = []
    for ground in GROUNDS if thorough else ["dark"]:
        look(page, ground)
        for name in ("Table", "Code", "Download", "Link"):
            popover(page, name)
            found += faults(page, POPOVER)
            page.keyboard.press("Escape")
            expect(page.locator(POPOVER)).to_have_count(0)
    link = page.get_by_role("link", name="Lessons")
    expect(link).not_to_be_in_viewport()
    expect(page.locator(".stSidebar[inert]")).to_have_count(1)  # nor on the way of the keyboard
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(link).to_be_in_viewport()
    expect(page.locator(".stSidebar[inert]")).to_have_count(0)
    found += faults(page)
    link.click()
    expect(page.get_by_role("heading", name="Lessons", level=1)).to_be_visible()
    idle(page)
    found += in_both(page)
    assert found == [], "\n".join(found)
    assert watch.complaints == []


def test_beside_a_lesson(watched: tuple[Page, Watch], small_address: str) -> None:
    page, watch = watched
    look(page, "light")
    forget(page, small_address, "predictions")
    start(page, small_address, "predictions")
    page.locator(".st-key-step_on button").press("Enter")
    expect(panel(page)).to_contain_text("step 2 ")
    expect(panel(page).get_by_role("heading")).to_be_focused()  # its beginning, for the keyboard
    idle(page)
    found = in_both(page)
    apply(page)
    question = lessons()["predictions"].steps[1].question
    assert question
    answer(page, question)
    page.locator(".st-key-hint button").click()
    expect(panel(page)).to_contain_text("A nudge.")
    idle(page)
    found += in_both(page)
    look(page, "light")
    page.goto(f"{small_address}/lessons")
    page.locator(".st-key-lesson_predictions").get_by_role("button", name="Report").click()
    expect(page.locator(POPOVER)).to_be_visible()
    found += in_both(page, POPOVER)
    forget(page, small_address, "predictions")
    assert found == [], "\n".join(found)
    assert watch.complaints == []


def outlined(place: Locator) -> None:
    expect(place).to_have_css("outline-style", "solid")
    expect(place).to_have_css("outline-width", "2px")


def test_by_the_keyboard_and_for_a_finger(page: Page, small_address: str) -> None:
    visit(page, f"{small_address}/predictions")
    expect(token(page, 4)).to_have_attribute("aria-pressed", "true")
    assert page.evaluate(TOO_SMALL) == []

    # One stop of the Tab key for all tokens, and it is the chosen one.
    last = strip(page).get_by_role("button").count() - 1
    for moved in ("Tab", "Tab"):
        slider(page, "Top tokens").focus()
        page.keyboard.press(moved)
        expect(token(page, last)).to_be_focused()
        outlined(token(page, last))
    page.keyboard.press("Tab")
    assert strip(page).locator(":focus").count() == 0
    page.keyboard.press("Shift+Tab")
    for key, position in (
        ("ArrowLeft", last - 1),
        ("Home", 0),
        ("ArrowLeft", 0),
        ("ArrowRight", 1),
        ("End", last),
        ("ArrowRight", last),
        ("ArrowLeft", last - 1),
    ):
        page.keyboard.press(key)
        expect(token(page, position)).to_be_focused()
    for key, position in (("Enter", last - 1), ("Space", last - 2)):
        expect(token(page, position)).to_have_attribute("aria-pressed", "false")
        page.keyboard.press(key)
        expect(token(page, position)).to_have_attribute("aria-pressed", "true")
        expect(token(page, position)).to_be_focused()  # though the strip has been drawn anew
        expect(slider(page, "at position")).to_have_value(str(position))
        page.keyboard.press("ArrowLeft")

    # The keyboard's place is seen.
    thumb = slider(page, "at position")
    thumb.press("ArrowLeft")
    outlined(thumb.locator("xpath=ancestor::*[@data-rac][1]"))
    link = page.get_by_role("link", name="Logit lens")
    link.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    outlined(link)


def test_who_asks_for_less_motion_has_no_player(page: Page, small_address: str) -> None:
    visit(page, f"{small_address}/trajectories")
    play = page.get_by_test_id("stCheckbox").filter(has_text="Play")
    said = page.locator(".st-key-layer_play")
    expect(play).to_be_hidden()
    assert "step by hand" in said.evaluate("each => getComputedStyle(each, '::after').content")
    page.emulate_media(reduced_motion="no-preference")
    expect(play).to_be_visible()
    assert said.evaluate("each => getComputedStyle(each, '::after').content") == "none"
