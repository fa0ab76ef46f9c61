"""What axe-core finds in an opened page that people with other senses or hands would stumble on."""

from __future__ import annotations

from collections.abc import Sequence

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect

from tests.browser import screen
from tests.browser.screen import settled

MAIN, POPOVER = "[data-testid=stMain]", "[data-testid=stPopoverBody]"
# Of Streamlit's own markup, which its API cannot change, and never serious: popovers and tooltips
# are at the end of the body, in no landmark; the column of a table that holds ticks has no name.
LEFT_OUT = ("region", "empty-table-header")
_RUN = """([where, leftOut]) => axe.run(where ? {include: [where]} : document, {
  resultTypes: ["violations"],
  preload: false,
  rules: Object.fromEntries([
    ["target-size", {enabled: true}], ...leftOut.map(rule => [rule, {enabled: false}])]),
}).then(({violations}) => violations.flatMap(({id, impact, nodes}) => nodes.map(
  ({target, html, any, all, none}) => ({
    rule: id,
    impact,
    place: target.flat().join(" "),
    html: html.slice(0, 200),
    why: [...any, ...all, ...none].map(({message}) => message).join("; "),
  }))))"""


def faults(page: Page, where: str = "") -> list[str]:
    """Each fault as rule, impact, selector, markup and reason: in the whole page, or in what the
    selector `where` finds. One that is gone a moment later was a figure being drawn."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    for _ in range(8):
        found = [
            f"{fault['rule']} ({fault['impact']}) at {fault['place']}: {fault['why']}"
            f"\n    {fault['html']}"
            for fault in page.evaluate(_RUN, [where, LEFT_OUT])
        ]
        if not found:
            break
        page.wait_for_timeout(300)
    return found


def faults_everywhere(page: Page) -> list[str]:
    """The same in the page, in each of its tabs and in what its buttons open, but at the foot. What
    opens in several tabs is looked at once, since axe reads the whole page each time."""
    found, read = faults(page), set[str]()
    tabs = page.get_by_role("tab")
    for number in range(max(1, tabs.count())):
        if number:
            tabs.nth(number).click()
            expect(tabs.nth(number)).to_have_attribute("aria-selected", "true")
            settled(page)
            found += faults(page, MAIN)
        opening = page.get_by_test_id("stMain").get_by_test_id("stPopover").get_by_role("button")
        for button in opening.all():
            at_the_foot = button.locator("xpath=ancestor::*[contains(@class,'st-key-foot')]")
            if at_the_foot.count() == 0:
                body = screen.opened(button)
                expect(body).not_to_be_empty()
                if (shown := body.inner_text()) not in read:
                    found += faults(page, POPOVER)
                    read.add(shown)
                page.keyboard.press("Escape")
                expect(page.locator(POPOVER)).to_have_count(0)
    return found


def for_everybody(*pages: Page, grounds: Sequence[str]) -> None:
    """As these are now, nobody stumbles on them, in light or in dark: docs/accessibility.md."""
    for page in pages:
        is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        # To draw a page for the other one takes a second.
        for ground in sorted(grounds, reverse=not is_dark):
            page.emulate_media(color_scheme=ground)
            found = faults(page)
            assert found == [], f"{page.url}, {ground}:\n" + "\n".join(found)
