"""Lessons in a browser: every step of one is applied, answered, revealed; progress is kept."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from strata.lessons import Question, Step, lessons
from tests import small
from tests.browser.driver import Newcomer, on_a_small_model  # noqa: F401
from tests.browser.screen import strip
from tests.browser.server import serve

STEMS = list(lessons())
# Presses one button and, at the same place, another: whether each was heard.
PRESSED_TWICE = """(keys) => keys.map((key) => {
  const press = {bubbles: true, cancelable: true, detail: 1, clientX: 9, clientY: 9};
  return document.querySelector(`${key} button`).dispatchEvent(new MouseEvent("click", press));
})"""


def settled(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)


def panel(page: Page) -> Locator:
    return page.locator(".st-key-lesson_panel")


def start(page: Page, address: str, stem: str) -> None:
    if page.url != f"{address}/lessons":  # as it is where another start was forgotten
        page.goto(f"{address}/lessons")
    page.locator(f".st-key-open_{stem} button").click()
    expect(panel(page)).to_contain_text("step ")
    settled(page)


def at_step(page: Page, number: int, step: Step, count: int) -> None:
    expect(panel(page)).to_contain_text(f"step {number + 1} of {count}")
    expect(panel(page)).to_contain_text(step.title)
    settled(page)


def apply(page: Page) -> None:
    button = page.locator(".st-key-set_up button")
    if button.count():
        button.click()
        expect(panel(page)).to_contain_text("The page is set up for this step")
        settled(page)


def answer(page: Page, question: Question) -> None:
    """Any answer: what matters is that it can be given, and is answered."""
    box = panel(page)
    if question.kind == "choice":
        box.get_by_test_id("stRadio").locator("label").nth(1).click()
    elif question.kind == "token":
        # Committed by Enter, though the field has not been left.
        box.get_by_role("textbox", name="Your answer").press_sequentially("word")
    elif question.kind == "position":
        box.get_by_role("combobox").click()
        page.get_by_role("option").first.click()
    elif question.kind == "ordering":
        for number in range(len(question.options) - 1):
            box.get_by_role("combobox").nth(number).click()
            page.get_by_role("option").first.click()
            expect(page.get_by_role("option")).to_have_count(0)
            settled(page)
    else:
        expect(box.get_by_role("slider").first).to_be_attached()
        for number in range(box.get_by_role("slider").count()):  # of a curve one a layer
            expect(page.locator(".st-key-commit_0 button")).to_be_disabled()  # until it was moved
            box.get_by_role("slider").nth(number).press("ArrowRight")
            expect(box.locator('[class*="st-key-moved_"]')).to_have_count(number + 1)
    button = page.locator(".st-key-commit_0 button")
    expect(button).to_be_enabled()
    if question.kind == "token":
        page.keyboard.press("Enter")
    else:
        button.click()
    expect(box.locator('[class*="st-key-verdict_"]')).to_be_in_viewport()
    settled(page)


def play(page: Page, step: Step) -> None:
    """Apply a step, answer it and see what it shows."""
    apply(page)
    question = step.question
    if question is not None:
        if step.hide:
            expect(page.get_by_text("The figure waits for your prediction")).to_be_visible()
            expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(0)
        if step.hints:
            page.locator(".st-key-hint button").click()
            expect(panel(page)).to_contain_text("A nudge.")
            settled(page)
        answer(page, question)
        reveal(page, tall=question.kind == "curve")
        if question.figure == "strip_at":
            expect(strip(page).get_by_role("button", name="your guess")).to_have_count(1)
    expect(page.locator(".st-key-foot")).to_be_visible()
    settled(page)


def reveal(page: Page, *, tall: bool) -> None:
    """A wrong first guess leaves a second one; the answer comes before it to who asks for it.
    `tall`: what is guessed by a slider for each layer is higher than the panel."""
    if page.locator(".st-key-commit_1").count():
        if not tall:
            expect(page.locator(".st-key-commit_1 button")).to_be_in_viewport()
        page.locator(".st-key-look button").click()
        expect(page.locator(".st-key-commit_1")).to_have_count(0)
    expect(page.get_by_text("The figure waits for your prediction")).to_have_count(0)


def forget(page: Page, address: str, stem: str) -> None:
    page.goto(f"{address}/lessons")
    card = page.locator(f".st-key-lesson_{stem}")
    expect(card).to_be_visible()
    settled(page)
    begun = card.get_by_role("button", name="Report")
    expect(begun.or_(card.get_by_role("button", name="Start", exact=True))).to_be_visible()
    if begun.count():
        begun.click()
        page.locator(f".st-key-sure_{stem} label").click()
        page.locator(f".st-key-forget_{stem} button").click()
        expect(card.get_by_role("button", name="Start")).to_be_visible()
        settled(page)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stem", ["predictions"])  # all: lessons/test_played.py
def test_every_step_is_applied_answered_and_revealed(page: Page, address: str, stem: str) -> None:
    lesson = lessons()[stem]
    forget(page, address, stem)
    start(page, address, stem)
    for number, step in enumerate(lesson.steps):
        at_step(page, number, step, len(lesson.steps))
        play(page, step)
        page.locator(".st-key-step_on button").click()
    expect(page).to_have_url(re.compile("/lessons"))
    asked = sum(step.question is not None for step in lesson.steps)
    card = page.locator(f".st-key-lesson_{stem}")
    expect(card).to_contain_text(f"{len(lesson.steps)} steps seen, {asked} of {asked} questions")


def test_a_guess_on_the_figure_survives_a_reload_and_is_in_the_report(
    page: Page, address: str, tmp_path: Path
) -> None:
    stem = "laminar_profile"
    lesson = lessons()[stem]
    number, step = next(
        (n, s) for n, s in enumerate(lesson.steps) if s.question and s.question.kind == "curve"
    )
    forget(page, address, stem)
    start(page, address, stem)
    for earlier in range(number):
        at_step(page, earlier, lesson.steps[earlier], len(lesson.steps))
        page.locator(".st-key-step_on button").dblclick()  # is one step
    at_step(page, number, step, len(lesson.steps))
    play(page, step)
    expect(page.get_by_test_id("stVegaLiteChart").first.locator("svg, canvas")).to_be_visible()
    page.get_by_label(re.compile(re.escape(step.observe) or ".")).last.fill("I saw it bend.")
    page.keyboard.press("Tab")
    settled(page)
    page.reload()
    at_step(page, number, step, len(lesson.steps))
    expect(panel(page).locator('[class*="st-key-verdict_"]')).to_be_visible()

    page.goto(f"{address}/lessons")
    card = page.locator(f".st-key-lesson_{stem}")
    expect(card.get_by_role("button", name="Continue")).to_be_visible()
    card.get_by_role("button", name="Report").click()
    settled(page)
    with page.expect_download() as html:
        page.get_by_role("button", name="HTML").click()
    text = Path(html.value.path()).read_text("utf-8")
    assert "Prediction: " in text
    pictures = re.findall(r"data:image/svg\+xml;base64,([\w+/=]+)", text)
    assert any("Your guess is in magenta" in b64decode(each).decode() for each in pictures)
    assert "AutoModelForCausalLM" in text
    with page.expect_download() as notebook:
        page.get_by_role("button", name="Notebook").click()
    nbformat.validate(nbformat.read(notebook.value.path(), as_version=4))
    card.get_by_role("button", name="Report").click()
    card.get_by_role("button", name="Continue").click()
    at_step(page, number, step, len(lesson.steps))


def test_a_slider_is_no_prediction_before_it_is_moved(page: Page, address: str) -> None:
    """Its thumb and its colour come with the first move, and the keyboard stays with it."""
    lesson = lessons()["predictions"]
    forget(page, address, lesson.stem)
    number = next(
        n for n, s in enumerate(lesson.steps) if s.question and s.question.kind == "number"
    )
    page.goto(f"{address}/predictions?lesson={lesson.stem}&step_of_lesson={number + 1}")
    at_step(page, number, lesson.steps[number], len(lesson.steps))
    apply(page)
    commit = page.locator(".st-key-commit_0 button")
    slider = panel(page).get_by_role("slider")
    line = panel(page).get_by_test_id("stSlider").get_by_role("group")
    thumb = panel(page).locator("[data-rac]:has(> [data-testid=stSliderThumbValue])")
    expect(thumb).to_have_css("opacity", "0")
    expect(commit).to_be_disabled()
    before = int(slider.get_attribute("aria-valuetext") or "")
    place = commit.bounding_box()
    slider.press("ArrowRight")
    expect(commit).to_be_enabled()
    assert commit.bounding_box() == place, "it moved away under the finger"
    expect(thumb).to_have_css("opacity", "1")
    settled(page)
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", str(before))
    settled(page)
    expect(commit).to_be_enabled()  # where it began is an answer too, once it was chosen
    page.reload()
    at_step(page, number, lesson.steps[number], len(lesson.steps))
    expect(commit).to_be_disabled()
    line.click()  # in its middle, where it stands
    expect(commit).to_be_enabled()
    expect(slider).to_have_attribute("aria-valuetext", str(before))


def test_where_both_do_not_fit_a_step_stands_above_its_figure(page: Page, address: str) -> None:
    page.goto(f"{address}/predictions?lesson=predictions&step_of_lesson=2")
    title = page.get_by_role("heading", name="Predictions", level=1)
    expect(title).to_be_visible()
    settled(page)
    for width, beside in ((1440, True), (1024, False), (1200, False), (1440, True)):
        page.set_viewport_size({"width": width, "height": 768})
        page.wait_for_timeout(300)
        step, figure = panel(page).bounding_box(), title.bounding_box()
        assert step
        assert figure
        assert (figure["x"] > step["x"] + step["width"]) is beside
        assert (figure["y"] > step["y"] + step["height"]) is not beside
        assert step["width"] > 280, width


def test_nothing_is_gated_and_exploring_is_one_click_away(page: Page, address: str) -> None:
    stem = STEMS[0]
    lesson = lessons()[stem]
    number, step = next((n, s) for n, s in enumerate(lesson.steps) if s.hide)
    page.goto(f"{address}/{lesson.page_of(number)}?lesson={stem}&step_of_lesson={number + 1}")
    at_step(page, number, step, len(lesson.steps))
    apply(page)
    if page.locator(".st-key-look button").count():
        # A second press that comes when something else has got under the pointer is none.
        assert page.evaluate(PRESSED_TWICE, [".st-key-look", ".st-key-explore"]) == [True, False]
    expect(page.locator(".st-key-foot")).to_be_visible()
    settled(page)
    expect(panel(page)).to_be_visible()
    page.get_by_role("button", name="Explore freely").click()
    expect(panel(page)).to_have_count(0)
    expect(page.locator(".st-key-foot")).to_be_visible()
    assert "lesson=" not in page.url


def test_an_answer_belongs_to_its_run(page: Page, address: str) -> None:
    """Another prompt is another run: its figure waits again, and the first answer stays kept."""
    stem = STEMS[0]
    lesson = lessons()[stem]
    number, step = next((n, s) for n, s in enumerate(lesson.steps) if s.hide)
    forget(page, address, stem)
    here = f"{address}/{lesson.page_of(number)}?lesson={stem}&step_of_lesson={number + 1}"
    page.goto(here)
    at_step(page, number, step, len(lesson.steps))
    apply(page)
    assert step.question
    answer(page, step.question)
    before = page.get_by_role("textbox", name="Prompt").input_value()
    page.get_by_role("textbox", name="Prompt").fill("Bees like 33 red poppies")
    page.get_by_role("button", name="Look inside").click()
    expect(page.get_by_text("The figure waits for your prediction")).to_be_visible()
    page.get_by_role("textbox", name="Prompt").fill(before)
    page.get_by_role("button", name="Look inside").click()
    expect(panel(page).locator('[class*="st-key-verdict_"]')).to_be_visible()


def test_addresses_of_no_lesson_and_no_step_are_harmless(page: Page, address: str) -> None:
    for query in ("lesson=none", f"lesson={STEMS[0]}&step_of_lesson=999", "lesson=../x"):
        page.goto(f"{address}/predictions?{query}")
        settled(page)
        expect(page.get_by_text("Predictions").first).to_be_visible()


def test_a_page_leads_to_its_lesson_and_the_lesson_to_its_pages(page: Page, address: str) -> None:
    lesson = lessons()[STEMS[0]]
    page.goto(f"{address}/{lesson.page}")
    page.get_by_role("button", name="Lesson", exact=True).click()
    at_step(page, 0, lesson.steps[0], len(lesson.steps))
    other = "hidden_states" if lesson.page == "predictions" else "predictions"
    page.get_by_test_id("stSidebarNav").locator(f'a[href$="/{other}"]').click()
    expect(page.get_by_text("is on the page")).to_be_visible()
    assert lesson.steps[0].hide  # so the other page must not tell it
    expect(page.get_by_text("The figure waits for your prediction")).to_be_visible()
    expect(page.locator(".st-key-foot")).to_have_count(0)
    page.get_by_role("button", name="Back to the lesson").click()
    at_step(page, 0, lesson.steps[0], len(lesson.steps))


def test_a_learner_of_a_hosted_server_comes_back_with_the_code(
    newcomer: Newcomer, tmp_path: Path
) -> None:
    stem = STEMS[0]
    lesson = lessons()[stem]
    number, step = next((n, s) for n, s in enumerate(lesson.steps) if s.question)
    environment = {"STREAMLIT_SERVER_ADDRESS": "0.0.0.0", **small.environment(tmp_path)}
    page = newcomer()
    with serve(environment=environment) as url:
        page.goto(f"{url}/lessons")
        said = page.get_by_text("Your resume code is")
        code = said.locator("code").inner_text()
        page.locator(f".st-key-open_{stem} button").click()
        for _ in range(number):
            settled(page)
            page.locator(".st-key-step_on button").click()
        at_step(page, number, step, len(lesson.steps))
        play(page, step)

        other = newcomer()
        other.goto(f"{url}/lessons")
        card = other.locator(f".st-key-lesson_{stem}")
        expect(card.get_by_role("button", name="Start")).to_be_visible()
        assert other.get_by_text("Your resume code is").locator("code").inner_text() != code
        field = other.get_by_role("textbox", name="I have a resume code")
        field.fill("no code")
        field.press("Enter")
        expect(other.get_by_text("A resume code has twelve letters and digits")).to_be_visible()
        field.fill(code.replace("-", " ").upper())
        field.press("Enter")
        card.get_by_role("button", name="Continue").click()
        at_step(other, number, step, len(lesson.steps))
        apply(other)
        expect(panel(other).locator('[class*="st-key-verdict_"]')).to_be_visible()
