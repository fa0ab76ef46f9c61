"""A class in a browser: in by code, a lesson, seen by the teacher, back by resume code, out."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest
from playwright.sync_api import Page, expect

from strata.lessons import lessons
from tests.browser.axe import for_everybody
from tests.browser.driver import Newcomer
from tests.browser.server import serve
from tests.browser.test_lessons import answer, apply, at_step, panel, settled
from tests.databases import new_place

SECRET = "a secret of the teacher"
LESSON = next(iter(lessons().values()))
HOSTILE = "=<img src=x onerror='window.hit=1'>"


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds classes: in PostgreSQL where there is a server, since the other tests of
    a class in a browser are on SQLite."""
    kind = "postgresql" if os.environ.get("STRATA_TEST_POSTGRES") else "sqlite"
    with new_place(kind, tmp_path_factory.mktemp("class")) as place:
        environment = {"STRATA_MODE": "class", "STRATA_TEACHER_SECRET": SECRET}
        with serve(environment={**environment, "STRATA_DATABASE_URL": place}) as url:
            yield url


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


def test_a_class_from_its_code_to_its_gradebook(newcomer: Newcomer, hosted: str) -> None:
    desk = teacher(newcomer, hosted)
    code = new_class(desk, "Physics 3b")
    other = new_class(desk, "Another class")
    ann, resume = join(newcomer, hosted, code, "Ann")
    bob, _ = join(newcomer, hosted, code, HOSTILE)
    eve, _ = join(newcomer, hosted, other, "Eve")
    step = answer_first_question(ann)
    answer_first_question(bob)
    expect(eve.get_by_text("steps seen")).to_have_count(0)

    # The teacher sees it, without a reload, and of the chosen class only.
    expect(desk.get_by_text(re.compile(r"1 learners?"))).to_be_visible()
    desk.get_by_test_id("stMain").get_by_role("combobox", name="Class").click()
    desk.get_by_role("option", name="Physics 3b").click()
    expect(desk.get_by_text("2 learners")).to_be_visible()
    expect(desk.locator(".class-code")).to_have_text(code)
    funnel = desk.get_by_test_id("stVegaLiteChart")
    expect(funnel).to_have_attribute("aria-label", re.compile(LESSON.title))
    for_everybody(desk)
    desk.get_by_role("tab", name="Gradebook").click()
    with desk.expect_download() as saved:
        desk.get_by_role("button", name="Answers as CSV").click()
    book = pd.read_csv(io.BytesIO(Path(saved.value.path()).read_bytes()))
    assert set(book["name"]) == {"Ann", f"'{HOSTILE}"}
    assert book["step"].tolist() == [step, step]
    assert book["grade"].isin(["right", "near", "wrong", "open"]).all()
    for page in (desk, ann, bob):
        assert page.evaluate("window.hit") is None
        expect(page.get_by_test_id("stException")).to_have_count(0)

    # Ann leaves, and comes back elsewhere with her code.
    for_everybody(desk)
    ann.goto(f"{hosted}/leave")
    for_everybody(ann)
    ann.get_by_role("button", name="Leave").click()
    ann.goto(f"{hosted}/predictions")
    expect(ann.get_by_role("heading", name="Join your class")).to_be_visible()
    for_everybody(ann)
    again = newcomer()
    again.goto(f"{hosted}/lessons")
    again.get_by_text("I was here before").click()
    again.get_by_label("Resume code").fill(resume)
    again.get_by_role("button", name="Come back").click()
    again.get_by_role("button", name="Continue").click()
    at_step(again, step - 1, LESSON.steps[step - 1], len(LESSON.steps))
    apply(again)
    expect(panel(again).locator('[class*="st-key-verdict_"]')).to_be_visible()


def vote(page: Page, option: int) -> None:
    """Choose an option on a learner's screen, and hand it in."""
    page.locator("label.option").nth(option).click()
    page.get_by_role("button", name="Vote", exact=True).click()
    expect(page.get_by_text("Your vote:")).to_be_visible()


def end(desk: Page) -> None:
    """Put the vote away."""
    button = desk.get_by_role("button", name="End", exact=True)
    expect(button).to_have_count(1)  # while the page is drawn anew there may be the old one too
    button.click()
    desk.get_by_role("button", name="End the vote").click()


