"""The database goes away in the middle of a lesson and comes back, then the server itself does."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from strata.classroom import watch
from strata.classroom.roster import Roster
from strata.storage.database import Database
from tests import small
from tests.browser.attending import LESSON, SECRET, join, new_class, teacher
from tests.browser.driver import Newcomer
from tests.browser.screen import said
from tests.browser.server import WITHOUT_A_PROCESS, free_port, serve
from tests.browser.test_lessons import answer, apply, at_step, panel, settled
from tests.databases import own_server
from tests.storage.test_outbox import until

NAME = "Ann"
QUESTIONS = [number for number, step in enumerate(LESSON.steps) if step.question][:3]


def go_and_answer(page: Page, number: int, shown: int) -> None:
    """From the step that is shown to another, and answer its question."""
    for step in range(shown, number):
        at_step(page, step, LESSON.steps[step], len(LESSON.steps))
        page.locator(".st-key-step_on button").click()
    at_step(page, number, LESSON.steps[number], len(LESSON.steps))
    apply(page)
    question = LESSON.steps[number].question
    assert question
    answer(page, question)
    verdict(page)


def verdict(page: Page) -> None:
    expect(panel(page).locator('[class*="st-key-verdict_"]')).to_be_visible()
    expect(said(panel(page), "refusal")).to_have_count(0)


@pytest.mark.timeout(900)
def test_nothing_is_lost_when_the_database_or_the_server_is_stopped(
    newcomer: Newcomer, tmp_path: Path
) -> None:
    with own_server() as stored:
        database, port = Database(stored.url), free_port()
        environment = {
            **WITHOUT_A_PROCESS,
            **small.environment(tmp_path),
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": SECRET,
            "STRATA_DATABASE_URL": stored.url,
            "STRATA_STATE": str(tmp_path / "state"),
        }
        with serve(environment=environment, port=port) as url:
            desk = teacher(newcomer, url)
            code = new_class(desk, "3b")
            desk.close()
            page, _ = join(newcomer, url, code, NAME)
            banner = said(page.locator(".st-key-kept"), "warning")
            page.locator(f".st-key-open_{LESSON.stem} button").click()
            go_and_answer(page, QUESTIONS[0], 0)
            expect(banner).to_have_count(0)

            stored.stop()
            go_and_answer(page, QUESTIONS[1], QUESTIONS[0])
            expect(banner).to_contain_text("cannot be used just now")
            expect(banner).to_contain_text("wait now")
            page.reload()  # a new session: it knows what the server has kept
            at_step(page, QUESTIONS[1], LESSON.steps[QUESTIONS[1]], len(LESSON.steps))
            verdict(page)

            stored.start()
            until(lambda: answered(database) == QUESTIONS[:2])
            expect(banner).to_have_count(0)  # by itself

            stored.stop()  # and what waits when the server ends is stored by the next one
            go_and_answer(page, QUESTIONS[2], QUESTIONS[1])
            expect(banner).to_be_visible()
        expect(page.get_by_test_id("stConnectionStatus")).to_be_visible()
        stored.start()
        with serve(environment=environment, port=port):
            until(lambda: answered(database) == QUESTIONS)
            expect(page.get_by_test_id("stConnectionStatus")).to_have_count(0)
            settled(page)
            at_step(page, QUESTIONS[2], LESSON.steps[QUESTIONS[2]], len(LESSON.steps))
            expect(banner).to_have_count(0)  # so it has run again, by itself
            apply(page)  # the prompt could not be stored, so the address did not hold it
            verdict(page)
            page.locator(".st-key-step_back button").click()
            at_step(page, QUESTIONS[1], LESSON.steps[QUESTIONS[1]], len(LESSON.steps))
            apply(page)
            verdict(page)
        database.close()


def answered(database: Database) -> list[int]:
    """The steps that the learner has answered, as the gradebook of the only class has them."""
    (group,) = Roster(database).classes()
    book = watch.gradebook(watch.events(database, group.id))
    assert set(book["name"]) == {NAME}
    return [step - 1 for step in book["step"]]
