"""Coming into a class in a browser, as a teacher and as a learner."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from playwright.sync_api import Page, expect

from strata.lessons import lessons
from tests.browser.axe import for_everybody
from tests.browser.driver import Newcomer
from tests.browser.test_lessons import answer, apply, at_step, settled
from tests.browser.test_look import GROUNDS

SECRET = "a secret of the teacher"
LESSON = next(iter(lessons().values()))


def teacher(newcomer: Newcomer, url: str) -> Page:
    page = newcomer()
    page.goto(f"{url}/teach")
    page.get_by_label("The teacher's secret").fill(SECRET)
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("button", name="New class")).to_be_visible()
    settled(page)
    return page


def new_class(page: Page, name: str) -> str:
    """The code of a new class."""
    page.get_by_role("button", name="New class").click()
    page.get_by_label("Name of the class").fill(name)
    page.get_by_role("button", name="Make it").click()
    expect(page.get_by_test_id("stMain").get_by_role("combobox", name="Class")).to_have_value(name)
    expect(page.get_by_label("Name of the class")).to_have_count(0)
    settled(page)
    return page.locator(".class-code").inner_text()


def join(newcomer: Newcomer, url: str, code: str, name: str) -> tuple[Page, str]:
    page = newcomer()
    page.goto(f"{url}/lessons")
    page.get_by_label("Class code").fill(code.upper())
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()
    resume = page.locator("#resume").inner_text()
    page.get_by_role("link", name="Begin").click()
    expect(page.locator(f".st-key-open_{LESSON.stem} button")).to_be_visible()
    settled(page)
    return page, resume


def sit_down(page: Page, code: str, name: str) -> None:
    """Join by the form that is open, at a computer where somebody sat before."""
    page.get_by_label("Class code").fill(code)
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join").click()
    page.get_by_role("link", name="Begin").click()


def end(desk: Page) -> None:
    """Put the vote away."""
    button = desk.get_by_role("button", name="End", exact=True)
    expect(button).to_have_count(1)  # while the page is drawn anew there may be the old one too
    button.click()
    desk.get_by_role("button", name="End the vote").click()


def sent_by_another_site(page: Page, site: str, form: str) -> int:
    """A page of `site` sends a form to this address from a browser that has a seat there; what the
    server answers."""
    here = page.context.new_page()
    here.goto(site)
    with here.expect_navigation() as moved:
        here.evaluate(
            """to => {
              const form = document.createElement("form");
              Object.assign(form, { method: "post", action: to });
              document.body.append(form);
              form.submit();
            }""",
            form,
        )
    status = moved.value.status
    here.close()
    return status


def answer_first_question(page: Page) -> int:
    """Go to the first question of the first lesson and answer it; the number of its step."""
    page.locator(f".st-key-open_{LESSON.stem} button").click()
    number = next(n for n, step in enumerate(LESSON.steps) if step.question)
    for earlier in range(number):
        at_step(page, earlier, LESSON.steps[earlier], len(LESSON.steps))
        page.locator(".st-key-step_on button").click()
    at_step(page, number, LESSON.steps[number], len(LESSON.steps))
    apply(page)
    question = LESSON.steps[number].question
    assert question
    answer(page, question)
    return number + 1


def vote(page: Page, option: int) -> None:
    """Choose an option on a learner's screen, and hand it in."""
    page.locator("label.option").nth(option).click()
    page.get_by_role("button", name="Vote", exact=True).click()
    expect(page.get_by_text("Your vote:").first).to_be_visible()


def saved(desk: Page, button: str) -> pd.DataFrame:
    """The table that the teacher saves with this button."""
    with desk.expect_download() as file:
        desk.get_by_role("button", name=button).click()
    written = Path(file.value.path()).read_bytes()
    assert written.startswith(codecs.BOM_UTF8)
    return pd.read_csv(io.BytesIO(written))


@dataclass
class Hour:
    """Who is there: the teacher's screen and the projector's; Ann at the shared computer, one with
    a hostile name, and Cid, in the class of `code`; Eve in another one, of which nobody hears."""

    url: str
    desk: Page
    code: str
    ann: Page
    resume: str
    bob: Page
    cid: Page
    eve: Page
    other: str
    thorough: bool

    @property
    def learners(self) -> list[Page]:
        return [self.ann, self.bob, self.cid]

    def for_everybody(self, ground: str, *pages: Page) -> None:
        """Of these two grounds the other one is thorough: each page of a class is seen on one."""
        for_everybody(*pages, grounds=list(GROUNDS) if self.thorough else [ground])

    def tab(self, name: str) -> None:
        self.desk.get_by_role("tab", name=name).click()
        settled(self.desk)

    def page(self, name: str) -> None:
        """Go to a page of the teacher's by the navigation, as everybody does."""
        nav = self.desk.get_by_test_id("stSidebarNav")
        nav.get_by_role("link", name=name).click()
        settled(self.desk)


def a_ballot_that_waits_goes_on_by_itself(page: Page, option: int, words: str) -> None:
    """A vote is changed while the network is away, and the page is loaded anew before it is back:
    what was handed in last is what is sent, and once."""
    page.route("**/live/vote", lambda route: route.abort())
    page.get_by_role("button", name="Change it").click()
    page.locator("label.option").nth(option).click()
    page.get_by_role("button", name="Vote", exact=True).click()
    waits = page.get_by_text(f"Your vote, not kept: {words}")
    expect(waits).to_be_visible()
    page.reload()
    expect(waits).to_be_visible()
    page.unroute("**/live/vote")
    expect(page.get_by_text(f"Your vote: {words}")).to_be_visible()


def the_next_one_at_the_computer_has_not_voted(hour: Hour) -> None:
    """Ann leaves the shared computer, and one of the same class sits down there."""
    page = hour.ann
    expect(page.locator("p.mine")).to_be_visible()
    page.goto(f"{hour.url}/leave")
    page.get_by_role("button", name="Leave").click()
    sit_down(page, hour.code, "Una")
    expect(page.locator("section.vote")).to_be_visible()
    expect(page.locator("p.mine")).to_have_count(0)
    keys = "Object.keys(sessionStorage).filter((key) => !/^who|^covers|^folded/.test(key))"
    assert page.evaluate(keys) == []