def test_vote_talk_and_vote_again(newcomer: Newcomer, hosted: str) -> None:
    """A teacher and three learners, wherever they are; another class hears nothing of it."""
    desk = teacher(newcomer, hosted)
    code = new_class(desk, "A voting class")
    away, _ = join(newcomer, hosted, new_class(desk, "Not voting"), "Eve")
    learners = [join(newcomer, hosted, code, name)[0] for name in ("Ann", HOSTILE, "Cid")]
    answer_first_question(learners[0])
    learners[1].goto(f"{hosted}/scaling")
    desk.get_by_test_id("stMain").get_by_role("combobox", name="Class").click()
    desk.get_by_role("option", name="A voting class").click()
    expect(desk.locator(".class-code")).to_have_text(code)
    desk.get_by_role("tab", name="Vote").click()
    settled(desk)  # the link below the code is that class's too
    with desk.expect_popup() as opened:
        desk.get_by_role("link", name="For the projector").click()
    wall = opened.value
    expect(wall.get_by_text("3 have joined")).to_be_visible()
    named = wall.locator(".st-key-wall_names")
    expect(named).to_contain_text(HOSTILE)
    # What is needed now is seen on a small screen; names are not, once they are hidden.
    desk.set_viewport_size({"width": 1280, "height": 800})
    expect(desk.locator('[class*="st-key-open_vote_"] button')).to_be_in_viewport()
    desk.get_by_text("Hide names").click()
    expect(named).to_have_count(0)
    desk.get_by_role("button", name="Timer").click()
    desk.get_by_role("button", name="5 min", exact=True).click()
    for page in (desk, wall, learners[2]):
        expect(page.get_by_role("timer").filter(has_text=re.compile("[45]:"))).to_be_visible()
    expect(away.get_by_role("timer")).to_have_count(0)
    desk.keyboard.press("Escape")

    # A question of a lesson, with the answer of the model's own run. Who has answered it before
    # does not show a neighbour what was right.
    verdict = panel(learners[0]).locator('[class*="st-key-verdict_"] [data-testid="stText"]').first
    expect(verdict).to_be_visible()
    figure = learners[1].get_by_test_id("stVegaLiteChart").first
    expect(figure).to_be_visible()
    knew = desk.get_by_text("1 of 3 have answered this question in the lesson")
    expect(knew).to_be_visible()
    desk.locator('[class*="st-key-open_vote_"] button').click()
    expect(verdict).to_be_hidden()
    expect(figure).to_be_hidden()  # where the answer could be read off
    expect(knew).to_be_visible()
    box = panel(learners[0]).locator('[class*="st-key-verdict_"]').first
    expect(box).to_have_css("border-left-color", "rgb(138, 143, 152)")  # not right's or wrong's
    asked = learners[0].locator("section.vote .ask")
    expect(asked).not_to_be_empty()
    expect(wall.get_by_text(asked.inner_text())).to_be_visible()
    expect(wall.get_by_text(f"To join: {code}")).to_be_visible()
    desk.get_by_role("button", name="Close the vote").click()
    desk.get_by_role("button", name="Show everyone the results").click()
    expect(wall.get_by_text("Nobody has voted.")).to_be_visible()
    expect(verdict).to_be_hidden()  # as long as there may be a second vote
    desk.get_by_role("button", name="No second vote: show the answer").click()
    expect(asked).to_be_visible()
    expect(verdict).to_be_visible()
    expect(figure).to_be_visible()
    end(desk)
    expect(learners[0].locator("section.vote")).to_have_count(0)
    expect(verdict).to_be_visible()

    # One of the teacher's own.
    desk.get_by_text("A question of your own").click()
    desk.get_by_label("Your question").fill(f"Which? {HOSTILE}")
    desk.get_by_label("Answers to choose from").fill(f"{HOSTILE}\nthe right one\n**neither**")
    desk.get_by_label("Number of the right one").fill("2")
    desk.get_by_test_id("stFormSubmitButton").get_by_role("button", name="Open the vote").click()
    expect(desk.get_by_text("Not yet: Learner 1, Learner 2, Learner 3")).to_be_in_viewport()
    for page, option in zip(learners, (0, 1, 2), strict=True):
        vote(page, option)
    learners[2].get_by_role("button", name="Change it").click()
    vote(learners[2], 0)
    expect(desk.get_by_text("3 of 3 have voted")).to_be_visible()
    expect(desk.locator(".st-key-vote_options")).to_contain_text("B   the right one")
    expect(wall.get_by_text("3 of 3 have voted")).to_be_visible()
    for_everybody(desk, wall, learners[1])
    for page in (*learners, wall):  # nobody is shown what others said
        expect(page.locator(".bars")).to_have_count(0)
        expect(page.get_by_test_id("stVegaLiteChart").filter(has_text="Vote")).to_have_count(0)
    learners[0].get_by_role("button", name="Fold", exact=True).click()
    expect(asked).to_have_count(0)
    desk.get_by_role("button", name="Close the vote").click()
    expect(asked).to_be_visible()  # there is something new
    expect(learners[2].get_by_text("Talk it over")).to_be_visible()
    expect(learners[2].get_by_role("button", name="Vote", exact=True)).to_have_count(0)
    learners[2].reload()  # what was voted is known again
    expect(learners[2].get_by_text(f"Your vote: {HOSTILE}")).to_be_visible()
    desk.get_by_role("button", name="Show everyone the results").click()
    for page in learners:  # how they are spread, not what is right: the second vote is to come
        expect(page.locator(".bars .line")).to_have_text(["2", "1", "0"])
        expect(page.locator(".bar.right")).to_have_count(0)
    expect(wall.get_by_text("3 voted.")).to_be_visible()
    desk.get_by_role("button", name="Open the second vote").click()
    for page in learners:
        expect(page.get_by_role("heading", name="Vote again")).to_be_visible()
        vote(page, 1)
    desk.get_by_role("button", name="Close the second vote").click()
    desk.get_by_role("button", name="Show everyone the results").click()
    for page in learners:
        expect(page.locator(".bar.right .line")).to_have_text(["1", "3"])
    for_everybody(learners[1])
    said = "1 of 3 and then 3 of 3 answered right; 2 of 3 changed their answer."
    expect(wall.get_by_text(said)).to_be_visible()
    expect(desk.get_by_text(said)).to_be_visible()
    end(desk)
    expect(learners[0].locator("section.vote")).to_have_count(0)
    expect(away.locator("section.panel")).to_have_count(0)

    desk.get_by_role("tab", name="Gradebook").click()
    with desk.expect_download() as saved:
        desk.get_by_role("button", name="Answers as CSV").click()
    book = pd.read_csv(io.BytesIO(Path(saved.value.path()).read_bytes()))
    book = book[book["lesson"].str.startswith("Vote: Which?")].set_index("name")
    assert book.loc["Ann", ["first answer", "grade"]].tolist() == [f"'{HOSTILE}", "wrong"]
    assert book["revision"].tolist() == ["the right one"] * 3

    # One learner's answers, by a click.
    table, theirs = desk.get_by_test_id("stDataFrame").first, desk.get_by_text("Answers of Learner")
    for _ in range(20):  # it is drawn on a canvas, nobody knows when
        table.click(position={"x": 60, "y": 50})
        with suppress(AssertionError):
            expect(theirs).to_be_visible(timeout=3_000)
            break
    expect(theirs).to_contain_text("Answers of Learner 1")

    # Deleted: who was taken out hears it at once.
    desk.get_by_role("tab", name="Settings").click()
    desk.get_by_role("combobox", name="A learner").click()
    desk.get_by_role("option", name="Cid").click()
    desk.get_by_role("button", name="Rename", exact=True).click()
    desk.get_by_label("New name").fill("Cyd")
    desk.get_by_role("button", name="Take it").click()
    expect(desk.get_by_role("combobox", name="A learner")).to_have_value("Cyd")
    desk.get_by_role("button", name="Delete the learner").click()
    desk.get_by_text("Yes: it cannot be undone").click()
    desk.get_by_role("button", name="Delete for good").click()
    expect(learners[2].get_by_role("alert")).to_contain_text("taken out of the class")
    expect(learners[2].get_by_role("link", name="Join a class")).to_be_visible()
    gone = learners.pop()

    # Closed: who is in is told at once, and goes no further.
    desk.get_by_role("tab", name="Settings").click()
    expect(desk.get_by_role("button", name="Close the class now")).to_be_visible()
    settled(desk)
    for_everybody(desk)
    desk.get_by_role("button", name="Close the class now").click()
    for page in learners:
        expect(page.locator("section.panel")).to_contain_text("was closed")
    learners[1].get_by_role("button", name="Look inside").click()
    expect(learners[1].locator('[class*="st-key-say_refusal"]')).to_contain_text("was closed")
    expect(away.locator("section.panel")).to_have_count(0)
    expect(wall.get_by_text("was closed at")).to_be_visible()  # and says no code
    for page in (desk, wall, away, gone, *learners):
        assert page.evaluate("window.hit") is None
        expect(page.get_by_test_id("stException")).to_have_count(0)


