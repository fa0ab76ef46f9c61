"""Both pages on the real model, read from the screen."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.screen import Watch, chart, charts, go_to, no_exception, reading, settled, visit

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
        "After “The capital of France is”, the model puts 77% on “·Paris”"
    )
    bars = chart(page, "What may follow ·is at position 4")
    expect(bars).to_have_attribute("aria-label", re.compile("77% on “·Paris”"))
    written = [text.strip() for text in bars.locator("svg text").all_text_contents()]
    labels = [text for text in written if text.startswith("·")]
    numbers = [float(text[:-1]) for text in written if re.fullmatch(r"\d+\.\d%", text)]
    assert labels[0] == "·Paris"
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
    expect(chart(page, "Hidden-state activations of ·is (position 4)")).to_be_visible()
    for title in STATISTICS:
        expect(chart(page, title)).to_be_visible()
        expect(chart(page, title).locator("svg")).to_contain_text(title)
    expect(charts(page)).to_have_count(5)
    expect(chart(page, "Norm by layer")).to_have_attribute(
        "aria-label", re.compile(r"From 2\.6\d* at layer 0 to 619\.\d at layer 30")
    )
    expect(reading(page)).to_contain_text("all 576 dimensions are drawn")
    green_proof(page)
    no_exception(page)
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_from_page_to_page(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, f"{address}/")
    assert page.url == f"{address}/predictions"
    go_to(page, "hidden_states")
    expect(chart(page, "Hidden-state activations")).to_be_visible()
    settled(page)
    go_to(page, "predictions")
    expect(chart(page, "What may follow")).to_be_visible()
    settled(page)
    assert watch.complaints == []
