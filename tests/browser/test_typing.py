"""While one types into the prompt the bars follow, and what is typed is nowhere else; a click on a
bar appends its token."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from strata.classroom.roster import Roster
from strata.storage.database import Database
from tests.browser.screen import (
    chart,
    eventually_asks,
    idle,
    no_exception,
    opened_menu,
    popover,
    prompt_box,
    query,
    reading,
    said,
    settled,
    sidebar,
    slider,
    strip,
    token,
    visit,
)
from tests.browser.shared import shared_class

FRANCE = "The capital of France is"
TYPED, LATEST = "My dentist Zwickelbauer", "My dentist Zwickelbauer of old"
MARK = "Zwickelbauer"
OTHERS = "What may follow what you type"


def note(page: Page) -> Locator:
    """What is said of the bars."""
    return page.locator(".st-key-say_note_typed")


def bar(page: Page, label: str) -> None:
    """Click in the row of a bar, far from the bar itself."""
    svg = chart(page, "What may follow").locator("svg")
    named = svg.get_by_text(label, exact=True)
    expect(named).to_be_visible()
    row, whole = named.bounding_box(), svg.bounding_box()
    assert row
    assert whole
    page.mouse.click(whole["x"] + 0.7 * whole["width"], row["y"] + row["height"] / 2)


def test_the_bars_follow_and_all_else_waits(page: Page, small_address: str) -> None:
    asked: list[str] = []
    held: list[str | bytes] = []
    slow = False

    def relay(browser_side: WebSocketRoute) -> None:
        """Pass everything on, but while the server is slow keep what it says."""
        server_side = browser_side.connect_to_server()

        def heard(message: str | bytes) -> None:
            asked.extend(re.findall(rf"My[\w ]*{MARK}[\w ]*", str(message)))
            server_side.send(message)

        browser_side.on_message(heard)
        server_side.on_message(lambda told: held.append(told) if slow else browser_side.send(told))
        release.append(browser_side.send)

    release: list[Callable[[str | bytes], None]] = []
    page.route_web_socket(re.compile("/_stcore/stream"), relay)
    visit(page, f"{small_address}/predictions?at=2&k=5")
    before = page.url
    expect(note(page)).to_contain_text("Click a bar to go on with its token after “␣of”")
    slow = True
    prompt_box(page).press_sequentially("x", delay=0)
    prompt_box(page).fill(TYPED)  # within the pause: nobody asks for what came before
    page.wait_for_timeout(1_500)
    prompt_box(page).fill(f"{TYPED} of")
    prompt_box(page).fill(LATEST)
    page.wait_for_timeout(1_000)
    assert asked == [TYPED], "one at a time"
    slow = False
    for message in held:
        release[-1](message)
    expect(note(page)).to_contain_text(f"As you type, after “{LATEST}”")
    assert asked == [TYPED, LATEST], "the latest wins"
    expect(chart(page, OTHERS)).to_be_visible()
    expect(page.get_by_text("What really followed")).to_have_count(0)  # in another text
    expect(page.get_by_text("Entropy of the prediction")).to_have_count(0)
    # The rest is of the prompt that was looked into, and so is the link.
    expect(reading(page)).to_contain_text("After “The capital of”")
    expect(strip(page).get_by_role("button")).to_have_count(5)
    assert page.url == before

    for text, why in (("", "The prompt is empty"), ("word " * 300, "the limit is 256")):
        prompt_box(page).fill(text)
        expect(note(page)).to_contain_text(why)
        expect(note(page)).to_contain_text("The bars stay as they are.")
        expect(chart(page, OTHERS)).to_be_visible()
        expect(said(page, "refusal")).to_have_count(0)
    prompt_box(page).fill(FRANCE)
    expect(note(page)).to_contain_text("Click a bar to go on")
    expect(page.get_by_text("What really followed")).to_be_visible()

    prompt_box(page).fill(TYPED)
    expect(chart(page, OTHERS)).to_be_visible()
    assert MARK not in popover(page, "Link").inner_text()
    # The page was drawn anew: of what it is about.
    expect(chart(page, "What may follow ␣of at position 2")).to_be_visible()
    page.keyboard.press("Escape")
    idle(page)
    expect(prompt_box(page)).to_have_value(TYPED)
    page.get_by_role("button", name="Look inside").click()
    expect(reading(page)).to_contain_text(f"After “{TYPED}”")
    expect(note(page)).to_contain_text("Click a bar to append its token.")
    no_exception(page)


def test_a_bar_or_a_choice_appends_its_token(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    bar(page, "␣the")
    expect(reading(page)).to_contain_text(f"After “{FRANCE} the”")
    expect(prompt_box(page)).to_have_value(f"{FRANCE} the")
    settled(page)
    assert set(query(page)) == {"prompt"}
    token(page, 2).click()
    expect(note(page)).to_contain_text("after “␣of”, in place of what stands there")
    settled(page)
    opened_menu(page.get_by_role("combobox", name="Append a token"), "Spain")
    page.keyboard.press("Enter")
    expect(reading(page)).to_contain_text("After “The capital of Spain”")
    expect(prompt_box(page)).to_have_value("The capital of Spain")
    settled(page)

    prompt_box(page).fill("I ❤ 🌍")  # of what is typed, too
    expect(chart(page, OTHERS)).to_be_visible()
    bar(page, "⟨F0 9F⟩")
    expect(note(page)).to_contain_text("“⟨F0 9F⟩” cannot be appended: it is only a part")
    expect(reading(page)).to_contain_text("After “The capital of Spain”")
    bar(page, ",")
    expect(reading(page)).to_contain_text("After “I ❤ 🌍,”")
    no_exception(page)


def test_a_seed_writes_the_same_again(page: Page, small_address: str) -> None:
    visit(page, f"{small_address}/predictions?more=6")
    written = page.get_by_test_id("stCode").first
    expect(page.get_by_text("Greedy: always the likeliest token")).to_be_visible()
    greedy = written.inner_text()
    page.get_by_role("radio", name="Sampled").click()
    expect(page.get_by_text("softmax(logits / 1)")).to_be_visible()
    eventually_asks(page, write="Sampled")
    idle(page)
    first = written.inner_text()
    page.get_by_role("spinbutton", name="Seed").fill("8")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Seed 8 draws the same text")).to_be_visible()
    expect(written).not_to_have_text(first)
    idle(page)
    second = written.inner_text()
    assert len({greedy, first, second}) == 3
    slider(page, "Temperature").focus()
    page.keyboard.press("ArrowLeft")
    eventually_asks(page, more="6", write="Sampled", temperature="0.9", draw="8")
    expect(page.get_by_text("softmax(logits / 0.9)")).to_be_visible()
    idle(page)
    third = written.inner_text()
    code = popover(page, "Code").get_by_test_id("stCode")
    for line in ("N_TOKENS = 6", "TEMPERATURE = 0.9", "SEED = 8"):
        expect(code).to_contain_text(line)

    visit(page, page.url)
    expect(page.get_by_text("softmax(logits / 0.9)")).to_be_visible()
    assert written.inner_text() == third
    expect(popover(page, "Table")).to_contain_text("continuation")
    no_exception(page)


def holding(folder: Path, text: str) -> list[str]:
    """Which files below a folder hold a text, and which tables of its databases."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = [path.name for path in files if text.encode() in path.read_bytes()]
    for path in folder.rglob("*.sqlite"):
        with sqlite3.connect(path) as base:
            tables = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                rows = base.execute(f'SELECT * FROM "{table}"').fetchall()
                found += [table] if text in str(rows) else []
    return found


