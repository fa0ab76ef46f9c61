"""An hour in a browser: a teacher at 1280 x 800, two classes and a computer that two share.

A sentence is looked for as the first of its kind: while a page draws itself anew, as the teacher's
does each second, the old one may stand beside it.

What a teacher may also do in an hour, and what needs no browser to be tried:

| what | test |
|---|---|
| rename the class, or hold it once more | `ui/classroom/test_names.py` |
| print the sheet with link, picture and resume codes | `ui/server/test_sheet.py` |
| let a timer close a vote | `classroom/test_wall.py` |
| rows, titles and points of the gradebook | `classroom/test_book.py` |
| votes on numbers, on all kinds of answers | `classroom/test_votes.py` |
| stop joining, give another code, remove several | `ui/classroom/test_coming_in.py` |
| undo a call that was brought to hidden names | `ui/classroom/test_this_class.py` |
"""

from __future__ import annotations

import re
from contextlib import suppress

import httpx
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.browser.attending import (
    LESSON,
    Hour,
    a_ballot_that_waits_goes_on_by_itself,
    answer_first_question,
    end,
    join,
    new_class,
    saved,
    sent_by_another_site,
    sit_down,
    teacher,
    the_next_one_at_the_computer_has_not_voted,
    vote,
)
from tests.browser.driver import Newcomer
from tests.browser.test_lessons import apply, at_step, panel, settled

HOSTILE = "=<img src=x onerror='window.hit=1'>"


def test_an_hour(newcomer: Newcomer, hosted: str, empty_page: str, thorough: bool) -> None:
    desk = teacher(newcomer, hosted)
    desk.set_viewport_size({"width": 1280, "height": 800})
    code, other = new_class(desk, "Physics 3b"), new_class(desk, "Another class")
    ann, resume = join(newcomer, hosted, code, "Ann")
    bob, cid = (join(newcomer, hosted, code, name)[0] for name in (HOSTILE, "Cid"))
    eve, _ = join(newcomer, hosted, other, "Eve")
    ann.set_viewport_size({"width": 1280, "height": 800})
    hour = Hour(hosted, desk, code, ann, resume, bob, cid, eve, other, thorough)
    the_teacher_is_with_one_class(hour)
    everyone_is_brought_along_and_back(hour)
    the_teacher_looks_at_the_learners_side(hour)
    assert sent_by_another_site(desk, empty_page, f"{hosted}/leave") == 403
    step = a_lesson(hour)
    wall = the_wall(hour)
    verdict_and_vote(hour, wall)
    the_gradebook(hour, step)
    the_shared_computer(hour, newcomer, step)
    taken_out_closed_and_open_again(hour, wall)
    for page in (desk, wall, eve, *hour.learners):
        assert page.evaluate("window.hit") is None
        expect(page.get_by_test_id("stException")).to_have_count(0)


def the_teacher_is_with_one_class(hour: Hour) -> None:
    desk = hour.desk
    expect(desk.get_by_text(re.compile(r"1 learners?")).first).to_be_visible()
    desk.get_by_test_id("stMain").get_by_role("combobox", name="Class").click()
    desk.get_by_role("option", name="Physics 3b").click()
    expect(desk.get_by_text("3 learners").first).to_be_visible()
    expect(desk.locator(".class-code")).to_have_text(hour.code)
    # Somebody is in: link and picture are folded away, and what comes next is in the first screen.
    expect(desk.get_by_role("button", name="Link and QR code")).to_be_in_viewport()
    expect(desk.locator(".class-qr")).to_have_count(0)
    expect(desk.get_by_role("tab", name="Gradebook")).to_be_in_viewport()
    hour.for_everybody("light", desk)


