"""What axe-core finds in an opened page that people with other senses or hands would stumble on."""

from __future__ import annotations

from collections.abc import Sequence

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

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


def for_everybody(*pages: Page, grounds: Sequence[str]) -> None:
    """As these are now, nobody stumbles on them, in light or in dark: docs/accessibility.md."""
    for page in pages:
        is_dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        # To draw a page for the other one takes a second.
        for ground in sorted(grounds, reverse=not is_dark):
            page.emulate_media(color_scheme=ground)
            found = faults(page)
            assert found == [], f"{page.url}, {ground}:\n" + "\n".join(found)
