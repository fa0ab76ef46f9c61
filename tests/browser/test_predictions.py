"""What the page of predictions says where a number or a character is hard to show."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.browser.screen import (
    chart,
    eventually_asks,
    no_exception,
    query,
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


def test_positions_of_an_older_link_are_said_to_have_moved(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions?at=1")
    type_prompt(page, "It was  1912 then")  # older versions split the two spaces
    eventually_asks(page, split="2")
    moved = said(page, "note").filter(has_text="its tokens were others before")
    expect(moved).to_have_count(0)
    asked = query(page)["prompt"]
    visit(page, f"{address}/predictions?prompt={asked}&at=2")
    expect(moved).to_contain_text("from position 2 on")
    expect(moved).to_be_in_viewport()
    assert query(page) == {"prompt": asked, "at": "2", "split": "2"}


def test_the_prompt_doctor_and_the_colours_of_the_legend(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    ramp = page.locator(".ramp:not(.none)")
    assert ramp.evaluate(OPACITY) == token(page, 1).evaluate(OPACITY) == 1, "the tokens' own"
    warnings = said(sidebar(page), "warning")
    expect(warnings).to_have_count(0)
    expect(sidebar(page)).to_contain_text("5 of 256 tokens · on ")
    expect(sidebar(page)).to_contain_text("adds no start token")
    for text, warning in (
        (
            "A wise man once said: Penguins are cute.",
            "The likeliest next token is a line break, “↵” (21%)",
        ),
        ("The capital of France is ", "The prompt ends with a space"),
    ):
        type_prompt(page, text)
        expect(warnings.filter(has_text=warning)).to_be_visible()
        expect(warnings).to_have_count(1)
    type_prompt(page, "very very very very")
    expect(sidebar(page)).to_contain_text("“very” stands 4 times in a row from position 0")
    expect(warnings).to_have_count(0)