def everyone_is_brought_along_and_back(hour: Hour) -> None:
    """From a concept's page by one press, of this class only, which the class page still knows."""
    desk, ann, bob = hour.desk, hour.ann, hour.bob
    hour.page("Predictions")
    expect(desk.locator(".st-key-foot")).to_be_visible()
    settled(desk)
    desk.get_by_role("textbox", name="Prompt").fill("The teacher's own words are")
    desk.keyboard.press("Control+Enter")
    expect(desk).to_have_url(re.compile("prompt="))
    settled(desk)
    desk.locator(".st-key-bring_everyone summary").click()
    expect(desk.get_by_text(f"Ann, {HOSTILE}, Cid").first).to_be_visible()
    desk.get_by_role("button", name="Bring 3 learners here").click()
    bob.get_by_role("button", name="Stay here").click()
    expect(ann).to_have_url(re.compile("/predictions"))
    expect(ann.get_by_role("textbox", name="Prompt")).to_have_value("The teacher's own words are")
    expect(ann.locator(".st-key-foot")).to_be_visible()
    expect(hour.eve.locator("section.call")).to_have_count(0)
    # Taken back where it was pressed, and who went along goes back.
    desk.get_by_role("button", name="Undo").click()
    ann.get_by_role("button", name="Back to where I was").click()
    expect(ann).to_have_url(re.compile("/lessons"))
    expect(desk.get_by_text("Asked to come to")).to_have_count(0)
    assert "/lessons" in bob.url
    bob.reload()
    settled(bob)
    expect(bob.locator("section.call")).to_have_count(0)  # once declined, always declined
    hour.page("Class")
    expect(desk.locator(".class-code")).to_have_text(hour.code)


def the_teacher_looks_at_the_learners_side(hour: Hour) -> None:
    """In the same browser, by the learners' link; the teacher's seat is kept beside it."""
    desk = hour.desk
    here = desk.context.new_page()
    here.goto(f"{hour.url}/join?code={hour.other}")
    expect(here.get_by_text("You sit here as the teacher.").first).to_be_visible()
    here.get_by_label("Your name").fill("The teacher, trying")
    here.get_by_role("button", name="Join").click()
    here.get_by_role("link", name="Begin").click()
    back = here.get_by_role("link", name=re.compile("Go on as .*the teacher"))
    expect(back).to_have_attribute("href", "/switch")  # it opens another tab
    here.goto(f"{hour.url}/switch")
    here.get_by_role("button", name="Go on as the teacher").click()
    expect(here.locator(".class-code")).to_be_visible()
    here.close()
    desk.reload()
    expect(desk.locator(".class-code")).to_have_text(hour.code)
    settled(desk)


def a_lesson(hour: Hour) -> int:
    """Ann answers its first question, another looks at a page; the number of its step."""
    step = answer_first_question(hour.ann)
    hour.bob.goto(f"{hour.url}/scaling")
    a_link_of_a_learner(hour)
    expect(hour.eve.get_by_text("steps seen")).to_have_count(0)
    funnel = hour.desk.get_by_test_id("stVegaLiteChart")
    expect(funnel).to_have_attribute("aria-label", re.compile(LESSON.title))
    return step


def a_link_of_a_learner(hour: Hour) -> None:
    """It opens for the teacher with the learner's own text."""
    bob, words = hour.bob, "What only Bob has written is"
    expect(bob.locator(".st-key-foot")).to_be_visible()
    settled(bob)
    bob.get_by_role("textbox", name="Prompt").fill(words)
    bob.keyboard.press("Control+Enter")
    expect(bob).to_have_url(re.compile("prompt="))
    here = hour.desk.context.new_page()
    here.goto(bob.url)
    expect(here.get_by_role("textbox", name="Prompt")).to_have_value(words)
    here.close()


def the_wall(hour: Hour) -> Page:
    """Who is in, the time that is left; names go, and nobody who cannot join is asked to."""
    desk = hour.desk
    hour.tab("Vote")
    with desk.expect_popup() as opened:
        desk.get_by_role("link", name="For the projector").click()
    wall = opened.value
    expect(wall.get_by_text("3 have joined").first).to_be_visible()
    expect(wall.locator(".class-code")).to_have_text(hour.code)
    named = wall.locator(".st-key-wall_names")
    expect(named).to_contain_text(HOSTILE)
    # What is needed now is seen without scrolling; names are not, once they are hidden.
    expect(desk.locator('[class*="st-key-open_vote_"] button')).to_be_in_viewport()
    desk.get_by_text("Hide names").click()
    expect(named).to_have_count(0)
    desk.get_by_role("button", name="Timer").click()
    desk.get_by_role("button", name="5 min", exact=True).click()
    for page in (desk, wall, hour.cid):
        expect(page.get_by_role("timer").filter(has_text=re.compile("[45]:"))).to_be_visible()
    expect(hour.eve.get_by_role("timer")).to_have_count(0)
    desk.keyboard.press("Escape")
    return wall


