"""The logit lens in a browser: cells, pins, windows, downloads, and what the address keeps."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from playwright.sync_api import Locator, Page, expect

from tests.browser import screen
from tests.browser.screen import (
    chart,
    eventually_asks,
    opened_menu,
    query,
    reading,
    settled,
    slider,
)

SVG = "{http://www.w3.org/2000/svg}"
PARIS = "“␣Paris” leads at layer 30 only, the very last, after “␣is” (position 4)"


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/logit_lens{query}")
    screen.no_exception(page)


def grid(page: Page, prompt: str = "") -> Locator:
    return page.get_by_role("grid", name=re.compile(f"^Logit lens: .*“.*{prompt}"))


def cell(page: Page, layer: int, position: int, prompt: str = "") -> Locator:
    name = re.compile(f"^Layer {layer}, position {position} ")
    return grid(page, prompt).get_by_role("button", name=name)


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_role("combobox", name=re.compile(label))
    box.click()
    box.fill(option)  # a long list shows only some of its options
    page.get_by_role("option", name=option, exact=True).click()


def test_a_cell_tells_on_hover_and_stays_open_on_click(page: Page, address: str) -> None:
    visit(page, address)
    expect(reading(page)).to_contain_text(PARIS)
    expect(grid(page).get_by_role("button")).to_have_count(31 * 5)
    columns = grid(page).get_by_role("columnheader").filter(has_text=re.compile(r"^\d"))
    expect(columns).to_have_count(2 * 5)  # above and below
    cell(page, 24, 1).hover()
    tip = page.locator(".tip")
    expect(tip).to_contain_text("Layer 24, position 1 ␣capital")
    expect(tip).to_contain_text(re.compile(r"␣of \d+\.\d%"))
    expect(tip).to_contain_text(re.compile(r"norm \d"))
    cell(page, 24, 1).click()
    expect(chart(page, "Layer 24 after ␣capital (position 1)")).to_be_visible()
    expect(cell(page, 24, 1)).to_have_attribute("aria-pressed", "true")
    expect(reading(page)).to_contain_text("“␣of” first leads at layer 19 of 30")
    eventually_asks(page, layer="24", at="1")
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    cell(page, 24, 1).focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(tip).to_contain_text("Layer 25, position 2 ␣of")
    page.keyboard.press("Enter")
    expect(chart(page, "Layer 25 after ␣of (position 2)")).to_be_visible()


def test_pins_are_followed_and_kept_in_the_link(page: Page, address: str) -> None:
    visit(page, address)
    lines = chart(page, "Rank through the layers")
    expect(lines.locator("svg")).to_contain_text("␣capital")  # it led somewhere
    page.get_by_role("button", name="␣London", exact=True).click()
    expect(lines.locator("svg")).to_contain_text("␣London")
    expect(lines.locator("svg")).not_to_contain_text("␣capital")
    expect(page).to_have_url(re.compile(r"[?&]pins=\d+(&|$)"))
    screen.go_to(page, "predictions")
    screen.go_to(page, "logit_lens")
    expect(lines.locator("svg")).to_contain_text("␣London")
    page.reload()
    expect(lines.locator("svg")).to_contain_text("␣London")
    expect(lines.locator("svg")).not_to_contain_text("␣capital")


def test_the_link_restores_the_view(page: Page, address: str) -> None:
    visit(page, address, "?mode=MLP+writes%2C+frozen+norm&depth=down&layer=12&at=3&stride=4")
    asked = query(page)
    expect(chart(page, "Layer 12 after ␣France (position 3)")).to_be_visible()
    layers = grid(page).get_by_role("rowheader").all_text_contents()
    assert layers == ["1", "5", "9", "13", "17", "21", "25", "29", "30"]
    expect(reading(page)).to_contain_text("the largest MLP write is that of block")
    expect(page.locator(".st-key-reading_proof")).to_contain_text("61 parts through the frozen")
    page.get_by_role("tab", name="Where the target's logit comes from").click()
    said, compared = page.locator(".st-key-reading_attribution"), page.locator(".st-key-against")
    expect(said).to_contain_text("above the average token; the model itself 9.971")
    compared.get_by_text("Another word").click()
    expect(said).to_contain_text("above “␣the”")
    opened_menu(page.get_by_role("combobox", name="The other word"), "London")
    page.keyboard.press("Enter")
    expect(chart(page, "What puts ␣Paris above ␣London at position 3")).to_be_visible()
    settled(page)
    page.reload()
    settled(page)
    expect(chart(page, "What puts ␣Paris above ␣London at position 3")).to_be_visible()
    assert asked.items() <= query(page).items()
    compared.get_by_text("the bare logit").click()
    expect(said).to_contain_text("61 parts and the biases add up to")
    expect(chart(page, "What adds to the logit of ␣Paris at position 3")).to_be_visible()


def test_the_window_moves_over_a_long_prompt(page: Page, small_address: str) -> None:
    visit(page, small_address, "?example=long")
    columns = grid(page).get_by_role("columnheader").filter(has_text=re.compile(r"^\d"))
    expect(columns).to_have_count(24)
    expect(cell(page, 3, 0)).to_have_count(0)
    slider(page, "Token at position").focus()
    page.keyboard.press("Home")
    expect(chart(page, "Layer 3 after The (position 0)")).to_be_visible()
    page.get_by_role("button", name="Show position 0 here").click()
    expect(cell(page, 3, 0)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("button", name="Show position 0 here")).to_have_count(0)
    slider(page, "tokens, from position").focus()
    page.keyboard.press("ArrowRight")
    expect(columns.first).to_contain_text("1␣lighthouse")
    eventually_asks(page, at="0", **{"from": "1"})
    page.reload()
    expect(columns.first).to_contain_text("1␣lighthouse")


def test_two_prompts_have_one_scale_and_a_cell_each(page: Page, address: str) -> None:
    visit(page, address)
    alone = grid(page).evaluate("g => g.getRootNode().querySelector('.legend').textContent")
    page.get_by_role("button", name="Options").click()
    choose(page, "Second prompt", "Your own text")
    page.get_by_label("Your second prompt").fill("The Colosseum is located in the city of")
    page.keyboard.press("Control+Enter")
    expect(grid(page, "Colosseum")).to_be_visible()
    page.keyboard.press("Escape")
    legends = page.locator(".legend").all_text_contents()
    assert legends[0] == legends[1] != alone
    cell(page, 28, 7, "Colosseum").click()
    expect(chart(page, "Layer 28 after ␣the (position 7)")).to_be_visible()
    expect(chart(page, "Layer 28 after ␣is (position 4)")).to_be_visible()
    eventually_asks(page, layer="28", at_second="7")
    assert "Colosseum" not in page.url
    page.reload()
    expect(grid(page, "Colosseum")).to_be_visible()


def test_positions_of_a_second_prompt_in_an_older_link_are_said_to_have_moved(
    page: Page, address: str
) -> None:
    visit(page, address, "?second=own&at=1")
    page.get_by_role("button", name="Options").click()
    page.get_by_label("Your second prompt").fill("It was  1912 then")  # once split at both spaces
    page.keyboard.press("Control+Enter")
    moved = page.locator(".st-key-say_note_moved_here_second")
    expect(grid(page, "1912")).to_be_visible()
    eventually_asks(page, split="2")
    expect(moved).to_have_count(0)
    own = query(page)["second_text"]
    visit(page, address, f"?second=own&second_text={own}&at_second=3")
    expect(moved).to_contain_text("The second prompt is split as the model's file says")
    expect(moved).to_contain_text("from position 2 on")
    eventually_asks(page, at_second="3", split="2")


def test_the_grid_leaves_as_a_picture(page: Page, address: str, tmp_path: Path) -> None:
    visit(page, address)
    for kind in ("PNG", "SVG"):
        with page.expect_download() as started:
            page.get_by_role("button", name=f"Download this grid as {kind}").click()
        assert started.value.suggested_filename == f"logit_lens_grid.{kind.lower()}"
        started.value.save_as(tmp_path / kind)
    assert (tmp_path / "PNG").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    root = ElementTree.parse(tmp_path / "SVG").getroot()
    tips = [cell.findtext(f"{SVG}title", "") for cell in root.iter(f"{SVG}rect")]
    assert sum(tip.startswith("Layer ") for tip in tips) == 31 * 5
    assert "␣Paris" in [(text.text or "") for text in root.iter(f"{SVG}text")]
    said = "“The capital of France is” · SmolLM2 135M Instruct · in each cell the first of"
    assert said in root.findtext(f"{SVG}desc", "")
    assert said in " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    fills = {each.get("fill") for each in root.iter(f"{SVG}rect")}
    assert len(fills) > 20
    assert all(re.fullmatch(r"rgb\(\d+,\d+,\d+\)", fill or "") for fill in fills)


def test_the_top_1_stays_the_target_whatever_the_prompt(page: Page, address: str) -> None:
    visit(page, address)
    target = page.get_by_role("combobox", name=re.compile("Target"))
    expect(target).to_have_value("␣Paris (the top-1)")
    screen.type_prompt(page, "The opposite of hot is")
    expect(target).to_have_value("␣cold (the top-1)")
    expect(page.get_by_text("tokens here")).to_have_count(0)
    target.click()
    target.fill("Rapinoe")
    page.keyboard.press("Enter")
    expect(page.get_by_text("only the first of them can come next")).to_be_visible()


def test_both_common_mistakes_say_what_they_do(page: Page, address: str) -> None:
    visit(page, address, "?mistake=Norm+the+last+state+twice")
    expect(reading(page)).to_contain_text("Read the wrong way: ")
    mistake = page.locator(".st-key-reading_mistake")
    expect(mistake).to_contain_text("changes the answer at 4 of 5 positions of the last row")
    expect(cell(page, 30, 4)).not_to_have_text("␣Paris")
    page.get_by_role("button", name="Options").click()
    choose(page, "A common mistake", "Leave the final norm out")
    expect(mistake).to_contain_text("Leaving the final norm out changes")
    choose(page, "A common mistake", "None")
    expect(mistake).to_have_count(0)
    expect(cell(page, 30, 4)).to_have_text("␣Paris")
