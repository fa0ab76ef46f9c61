"""A set of one's own in a browser: refused by its line, taken, and a prompt of it opened."""

from __future__ import annotations

import re

from playwright.sync_api import FilePayload, Page, expect

from tests.browser.screen import (
    Watch,
    chart,
    eventually,
    path,
    prompt_box,
    query,
    settled,
    visit,
)

NOUNS = ("cat", "mat", "dog", "house")
PROMPTS = {f"{article} {noun} sat": article for noun in NOUNS for article in ("the", "a")}
GOOD = "prompt;condition\n" + "".join(f"{text};{which}\n" for text, which in PROMPTS.items())
# A point of a prompt's line, on the screen, which no other mark covers; null while there is none.
ON_A_LINE = """() => {
  const svg = document.querySelector(".st-key-conditions svg.marks");
  if (!svg) return null;
  svg.scrollIntoView({block: "center"});
  for (const line of svg.querySelectorAll('.mark-line path[stroke-width="1.4"]')) {
    const place = line.getScreenCTM();
    for (const share of [0.3, 0.4, 0.6, 0.7, 0.2, 0.8]) {
      const at = line.getPointAtLength(share * line.getTotalLength()).matrixTransform(place);
      if (document.elementFromPoint(at.x, at.y) === line) return [at.x, at.y];
    }
  }
  return null;
}"""


def choose(page: Page, text: str) -> None:
    file = FilePayload(name="set.csv", mimeType="text/csv", buffer=text.encode("cp1252"))
    page.locator('input[type="file"]').set_input_files(file)


def test_an_own_set_is_refused_by_its_line_or_taken_and_its_prompts_open(
    page: Page, small_address: str
) -> None:
    watch = Watch(page)
    visit(page, f"{small_address}/evidence?set=own&each=true")
    expect(page.locator(".st-key-say_note_no_set")).to_contain_text("Choose a file")
    choose(page, GOOD.replace("a dog sat;a", "a dog sat;"))
    wrong = page.locator(".st-key-say_error_wrong_set")
    expect(wrong).to_contain_text("Line 7: there is no condition")
    expect(chart(page, "Norm of the last state")).to_have_count(0)
    choose(page, GOOD)
    expect(chart(page, "Norm of the last state")).to_be_visible()
    settled(page)
    expect(wrong).to_have_count(0)
    assert re.fullmatch(r"[\w-]{8,}", query(page)["own_set"])

    def opened() -> bool:
        if path(page) == "/hidden_states":
            return True
        at = page.evaluate(ON_A_LINE)
        if at:
            page.mouse.click(*at)
            settled(page)
        return path(page) == "/hidden_states"

    eventually(page, opened)
    settled(page)
    eventually(page, lambda: prompt_box(page).input_value() in PROMPTS)
    assert watch.complaints == []