def verdict_and_vote(hour: Hour, wall: Page) -> None:
    desk, code, learners, away = hour.desk, hour.code, hour.learners, hour.eve
    # A question of a lesson, with the answer of the model's own run. Who has answered it before
    # does not show a neighbour what was right.
    verdict = panel(learners[0]).locator('[class*="st-key-verdict_"] [data-testid="stText"]').first
    expect(verdict).to_be_visible()
    figure = learners[1].get_by_test_id("stVegaLiteChart").first
    expect(figure).to_be_visible()
    knew = desk.get_by_text("1 of 3 have answered this question in the lesson").first
    expect(knew).to_be_visible()
    desk.locator('[class*="st-key-open_vote_"] button').click()
    expect(verdict).to_be_hidden()
    expect(figure).to_be_hidden()  # where the answer could be read off
    expect(hour.cid.get_by_text("Where names are hidden you are Learner 3")).to_be_visible()
    expect(knew).to_be_visible()
    box = panel(learners[0]).locator('[class*="st-key-verdict_"]').first
    expect(box).to_have_css("border-left-color", "rgb(138, 143, 152)")  # not right's or wrong's
    asked = learners[0].locator("section.vote .ask")
    expect(asked).not_to_be_empty()
    expect(wall.get_by_text(asked.inner_text()).first).to_be_visible()
    expect(wall.get_by_text(f"To join: {code}").first).to_be_visible()
    for page, word in ((learners[1], "rude"), (learners[2], "rome")):
        page.get_by_label("Your answer: a word or token").last.fill(word)
        page.get_by_role("button", name="Vote", exact=True).click()
        expect(page.get_by_text("Your vote:").first).to_be_visible()
    desk.get_by_role("button", name="Close the vote").click()
    # Of words the teacher sees all before anybody, and one that is hidden goes nowhere.
    given = desk.locator(".st-key-words_of_vote")
    given.get_by_role("button", name=re.compile("rude")).click()
    expect(given.get_by_role("button", name=re.compile("rude.*hidden"))).to_be_visible()
    desk.get_by_role("button", name="Show everyone the results").click()
    expect(wall.get_by_text("2 voted.").first).to_be_visible()
    expect(learners[0].locator(".bars")).to_contain_text("rome")
    for page in (learners[0], learners[2], wall):
        expect(page.get_by_text("rude")).to_have_count(0)
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
    expect(desk.get_by_text("Not yet: Learner 1, Learner 2, Learner 3").first).to_be_in_viewport()
    for page, option in zip(learners, (0, 1, 2), strict=True):
        vote(page, option)
    a_ballot_that_waits_goes_on_by_itself(learners[2], 0, HOSTILE)
    expect(desk.get_by_text("3 of 3 have voted").first).to_be_visible()
    expect(desk.locator(".st-key-vote_options")).to_contain_text("B   the right one")
    expect(wall.get_by_text("3 of 3 have voted").first).to_be_visible()
    hour.for_everybody("dark", desk, wall, learners[1])
    for page in (*learners, wall):  # nobody is shown what others said
        expect(page.locator(".bars")).to_have_count(0)
        expect(page.get_by_test_id("stVegaLiteChart").filter(has_text="Vote")).to_have_count(0)
    learners[0].get_by_role("button", name="Fold", exact=True).click()
    expect(asked).to_have_count(0)
    desk.get_by_role("button", name="Close the vote").click()
    expect(asked).to_be_visible()  # there is something new
    expect(learners[2].get_by_text("Talk it over").first).to_be_visible()
    expect(learners[2].get_by_role("button", name="Vote", exact=True)).to_have_count(0)
    learners[2].reload()  # what was voted is known again
    expect(learners[2].get_by_text(f"Your vote: {HOSTILE}").first).to_be_visible()
    desk.get_by_role("button", name="Show everyone the results").click()
    for page in learners:  # how they are spread, not what is right: the second vote is to come
        expect(page.locator(".bars .line")).to_have_text(["2", "1", "0"])
        expect(page.locator(".bar.right")).to_have_count(0)
    expect(wall.get_by_text("3 voted.").first).to_be_visible()
    desk.get_by_role("button", name="Open the second vote").click()
    for page in learners:
        expect(page.get_by_role("heading", name="Vote again")).to_be_visible()
        vote(page, 1)
    desk.get_by_role("button", name="Close the second vote").click()
    desk.get_by_role("button", name="Show everyone the results").click()
    for page in learners:
        expect(page.locator(".bar.right .line")).to_have_text(["1", "3"])
    hour.for_everybody("light", learners[1])
    said = "1 of 3 and then 3 of 3 answered right; 2 of 3 changed their answer."
    expect(wall.get_by_text(said).first).to_be_visible()
    expect(desk.get_by_text(said).first).to_be_visible()
    expect(desk.get_by_test_id("stVegaLiteChart").first).to_be_in_viewport()
    the_next_one_at_the_computer_has_not_voted(hour)
    end(desk)
    expect(learners[0].locator("section.vote")).to_have_count(0)
    expect(away.locator("section.panel")).to_have_count(0)


