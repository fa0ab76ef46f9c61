"""The laminar profile in a browser: what is clicked, played, drawn beside, and kept in the link."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

BESIDE = "Of pairs of random vectors"


def visit(page: Page, address: str, query: str = "") -> None:
    page.goto(f"{address}/laminar_profile{query}")
    expect(page.locator(".st-key-foot")).to_be_visible()
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.get_by_test_id("stException")).to_have_count(0)


def reading(page: Page) -> Locator:
    return page.locator(".st-key-reading")


def chart(page: Page, title: str) -> Locator:
    return page.locator(f'[data-testid="stVegaLiteChart"][aria-label^="{title}"]')


def toggle(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stCheckbox").filter(has_text=label).locator("label").first


MARKED = "The\u200a⟦␣capital⟧\u200a␣of\u200a⟦␣France⟧\u200a␣is"


def asks(page: Page, **wanted: str) -> None:
    for name, value in wanted.items():
        expect(page).to_have_url(re.compile(rf"[?&]{name}={re.escape(value)}(&|$)"))


def test_a_point_that_is_clicked_says_which_pair_it_is(page: Page, address: str) -> None:
    visit(page, address)
    expect(reading(page)).to_contain_text("The median cosine of 6 pairs goes from −0.10 at layer 0")
    expect(page.get_by_text(MARKED)).to_be_visible()
    points = chart(page, "Laminar profile").locator("svg g.mark-symbol").first.locator("path")
    expect(points).to_have_count(32 * 6)
    points.nth(1).hover()  # at layer 0, of “␣capital” and “␣France”
    expect(page.locator("#vg-tooltip-element")).to_contain_text("3 ␣France")
    points.nth(1).click()
    expect(page.get_by_text("The pair that you clicked")).to_be_visible()
    expect(page.get_by_text(MARKED)).to_be_visible()
    expect(
        page.get_by_text("At layer 0 “␣capital” (1) and “␣France” (3) have a cosine of")
    ).to_be_visible()


def test_centred_and_with_the_first_token(page: Page, address: str) -> None:
    visit(page, address)
    toggle(page, "Leave out attention sinks").click()
    expect(reading(page)).to_contain_text("The median cosine of 10 pairs")
    toggle(page, "Mean-centred").click()
    expect(reading(page)).to_contain_text("would lie between −0.33 and −0.17")  # around -1 / 4
    asks(page, skip="false", center="true")
    page.reload()
    expect(reading(page)).to_contain_text("would lie between −0.33 and −0.17")


def test_the_shortcut_beside_the_right_answer(page: Page, address: str) -> None:
    visit(page, address, "?beside=The+common+mistake%3A+unique%28triu%29%5B1%3A%5D")
    expect(reading(page)).to_contain_text("Wrong in 1 of 32 columns")
    expect(reading(page)).to_contain_text("At layer 0 the minimum is −0.148, not −0.140")
    expect(chart(page, "As it is")).to_be_visible()
    wrong = chart(page, "The common mistake")
    expect(wrong.locator("svg")).to_contain_text("the ring a pair that was dropped")


def test_a_second_prompt_stands_on_the_same_axes(page: Page, small_address: str) -> None:
    visit(page, small_address, "?beside=Another+prompt&second=rome")
    first, second = chart(page, "“The capital of France is”"), chart(page, "“The Colosseum")
    expect(first).to_be_visible()
    expect(second).to_be_visible()
    ticks = [
        each.locator("svg .role-axis-label").last.locator("text").all_text_contents()
        for each in (first, second)
    ]
    assert ticks[0] == ticks[1]
    expect(reading(page)).to_contain_text("The median cosine of 45 pairs")


def test_own_second_prompt_is_kept_in_the_link_by_an_id(page: Page, small_address: str) -> None:
    visit(page, small_address, "?beside=Another+prompt&second=own")
    page.get_by_label("Your second prompt").fill("Bees like 33 red poppies")
    page.keyboard.press("Control+Enter")
    expect(chart(page, "“Bees like 33 red poppies”")).to_be_visible()
    expect(page).to_have_url(re.compile("second_text="))
    assert "Bees" not in page.url
    page.reload()
    expect(chart(page, "“Bees like 33 red poppies”")).to_be_visible()


def test_the_loops_index_beside_the_chosen_token(page: Page, small_address: str) -> None:
    visit(page, small_address, "?view=Between+layers&tokens=0.4&wrong=true")
    expect(chart(page, "Token 4 ␣is (really 1 ␣capital)")).to_be_visible()
    expect(reading(page)).to_contain_text("1 of 2 panels shows something else than the title says")
    toggle(page, "One, large").click()
    expect(chart(page, "Token 4 ␣is")).to_have_count(1)
    expect(chart(page, "Cosine with the layer before")).to_be_visible()


def test_what_is_clipped_is_said_in_the_legend(page: Page, address: str) -> None:
    visit(page, address, "?view=Between+layers")
    expect(chart(page, "Cosine (automatic, −0.31 to 1)")).to_be_visible()
    page.get_by_role("radio", name="By hand").click()
    expect(chart(page, "Cosine (by hand, 0.8 to 1; ")).to_have_attribute(
        "aria-label", re.compile(r"\d[\d,]* cells are beyond, in the end colours")
    )


def test_the_layers_play_to_the_last_and_stop(page: Page, address: str) -> None:
    page.emulate_media(reduced_motion="no-preference")
    visit(page, address, "?view=Between+tokens&large=true&layer=27")
    expect(chart(page, "Layer 27")).to_be_visible()
    toggle(page, "Play").click()
    expect(chart(page, "Layer 30")).to_be_visible()
    expect(reading(page)).to_contain_text("At layer 30 the states of")
    play = page.get_by_test_id("stCheckbox").filter(has_text="Play").get_by_role("switch")
    expect(play).not_to_be_checked()
    page.wait_for_timeout(2_000)  # longer than a layer stays
    expect(chart(page, "Layer 30")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
