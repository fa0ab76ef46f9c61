"""Every lesson played to its end against a real server: each step is set up, answered, and told.

By websocket, which shows that the server does it; what a learner sees of it is in
`tests/browser/test_lessons.py`, for one of the lessons; what is right on the bundled model in
`test_shipped.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.classroom_client import Browser
from strata.concepts.views import concepts
from strata.lessons import Lesson, Question, lessons
from tests import small
from tests.browser.server import serve
from tests.browser.shared import shared
from tests.loops import run_apart


async def answer(browser: Browser, question: Question) -> None:
    """Any answer: what matters is that it can be given, and is answered."""
    # An order has a field for each place, a band one for each end, a curve one for each layer.
    n_fields = {"band": 2, "curve": question.points}.get(question.kind, 1)
    for _ in range(len(question.options) or n_fields):
        fields = [key for key in browser.widgets if key.startswith("guess_")]
        left = [key for key in fields if browser.value(key) is None]
        if not left or (
            question.kind != "token" and not browser.widgets["commit_0"].proto.disabled
        ):
            break
        field = browser.widgets[left[-1]]
        key = field.id.split("-", 2)[-1]
        if field.kind == "slider":
            ends = (field.proto.min, field.proto.max)
            await browser.slide(key, *ends[-len(field.proto.default) :])
            continue
        words = "word" if question.kind == "token" else field.proto.options[-1]
        await browser.write(key, words)
    await browser.press("commit_0")


async def play(url: str, lesson: Lesson, *, lacks: str = "") -> None:
    """Where a page refuses or fails, the browser raises. `lacks`: the view that has no rows for
    this model, so that questions which need it are not asked."""
    browser = Browser(url)
    await browser.open("lessons")
    if f"forget_{lesson.stem}" in browser.widgets:  # another test has begun it
        await browser.switch(f"sure_{lesson.stem}", True)
        await browser.press(f"forget_{lesson.stem}")
    await browser.press(f"open_{lesson.stem}")
    for number, step in enumerate(lesson.steps):
        assert number == 0 or "set_up" not in browser.widgets, f"{step.title}: the way on sets up"
        if "set_up" in browser.widgets:
            await browser.press("set_up")
            assert "set_up" not in browser.widgets, step.title
        if step.question is not None and lacks and step.question.needs == lacks:
            assert not {"commit_0", "look", "hint"} & set(browser.widgets), step.title
            assert "beam" in browser.widgets, (
                f"{step.title}: a figure that needs no lens is offered"
            )
        elif step.question is not None:
            assert "look" in browser.widgets, step.title  # nobody has to answer
            # A page whose figure waits ends there, before its foot.
            assert ("table" in browser.widgets) is not step.hide, step.title
            if step.hints:
                await browser.press("hint")
            await answer(browser, step.question)
            if "commit_1" in browser.widgets:  # wrong: the answer comes after a second try
                assert ("table" in browser.widgets) is not step.hide, step.title
                await browser.press("look")
            left = {"commit_0", "commit_1", "look", "hint"} & set(browser.widgets)
            assert not left, f"{step.title}: what is told is not asked"
        assert {"table", "code", "download", "link"} <= set(browser.widgets), step.title
        assert "step_back" in browser.widgets
        assert f"lesson={lesson.stem}" in browser.query
        assert f"step_of_lesson={number + 1}" in browser.query.split("&"), step.title
        await browser.press("step_on")
    assert f"open_{lesson.stem}" in browser.widgets, "the list of lessons is back"
    assert f"forget_{lesson.stem}" in browser.widgets, "and knows of it"
    if lacks:
        asked = {n for n, s in enumerate(lesson.steps) if s.question and s.question.needs == lacks}
        again = {int(key[6:]) for key in browser.widgets if re.fullmatch(r"again_\d+", key)}
        assert not asked & again, "what could not be asked is not to be looked at again"
    await browser.close()


@pytest.mark.parametrize("stem", list(lessons()))
def test_every_step_is_applied_answered_and_told(small_address: str, stem: str) -> None:
    lesson = lessons()[stem]
    if "jacobian_lens" in map(lesson.page_of, range(len(lesson.steps))):
        small_address, _ = shared("lens", lambda folder: small.with_a_lens(folder, seed=3))
    run_apart(play(small_address, lesson))


def test_a_lesson_goes_on_where_a_model_lacks_what_it_asks_about(small_address: str) -> None:
    lesson = lessons()["jacobian_lens"]
    asked = [step.question.needs for step in lesson.steps if step.question]
    assert asked.count("jacobian_lens.about") == 3
    run_apart(play(small_address, lesson, lacks="jacobian_lens.about"))


async def look(url: str, page: str) -> None:
    browser = Browser(url)
    await browser.open(page)
    assert {"table", "code", "download", "link"} <= set(browser.widgets), page
    await browser.close()


def test_pages_and_a_lesson_work_on_streamlit_as_it_is(tmp_path: Path) -> None:
    """With STRATA_PLAIN_STREAMLIT, for the day on which its insides have changed: what is replaced
    is all in the server, so a browser would show no more."""
    with serve(environment={"STRATA_PLAIN_STREAMLIT": "1", **small.environment(tmp_path)}) as url:
        for page in concepts():
            run_apart(look(url, page))
        run_apart(play(url, lessons()["predictions"]))