def the_gradebook(hour: Hour, step: int) -> None:
    """Answers of the lesson and of the vote, of who has none too, in files that Excel reads."""
    desk, bob = hour.desk, f"'{HOSTILE}"
    # Another Ann, who only came in.
    assert httpx.post(f"{hour.url}/join", data={"code": hour.code, "name": "Ann"}).is_success
    hour.tab("Gradebook")
    book = saved(desk, "Answers as CSV")
    anns = [name for name in dict.fromkeys(book["name"]) if name.startswith("Ann, joined ")]
    assert list(dict.fromkeys(book["name"])) == [bob, *anns, "Cid", "Una"]
    [silent, una] = book[book["lesson"].isna()]["name"]
    assert una == "Una"
    [ann] = {*anns} - {silent}
    assert (book["name"] == silent).sum() == 1
    lesson = book[book["lesson"] == LESSON.title]
    assert lesson[["name", "step"]].to_numpy().tolist() == [[ann, step]]
    assert lesson["grade"].isin(["right", "near", "wrong", "open"]).all()
    voted = book[book["lesson"].str.startswith("Vote: Which?", na=False)].set_index("name")
    assert voted.loc[ann, ["first answer", "grade"]].tolist() == [bob, "wrong"]
    assert voted["revision"].tolist() == ["the right one"] * 3
    # In the points a row each, in the same order, and a column for each question as it was asked.
    points = saved(desk, "Points as CSV").set_index("name")
    assert list(points.index) == [bob, *anns, "Cid", "Una"]
    questions = list(points.columns[4:])
    assert questions[0].startswith(f"{LESSON.title}: {step}. ")
    assert questions[-1] == f"Vote: Which? {HOSTILE}"
    assert points[questions[-1]][[bob, ann, "Cid"]].tolist() == [1, 0, 0]
    assert points.loc[silent, questions].isna().all()
    assert points.loc[silent, "questions"] == 0
    assert (points.loc[[bob, ann, "Cid"], "right in the end"] >= 1).all()

    # One learner's answers, by a click.
    table, theirs = desk.get_by_test_id("stDataFrame").first, desk.get_by_text("Answers of Learner")
    for _ in range(20):  # it is drawn on a canvas, nobody knows when
        table.click(position={"x": 60, "y": 50})
        with suppress(AssertionError):
            expect(theirs).to_be_visible(timeout=3_000)
            break
    expect(theirs).to_contain_text("Answers of Learner 1")


