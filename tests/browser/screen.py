"""What a learner does and sees, in the words of the page rather than of its markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Locator, Page, Request, expect

from strata.concepts.views import concepts

TITLES = {stem: module.CONCEPT.title for stem, module in concepts().items()}


def visit(page: Page, url: str) -> None:
    """Open an address and wait until its page is complete, down to the foot."""
    page.goto(url)
    settled(page)


def settled(page: Page) -> None:
    """Wait until the page is complete and the server has nothing more to say."""
    expect(page.locator(".st-key-foot")).to_be_visible()
    idle(page)


def idle(page: Page) -> None:
    """Wait until no script is running for this page, nor about to: what was sent to the server has
    started one, or a second has shown that it starts none (`SENDING` in driver.py)."""
    page.wait_for_function(
        """() => {
          const app = document.querySelector("[data-testid=stApp]");
          if (app?.dataset.testScriptState !== "notRunning") return false;
          const {sentAt = 0, ranAt = 0} = window;
          return sentAt < ranAt || performance.now() - sentAt > 1000;
        }""",
        polling=50,
    )


def type_prompt(page: Page, text: str) -> None:
    """Type an own prompt; what it changes is for the caller to wait for."""
    prompt_box(page).fill(text)
    page.keyboard.press("Control+Enter")


def prompt_box(page: Page) -> Locator:
    """The one in the sidebar; on a phone there is another one on the page."""
    return sidebar(page).get_by_role("textbox", name="Prompt")


def sidebar(page: Page) -> Locator:
    return page.get_by_test_id("stSidebar")


def reading(page: Page) -> Locator:
    return page.locator(".st-key-reading")


def charts(page: Page) -> Locator:
    return page.get_by_test_id("stVegaLiteChart")


def chart(page: Page, title: str) -> Locator:
    """The chart whose accessible name begins with its title."""
    return page.locator(f'[data-testid="stVegaLiteChart"][aria-label^="{title}"]')


def strip(page: Page) -> Locator:
    """The prompt as a strip of tokens."""
    return page.get_by_role("toolbar", name="by surprisal")


def token(page: Page, position: int) -> Locator:
    return strip(page).get_by_role("button").nth(position)


def go_to(page: Page, stem: str) -> None:
    """Change the page by the navigation."""
    sidebar(page).get_by_role("link", name=TITLES[stem]).click()
    expect(page.get_by_role("heading", name=TITLES[stem], level=1)).to_be_visible()


def query(page: Page) -> dict[str, str]:
    """What the address holds after the question mark."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(page.url).query).items()}


def path(page: Page) -> str:
    return urlsplit(page.url).path


def eventually_asks(page: Page, **wanted: str) -> None:
    """Wait until the address holds these values."""
    for name, value in wanted.items():
        expect(page).to_have_url(re.compile(rf"[?&]{name}={re.escape(value)}(&|$)"))


def slider(page: Page, label: str) -> Locator:
    """The thumb of a slider: focus it and press keys."""
    return page.get_by_test_id("stSlider").filter(has_text=label).get_by_role("slider")


def popover(page: Page, name: str) -> Locator:
    """Open one of the popovers at the foot; the answer is what it holds."""
    body = opened(page.locator(".st-key-foot").get_by_role("button", name=name))
    expect(body).not_to_be_empty()  # its content comes with the run that the click started
    idle(page)
    return body


def opened(button: Locator) -> Locator:
    """What a popover's button opens: a page that is drawn anew meanwhile closes it."""
    body = button.page.get_by_test_id("stPopoverBody")
    for _ in range(20):
        button.click()
        with suppress(AssertionError):
            expect(body).to_be_visible(timeout=5_000)
            break
    return body


def eventually(page: Page, holds: Callable[[], bool]) -> None:
    """Wait until this holds. It looks things up anew each time, as a handle of an element does not:
    figures are drawn anew when their width changes."""
    for _ in range(100):
        if holds():
            return
        page.wait_for_timeout(200)
    assert holds(), "Timeout 20000ms exceeded"  # as a browser says it that waited: see .ci/run


def point_at(place: Locator, shown: Locator) -> None:
    """Rest the pointer on a place until what it tells is there: figures that are still being drawn
    may move it away."""
    for _ in range(20):
        place.hover(force=True)
        with suppress(AssertionError):
            expect(shown).to_be_visible(timeout=2_000)
            return
        place.page.mouse.move(0, 0)
    expect(shown).to_be_visible(timeout=2_000)


def click_mark(mark: Locator, holds: Callable[[], bool]) -> None:
    """Click a mark of a figure until this holds: on a figure that is just being drawn anew a click
    is lost."""
    for _ in range(20):
        mark.click(force=True)  # others may lie over its edge
        for _ in range(15):
            if holds():
                return
            mark.page.wait_for_timeout(200)
    assert holds(), "Timeout 60000ms exceeded"


def opened_menu(box: Locator, typed: str = "") -> Locator:
    """The options of a select box, opened, with that typed into it: a run of the page that ends
    meanwhile may close it."""
    options = box.page.get_by_role("option").filter(has_text=typed)
    for _ in range(20):
        box.click()
        if typed:
            box.fill(typed)
        with suppress(AssertionError):
            expect(options.first).to_be_visible(timeout=2_000)
            return options
    expect(options.first).to_be_visible()
    return options


def leads(page: Page) -> None:
    """Wait until what the view is about stands above the controls that move it."""
    page.wait_for_function(
        """() => {
      const [figure, edit] = [".st-key-leads", ".st-key-edit"].map(
        each => document.querySelector(each).getBoundingClientRect());
      return figure.height > 100 && figure.bottom <= edit.top + 1;
    }""",
        polling=200,
    )


def said(place: Page | Locator, kind: str) -> Locator:
    """What is said to the learner: a "refusal", "warning" or "note"."""
    return place.locator(f'[class*="st-key-say_{kind}"]')


def no_exception(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)


class Watch:
    """Writes down what a page asks for and what its console complains about."""

    def __init__(self, page: Page) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self._requested(request))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._said(message.type, message.text))

    def _requested(self, request: Request) -> None:
        self.requests.append(request.url)

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def outside(self, address: str) -> list[str]:
        """Requests that left the server's own address."""
        own = (f"{address}/", "data:", f"blob:{address}/")
        return [url for url in self.requests if not url.startswith(own)]