def test_bring_everyone_here(newcomer: Newcomer, hosted: str) -> None:
    desk = teacher(newcomer, hosted)
    code = new_class(desk, "Come along")
    ann, _ = join(newcomer, hosted, code, "Ann")
    bob, _ = join(newcomer, hosted, code, "Bob")
    desk.goto(f"{hosted}/predictions?k=20&{urlsplit(desk.url).query}")
    expect(desk.locator(".st-key-foot")).to_be_visible()
    settled(desk)
    desk.get_by_role("textbox", name="Prompt").fill("The teacher's own words are")
    desk.keyboard.press("Control+Enter")
    expect(desk).to_have_url(re.compile("prompt="))
    settled(desk)
    desk.locator(".st-key-bring_everyone summary").click()
    expect(desk.get_by_text("Ann, Bob")).to_be_visible()
    desk.get_by_role("button", name="Bring 2 learners here").click()
    bob.get_by_role("button", name="Stay here").click()
    expect(ann).to_have_url(re.compile("/predictions.*k=20"))
    expect(ann.get_by_role("textbox", name="Prompt")).to_have_value("The teacher's own words are")
    expect(ann.locator(".st-key-foot")).to_be_visible()
    # Taken back where it was pressed, and who went along goes back.
    desk.get_by_role("button", name="Undo").click()
    ann.get_by_role("button", name="Back to where I was").click()
    expect(ann).to_have_url(re.compile("/lessons"))
    expect(desk.get_by_text("Asked to come to")).to_have_count(0)
    assert "/lessons" in bob.url
    bob.reload()
    settled(bob)
    expect(bob.locator("section.call")).to_have_count(0)  # once declined, always declined


def test_a_learner_has_no_teachers_page_and_no_model_but_the_class(
    newcomer: Newcomer, hosted: str
) -> None:
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
    desk.get_by_role("option", name="SmolLM2 135M").first.click()
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