def the_shared_computer(hour: Hour, newcomer: Newcomer, step: int) -> None:
    """Una leaves it, one of the other class sits down there; Ann goes on elsewhere."""
    ann, url = hour.ann, hour.url
    ann.goto(f"{url}/leave")
    hour.for_everybody("light", ann)
    ann.get_by_role("button", name="Leave").click()
    ann.goto(f"{url}/predictions")
    expect(ann.get_by_role("heading", name="Join your class")).to_be_visible()
    hour.for_everybody("dark", ann)
    sit_down(ann, hour.other, "Fay")
    expect(ann.get_by_text("Fay in Another class").first).to_be_visible()
    expect(ann.get_by_text("steps seen")).to_have_count(0)  # nothing of Ann's
    hour.ann = newcomer()
    hour.ann.goto(f"{url}/lessons")
    hour.ann.get_by_text("I was here before").click()
    hour.ann.get_by_label("Resume code").fill(hour.resume)
    hour.ann.get_by_role("button", name="Come back").click()
    hour.ann.get_by_role("button", name="Continue").click()
    at_step(hour.ann, step - 1, LESSON.steps[step - 1], len(LESSON.steps))
    apply(hour.ann)
    expect(verdict_of(hour.ann)).to_be_visible()


def verdict_of(page: Page) -> Locator:
    return panel(page).locator('[class*="st-key-verdict_"]')


def taken_out_closed_and_open_again(hour: Hour, wall: Page) -> None:
    """Each is told at once, has a way to another class, and comes back by itself."""
    desk, cid = hour.desk, hour.cid
    hour.tab("Settings")
    for _ in range(5):  # a list that is opened while the page is drawn anew may close again
        desk.get_by_role("combobox", name="A learner").click()
        with suppress(PlaywrightTimeout):
            desk.get_by_role("option", name="Cid").click(timeout=5_000)
            break
    desk.get_by_role("button", name="Rename", exact=True).click()
    desk.get_by_label("New name").fill("Cyd")
    desk.get_by_role("button", name="Take it").click()
    expect(desk.get_by_role("combobox", name="A learner")).to_have_value("Cyd")
    cid.get_by_role("button", name="Look inside").click()
    expect(cid.get_by_text("Cyd in Physics 3b").first).to_be_visible()
    desk.get_by_role("button", name="Delete the learner").click()
    desk.get_by_text("Yes: it cannot be undone").click()
    desk.get_by_role("button", name="Delete for good").click()
    expect(cid.get_by_role("alert")).to_contain_text("taken out of the class")
    expect(cid.get_by_role("link", name="Join a class")).to_be_visible()

    desk.get_by_role("button", name="Stop joining").click()
    expect(wall.locator(".st-key-wall_shut")).to_be_visible()
    expect(wall.locator(".class-code")).to_have_count(0)
    desk.get_by_role("button", name="Let learners join again").click()
    expect(wall.locator(".class-code")).to_be_visible()

    hour.tab("Settings")
    hour.for_everybody("light", desk)
    desk.get_by_role("button", name="Close the class now").click()
    for page in (hour.ann, hour.bob):
        expect(page.locator("section.panel")).to_contain_text("was closed")
    hour.bob.get_by_role("button", name="Look inside").click()
    expect(hour.bob.locator('[class*="st-key-say_refusal"]')).to_contain_text("was closed")
    expect(hour.bob.get_by_role("link", name="Join another class")).to_be_visible()
    expect(hour.eve.locator("section.panel")).to_have_count(0)
    another_class_on_the_same_computer(hour.ann, hour)
    expect(wall.get_by_text("was closed at").first).to_be_visible()  # and says no code
    expect(wall.locator(".class-code")).to_have_count(0)
    desk.get_by_role("button", name="Open the class now").click()
    expect(hour.bob.locator(".st-key-foot")).to_be_visible()
    expect(hour.bob.get_by_text("was closed")).to_have_count(0)


def another_class_on_the_same_computer(page: Page, hour: Hour) -> None:
    """Whose class is closed goes on from there to another one, or lets the next one do so."""
    page.get_by_role("link", name="Join another class").first.click()
    sit_down(page, hour.other, "Gil")
    expect(page.get_by_text("Gil in Another class").first).to_be_visible()
