"""What members of a class may not, in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests import small
from tests.browser.attending import join, new_class, teacher
from tests.browser.driver import Newcomer
from tests.browser.shared import shared_class
from tests.browser.test_lessons import settled


def test_a_learner_has_no_teachers_page_and_no_model_but_the_class(newcomer: Newcomer) -> None:
    hosted, _ = shared_class()
    desk = teacher(newcomer, hosted)
    code = new_class(desk, "Locked")
    learner, _ = join(newcomer, hosted, code, "Ann")
    nav = learner.get_by_test_id("stSidebarNav")
    expect(nav.get_by_role("link", name="Lessons")).to_be_visible()
    expect(nav.get_by_role("link", name="Class")).to_have_count(0)
    learner.goto(f"{hosted}/class")
    expect(nav.get_by_role("link", name="Lessons")).to_be_visible()
    settled(learner)
    expect(learner.get_by_role("button", name="New class")).to_have_count(0)
    expect(learner.locator(".class-code")).to_have_count(0)

    desk.get_by_role("tab", name="Settings").click()
    settled(desk)
    desk.reload()  # the address knows which tab it was
    desk.get_by_role("combobox", name="Lessons, in order").click()
    desk.get_by_role("option").nth(2).click()
    desk.keyboard.press("Escape")
    expect(desk.get_by_role("option")).to_have_count(0)
    desk.get_by_role("combobox", name="Model").click()
    desk.get_by_role("option", name=small.BUNDLED).first.click()
    desk.get_by_role("button", name="Save").click()
    settled(desk)
    learner.goto(f"{hosted}/lessons")  # the door looks again after a few seconds
    for _ in range(20):
        settled(learner)
        if learner.locator('[class*="st-key-lesson_"] h2').count() == 1:
            break
        learner.wait_for_timeout(1_000)
        learner.reload()
    expect(learner.locator('[class*="st-key-open_"]')).to_have_count(1)
    learner.goto(f"{hosted}/predictions?model=gpt2")
    expect(learner.locator(".st-key-foot")).to_be_visible()
    learner.get_by_test_id("stSidebar").get_by_role("combobox", name="Model").click()
    expect(learner.get_by_role("option")).to_have_count(1)

    # The teacher deletes it, once more asked, and nobody is in any more.
    desk.get_by_role("button", name="Delete the class").click()
    expect(desk.get_by_text("Delete the class Locked, with its 1 learner")).to_be_visible()
    expect(desk.get_by_role("button", name="Delete for good")).to_be_disabled()
    desk.get_by_text("Yes: it cannot be undone").click()
    desk.get_by_role("button", name="Delete for good").click()
    expect(desk.locator(".class-code").filter(has_text=code)).to_have_count(0)
    joining = learner.get_by_role("heading", name="Join your class")
    for _ in range(20):  # the door looks again after a few seconds
        learner.goto(f"{hosted}/predictions")
        if joining.count():
            break
        learner.wait_for_timeout(1_000)
    expect(joining).to_be_visible()
