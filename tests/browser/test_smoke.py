"""Both pages on the real model, read from the screen."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screen import (
    Watch,
    chart,
    charts,
    eventually,
    go_to,
    no_exception,
    prompt_box,
    reading,
    settled,
    sidebar,
    visit,
)

STATISTICS = ("Variance by layer", "Norm by layer", "Mean by layer", "Excess kurtosis by layer")
_NUMBER = r"off by (\d[\d.e+-]*) \(([\d.e+-]+) allowed\)"


def green_proof(page: Page) -> None:
    """All identities hold on this run, each with a number that its tolerance allows."""
    badges = page.locator(".st-key-proof .stMarkdownBadge")
    expect(badges).to_have_count(3)
    for badge in badges.all():
        expect(badge).to_contain_text("check_circle")
        match = re.search(_NUMBER, badge.inner_text())
        assert match, badge.inner_text()
        assert float(match[1]) <= float(match[2]) < 0.01
        red, green, _ = colour_of(page, badge.evaluate("e => getComputedStyle(e).color"))
        assert green > red


def colour_of(page: Page, colour: str) -> tuple[int, int, int]:
    """A CSS colour as red, green and blue from 0 to 255, as the browser would paint it."""
    script = """colour => {
      const pen = new OffscreenCanvas(1, 1).getContext("2d");
      pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
      return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
    }"""
    red, green, blue = page.evaluate(script, colour)
    return red, green, blue


def test_paris_at_77_percent(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, f"{address}/predictions")
    expect(reading(page)).to_contain_text(
        "After “The capital of France is”, the model puts 77% on “␣Paris”"
    )
    bars = chart(page, "What may follow ␣is at position 4")
    expect(bars).to_have_attribute("aria-label", re.compile("77% on “␣Paris”"))
    written = [text.strip() for text in bars.locator("svg text").all_text_contents()]
    labels = [text for text in written if text.startswith("␣")]
    numbers = [float(text[:-1]) for text in written if re.fullmatch(r"\d+\.\d%", text)]
    assert labels[0] == "␣Paris"
    assert numbers[0] == pytest.approx(77.3, abs=0.1)
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == 10
    expect(page.get_by_text("1.48 nats", exact=True)).to_be_visible()
    green_proof(page)
    no_exception(page)
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_states_by_layer(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, f"{address}/hidden_states")
    expect(chart(page, "Hidden-state activations of ␣is (position 4)")).to_be_visible()
    for title in STATISTICS:
        expect(chart(page, title)).to_be_visible()
        expect(chart(page, title).locator("svg")).to_contain_text(title)
    expect(charts(page)).to_have_count(5)
    expect(chart(page, "Norm by layer")).to_have_attribute(
        "aria-label", re.compile(r"From 2\.6\d* at layer 0 to 619\.\d at layer 30")
    )
    expect(reading(page)).to_contain_text("all 576 dimensions are drawn")
    # What explains a term of a title goes where the title goes, though nothing else changes.
    norm = chart(page, "Norm by layer")
    term = norm.locator("xpath=ancestor::*[@data-testid='stElementContainer'][1]").locator(".term")
    words = norm.locator(".role-title-text text").first
    expect(term).to_have_count(2)
    words.evaluate("each => each.setAttribute('transform', 'translate(0,60)')")

    def beneath() -> bool:
        one, other = term.first.bounding_box(), words.bounding_box()
        if not one or not other:
            return False
        print(one, other, words.get_attribute("transform"))  # told where it fails
        return abs(one["y"] + one["height"] / 2 - other["y"] - other["height"] / 2) < 4

    eventually(page, beneath)
    page.emulate_media(color_scheme="dark")  # for which the chart is drawn anew
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", "rgb(20, 22, 28)")
    eventually(page, beneath)
    page.wait_for_timeout(1_000)
    eventually(page, beneath)
    green_proof(page)
    no_exception(page)
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_the_first_page_is_a_guess_then_a_sentence_of_ones_own(page: Page, address: str) -> None:
    watch = Watch(page)
    page.goto(address)
    word = page.get_by_role("textbox", name="Your word")
    expect(word).to_be_visible()
    expect(charts(page)).to_have_count(0)
    word.fill("passed")
    word.press("Enter")
    expect(chart(page, "What SmolLM2 135M Instruct expects next")).to_be_visible()
    said = page.locator(".st-key-reading_first")
    expect(said).to_contain_text("The model's first is “␣sailed”, with 40.0%")
    expect(said).to_contain_text("yours, “␣passed”, comes after one token, with 14.79%")
    expect(said).to_contain_text("The writer went on with “passed”, the bar in orange.")
    own = page.get_by_role("textbox", name="Now a sentence of your own")
    own.fill("Two plus two is")
    page.get_by_role("button", name="Look inside").click()
    expect(page).to_have_url(re.compile("/predictions"))
    settled(page)
    expect(prompt_box(page)).to_have_value("Two plus two is")
    expect(reading(page)).to_contain_text("After “Two plus two is”")
    page.go_back()
    expect(word).to_have_value("passed")
    expect(said).to_contain_text("yours, “␣passed”")
    assert watch.complaints == []


def test_doors_of_the_first_page(page: Page, small_address: str) -> None:
    page.goto(small_address)
    page.get_by_role("button", name="Show the model's").click()  # without a guess
    expect(page.locator(".st-key-reading_first")).to_contain_text("The model's first is")
    page.get_by_role("button", name="How", exact=True).click()
    expect(page.get_by_text("STRATA_MODE=class")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Begin").click()
    expect(page.locator(".st-key-lesson_panel")).to_contain_text("step 1 of")
    expect(page.locator(".st-key-lesson_panel")).to_contain_text("The page is set up")
    expect(page).to_have_title(re.compile("step 1 · Predictions · Strata"))
    sidebar(page).get_by_role("link", name="Start").click()
    expect(page).to_have_title("Strata")
    page.get_by_role("button", name="Back to the lesson").click()
    expect(page.locator(".st-key-lesson_panel")).to_contain_text("step 1 of")
    page.goto(f"{small_address}/?example=gold")  # a link that asks for more is no beginning
    expect(page).to_have_url(re.compile("/predictions.*example=gold"))


def test_from_page_to_page(page: Page, address: str) -> None:
    watch = Watch(page)
    page.goto(address)
    page.get_by_role("button", name="Open").click()
    settled(page)
    assert page.url == f"{address}/predictions"
    go_to(page, "hidden_states")
    expect(chart(page, "Hidden-state activations")).to_be_visible()
    settled(page)
    go_to(page, "predictions")
    expect(chart(page, "What may follow")).to_be_visible()
    settled(page)
    assert watch.complaints == []