def test_what_is_typed_in_a_class_is_kept_nowhere(page: Page) -> None:
    url, folder = shared_class()
    base = Database(f"sqlite:///{folder / 'state/strata.sqlite'}")
    group = Roster(base).create("Who types")
    lesson = {"lesson": "predictions", "step_of_lesson": 1}
    there = urlencode({"code": group.code, "next": f"/predictions?{urlencode(lesson)}"})
    page.goto(f"{url}/join?{there}")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_role("button", name="Join").click()
    page.get_by_role("link", name="Begin").click()

    # A step that hides its figure has no bars, of no text.
    expect(page.get_by_text("The figure waits for your prediction")).to_be_visible()
    idle(page)
    prompt_box(page).fill(f"Hidden {MARK}")
    page.wait_for_timeout(1_000)
    idle(page)
    expect(note(page)).to_have_count(0)
    prompt_box(page).fill("Once upon a time")

    page.locator(".st-key-look button").click()
    expect(chart(page, "What may follow")).to_be_visible()
    settled(page)
    prompt_box(page).fill(TYPED)
    expect(note(page)).to_contain_text(f"As you type, after “{TYPED}”")
    idle(page)
    page.locator(".st-key-step_on button").click()  # what was seen of the step is kept
    expect(page.get_by_text("step 2 of")).to_be_visible()
    idle(page)
    sidebar(page).get_by_role("link", name="Hidden states").click()
    expect(page.get_by_role("heading", name="Hidden states", level=1)).to_be_visible()
    idle(page)
    assert MARK not in page.url
    assert holding(folder, MARK) == []
    prompt_box(page).fill(f"Sent {MARK}")
    page.get_by_role("button", name="Look inside").click()
    expect(page).to_have_url(re.compile("prompt="))
    idle(page)
    assert "prompts" in holding(folder, f"Sent {MARK}"), "which is where one would see it"
