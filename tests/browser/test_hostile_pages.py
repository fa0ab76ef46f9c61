"""Twenty hostile texts on every page of a class, in a real browser: none of them does anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from playwright.sync_api import Page, expect

from strata.classroom.roster import Class, Roster
from strata.lessons import lessons
from strata.lessons.progress import Progress
from strata.storage.database import Database
from tests.browser.driver import Windows, forget
from tests.browser.screen import (
    TITLES,
    Watch,
    go_to,
    idle,
    opened_menu,
    prompt_box,
    query,
    settled,
    type_prompt,
)
from tests.browser.shared import SECRET, shared_class
from tests.browser.test_hostile import is_inert, pictures
from tests.hostile import IN_A_BROWSER

ANN = "Ann <img src=x onerror=hacked=1>"
LESSON = next(lesson for lesson in lessons().values() if any(s.observe for s in lesson.steps))
SEEN = next(n for n, step in enumerate(LESSON.steps) if step.observe)
# Several in a prompt: each is one of the prompt's own sentences, and is looked for on its own.
GROUPS = [IN_A_BROWSER[i::3] for i in range(3)]
PROMPTS = [
    " then ".join(text.replace("\r", " ") for text in texts) + f" end {i}."
    for i, texts in enumerate(GROUPS)
]


@dataclass(frozen=True)
class Hosted:
    url: str
    database: Database
    group: Class


@pytest.fixture(scope="module")
def hosted() -> Iterator[Hosted]:
    url, folder = shared_class()
    database = Database(folder / "state" / "strata.sqlite")
    roster = Roster(database)
    group = roster.create(f"3b {IN_A_BROWSER[1]}"[:40])
    for number, text in enumerate(IN_A_BROWSER):  # a member of each name, who wrote as much
        member, _ = roster.join(group.code, f"{number} {text}"[:40])
        Progress(database).note(member.id, LESSON.stem, SEEN, observation=text)
    yield Hosted(url, database, group)
    assert httpx.get(f"{url}/readyz", timeout=60).status_code == 200
    database.close()


@pytest.fixture(scope="module")
def desk(windows: Windows, hosted: Hosted) -> Iterator[tuple[Page, Watch]]:
    """A browser, and what it asked for."""
    page = windows(1).new_page()
    yield page, Watch(page)
    forget(page)


def did_nothing(page: Page, watch: Watch, hosted: Hosted) -> None:
    assert page.evaluate("window.hacked") is None
    own = ("data:", "blob:", hosted.url)
    assert all(src.startswith(own) for src in pictures(page))
    assert watch.outside(hosted.url) == []
    assert watch.complaints == []
    expect(page.get_by_test_id("stException")).to_have_count(0)
    markup = page.locator("a[href^='javascript'], iframe, object, embed, form[action*=outside]")
    assert markup.count() == 0


@pytest.mark.parametrize("number", range(len(IN_A_BROWSER)))
def test_at_the_door(desk: tuple[Page, Watch], hosted: Hosted, number: int) -> None:
    page, watch = desk
    text = IN_A_BROWSER[number]
    page.goto(f"{hosted.url}/join?{urlencode({'code': text, 'next': text})}")
    page.get_by_label("Class code").fill(text)
    page.get_by_label("Your name").fill(text)
    watch.complaints.clear()
    page.get_by_role("button", name="Join").click()
    expect(page.get_by_role("alert")).to_be_visible()
    watch.complaints[:] = [c for c in watch.complaints if "403" not in c]  # that it was refused
    did_nothing(page, watch, hosted)


@pytest.fixture(scope="module")
def ann(windows: Windows, hosted: Hosted) -> Iterator[tuple[Page, Watch]]:
    """The browser of a learner who has joined."""
    page = windows(2).new_page()
    watch = Watch(page)
    page.goto(f"{hosted.url}/join?code={hosted.group.code}&next=/predictions")
    page.get_by_label("Your name").fill(ANN)
    page.get_by_role("button", name="Join").click()
    page.get_by_role("link", name="Begin").click()
    settled(page)
    yield page, watch
    forget(page)


def test_a_learners_prompts_on_every_page(
    ann: tuple[Page, Watch], hosted: Hosted, thorough: bool
) -> None:
    """Of the three prompts one on each page, in turn; thorough: all on all."""
    page, watch = ann
    page.goto(f"{hosted.url}/predictions")
    settled(page)
    before = pictures(page)
    stems = list(TITLES)
    for i, prompt in enumerate(PROMPTS):
        address_before = page.url
        type_prompt(page, prompt)
        expect(page).not_to_have_url(address_before)
        for stem in stems if thorough else stems[i :: len(PROMPTS)]:
            if stem == "trajectories":  # by a link: a map by UMAP takes many times as long
                asked = urlencode({"prompt": query(page)["prompt"], "method": "PCA"})
                page.goto(f"{hosted.url}/{stem}?{asked}")
            else:
                go_to(page, stem)
            settled(page)
            for text in GROUPS[i]:
                shown = prompt_box(page).input_value()
                assert text.replace("\r", " ") in shown, stem
            is_inert(page, hosted.url, watch, before)
    assert ANN in page.get_by_test_id("stSidebar").inner_text()


@pytest.mark.parametrize("number", range(len(IN_A_BROWSER)))
def test_an_observation_in_a_lesson(ann: tuple[Page, Watch], hosted: Hosted, number: int) -> None:
    page, watch = ann
    text = IN_A_BROWSER[number]
    box = page.get_by_role("textbox", name=LESSON.steps[SEEN].observe)
    if not box.count():
        page.goto(
            f"{hosted.url}/{LESSON.page_of(SEEN)}?lesson={LESSON.stem}&step_of_lesson={SEEN + 1}"
        )
        page.locator(".st-key-look button").click()  # what was seen is asked for once it is
        expect(box).to_be_visible()
        idle(page)
    box.fill(text)
    page.keyboard.press("Control+Enter")
    idle(page)
    did_nothing(page, watch, hosted)
    members = Roster(hosted.database).members(hosted.group.id)
    kept = Progress(hosted.database)
    mine = next(member.id for member in members if member.name == ANN)
    for _ in range(100):
        note = kept.notes(mine, LESSON.stem).get(SEEN)
        if note and note.observation == text:
            break
        page.wait_for_timeout(100)
    assert note
    assert note.observation == text, "kept as it is"


def test_the_teacher_sees_all_of_it_as_text(
    desk: tuple[Page, Watch], hosted: Hosted, tmp_path: Path
) -> None:
    page, watch = desk
    page.goto(f"{hosted.url}/teach")
    page.get_by_label("The teacher's secret").fill(SECRET)
    page.get_by_role("button", name="Enter").click()
    members = Roster(hosted.database).members(hosted.group.id)
    page.get_by_test_id("stMain").get_by_role("combobox", name="Class").click()
    page.get_by_role("option", name=hosted.group.name).click()
    expect(page.get_by_text(f"{len(members)} learners")).to_be_visible()
    idle(page)
    did_nothing(page, watch, hosted)
    page.get_by_text("What they saw").click()
    idle(page)
    did_nothing(page, watch, hosted)
    page.get_by_role("tab", name="Settings").click()
    box = page.get_by_role("combobox", name="A learner")
    expect(box).to_be_visible()
    idle(page)
    names = opened_menu(box).all_inner_texts()
    for member in members[:5]:
        assert member.name in names
    did_nothing(page, watch, hosted)
