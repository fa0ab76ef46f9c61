"""What the page of predictions says where a number or a character is hard to show."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.screen import (
    chart,
    no_exception,
    reading,
    said,
    settled,
    sidebar,
    strip,
    token,
    type_prompt,
    visit,
)

# Every element around this one, out of the component too, makes it paler by so much.
OPACITY = """element => {
  let opacity = 1;
  for (let e = element; e; e = e.parentElement ?? e.getRootNode().host)
    opacity *= getComputedStyle(e).opacity;
  return opacity;
}"""


def test_the_legend_has_the_colours_of_the_tokens(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    ramp = page.locator(".ramp")
    assert ramp.evaluate(OPACITY) == token(page, 1).evaluate(OPACITY) == 1


def test_small_probabilities_and_whole_characters(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions?at=1")
    type_prompt(page, "The capital of France is zebra 🌍🎉 of")
    expect(reading(page)).to_contain_text("After “The capital of France is zebra 🌍🎉 of”")
    settled(page)
    token(page, 4).click()
    expect(page.get_by_text("really follows: rank")).to_contain_text("less than 0.01%")
    expect(page.get_by_text("<0.01%", exact=True)).to_be_visible()
    expect(chart(page, "What may follow")).to_be_visible()
    no_exception(page)


def test_a_question_to_a_model_for_chats(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    type_prompt(page, "What is the capital of France?")
    expect(reading(page)).to_contain_text("capital of France?")
    page.get_by_text("Let it go on").click()
    expect(page.get_by_text("The model ends its text here.")).to_be_visible()
    warning = said(sidebar(page), "warning")
    expect(warning).to_have_text(re.compile("ends the text, “<|im_end|>”.*tuned on chats"))


def test_a_long_prompt_leaves_room_for_the_figure(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions?example=long")
    expect(strip(page).get_by_role("button")).to_have_count(147)
    assert strip(page).evaluate("e => e.clientHeight") < 200
    expect(chart(page, "What may follow")).to_be_in_viewport()
