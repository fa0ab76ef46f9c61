"""The prompt: typed, chosen, refused, kept, and given away as a link."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, WebSocketRoute, expect

from tests.browser.driver import Newcomer, on_a_small_model  # noqa: F401
from tests.browser.screen import (
    chart,
    eventually_asks,
    go_to,
    no_exception,
    path,
    popover,
    prompt_box,
    query,
    reading,
    said,
    settled,
    sidebar,
    slider,
    token,
    type_prompt,
    visit,
)

OWN = "The opposite of hot is never"
EXAMPLE = "The author of Hamlet is William"


def example_box(page: Page) -> Locator:
    return sidebar(page).get_by_role("combobox", name="Example")


def shows(page: Page, text: str) -> None:
    """The page of predictions is about this prompt."""
    expect(reading(page)).to_contain_text(f"After “{text}”")
    expect(prompt_box(page)).to_have_value(text)


def test_own_text_is_kept_by_address_reload_and_page(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    type_prompt(page, OWN)
    shows(page, OWN)
    expect(page).to_have_url(re.compile(r"[?&]prompt=[\w-]{22}$"))
    asked = query(page)
    assert set(asked) == {"prompt"}
    assert "opposite" not in page.url
    expect(example_box(page)).to_have_value("Your own text")
    settled(page)

    page.reload()
    shows(page, OWN)
    assert query(page) == asked
    expect(example_box(page)).to_have_value("Your own text")
    settled(page)

    go_to(page, "hidden_states")
    expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
    expect(prompt_box(page)).to_have_value(OWN)
    assert (path(page), query(page)) == ("/hidden_states", asked)


def test_a_link_opens_elsewhere_with_prompt_and_controls(newcomer: Newcomer, address: str) -> None:
    page = newcomer()
    visit(page, f"{address}/hidden_states")
    type_prompt(page, OWN)
    expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
    slider(page, "Token at position").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(chart(page, "Hidden-state activations of ␣hot (position 3)")).to_be_visible()
    page.get_by_text("Logarithmic values").click()
    eventually_asks(page, at="3", log="false")
    link = popover(page, "Link").locator("code").inner_text()
    assert link == page.url
    assert "opposite" not in link

    guest = newcomer()
    visit(guest, link)
    expect(prompt_box(guest)).to_have_value(OWN)
    expect(chart(guest, "Hidden-state activations of ␣hot (position 3)")).to_be_visible()
    toggle = guest.get_by_test_id("stCheckbox").filter(has_text="Logarithmic")
    expect(toggle.locator("input")).not_to_be_checked()

    asked = query(guest)["prompt"]
    visit(guest, f"{address}/hidden_states?prompt={asked}&view=Outlier+dimensions&n=5")
    expect(guest.get_by_role("tab", name="Outlier dimensions")).to_have_attribute(
        "aria-selected", "true"
    )
    expect(chart(guest, "Dimensions with the largest").locator("svg")).to_contain_text("token")
    expect(slider(guest, "Dimensions")).to_have_attribute("aria-valuetext", "5")

    visit(guest, f"{address}/predictions?prompt={asked}&at=1&k=5&more=3")
    expect(reading(guest)).to_contain_text("After “The opposite”")
    expect(slider(guest, "Top tokens")).to_have_attribute("aria-valuetext", "5")
    expect(slider(guest, "Tokens to write")).to_have_attribute("aria-valuetext", "3")
    assert query(guest) == {"prompt": asked, "at": "1", "k": "5", "more": "3"}


def test_what_an_address_asks_for_in_vain_is_left_aside(page: Page, address: str) -> None:
    page.goto(f"{address}/predictions?prompt=unknown&model=no-model&example=none&at=99&k=7&x=1")
    expect(page.get_by_test_id("stToast")).to_contain_text("not stored here")  # it does not stay
    shows(page, "The capital of France is")
    settled(page)
    expect(example_box(page)).to_have_value("Facts: Capital of France")
    no_exception(page)


def test_choosing_an_example(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions")
    example_box(page).click()
    page.keyboard.type("An author")
    page.get_by_role("option", name="An author").click()
    shows(page, EXAMPLE)
    eventually_asks(page, example="hamlet")
    assert set(query(page)) == {"example"}

    page.reload()
    shows(page, EXAMPLE)
    expect(example_box(page)).to_have_value("Facts: An author")

    type_prompt(page, "The capital of France is")  # an example's text is that example
    shows(page, "The capital of France is")
    expect(page).to_have_url(f"{address}/predictions")


def test_a_refused_prompt_is_told_in_one_sentence_and_the_next_one_works(
    page: Page, address: str
) -> None:
    visit(page, f"{address}/predictions")
    for text, sentence in (
        ("a b " * 200, "The prompt has 401 tokens and the limit is 256; shorten it\\."),
        ("", "The prompt is empty; type at least one word\\."),
        ("word " * 30_000, r"The prompt has 150,000 characters and the limit is [\d,]+; .*"),
    ):
        type_prompt(page, text)
        expect(said(page, "refusal")).to_have_text(re.compile(f"^{sentence}$"))
        expect(page.get_by_role("heading", name="Predictions")).to_be_visible()
        expect(reading(page)).to_have_count(0)
        no_exception(page)
    type_prompt(page, OWN)
    shows(page, OWN)
    expect(said(page, "refusal")).to_have_count(0)


def test_a_new_prompt_opens_at_its_last_token(page: Page, address: str) -> None:
    visit(page, f"{address}/predictions?at=2")
    expect(reading(page)).to_contain_text("After “The capital of”")
    type_prompt(page, OWN)  # of another length than the prompt before
    shows(page, OWN)
    settled(page)
    assert set(query(page)) == {"prompt"}

    token(page, 1).click()
    eventually_asks(page, at="1")
    example_box(page).click()
    page.keyboard.type("An author")
    page.get_by_role("option", name="An author").click()
    shows(page, EXAMPLE)
    settled(page)
    assert set(query(page)) == {"example"}


def test_a_prompt_typed_just_before_changing_the_page_is_kept(page: Page, address: str) -> None:
    held: list[str | bytes] = []
    slow = False

    def relay(browser_side: WebSocketRoute) -> None:
        """Pass everything on, but while the server is slow keep what it says."""
        server_side = browser_side.connect_to_server()
        server_side.on_message(lambda said: held.append(said) if slow else browser_side.send(said))
        release.append(browser_side.send)

    release: list[Callable[[str | bytes], None]] = []
    page.route_web_socket(re.compile("/_stcore/stream"), relay)
    visit(page, f"{address}/predictions?example=add")
    slow = True
    type_prompt(page, OWN)
    page.wait_for_timeout(500)  # the server has read it, the browser does not know that yet
    sidebar(page).get_by_role("link", name="Hidden states").click()
    page.wait_for_timeout(500)
    slow = False
    for message in held:
        release[-1](message)
    expect(page.get_by_role("heading", name="Hidden states", level=1)).to_be_visible()
    expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
    expect(prompt_box(page)).to_have_value(OWN)
    expect(example_box(page)).to_have_value("Your own text")
    page.reload()  # the link names what was on the screen
    expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
    expect(prompt_box(page)).to_have_value(OWN)


def test_on_a_phone_the_drawer_closes_to_show_the_result(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    try:
        page = context.new_page()
        page.goto(f"{address}/predictions")
        drawer, opener = sidebar(page), page.get_by_test_id("stExpandSidebarButton")
        opener.click()
        expect(drawer).to_be_in_viewport()
        prompt_box(page).fill(OWN)
        page.get_by_role("button", name="Look inside").click()
        expect(drawer).not_to_be_in_viewport()
        expect(reading(page)).to_contain_text(f"After “{OWN}”")
        opener.click()
        drawer.get_by_role("link", name="Hidden states").click()
        expect(drawer).not_to_be_in_viewport()
        expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
        page.reload()
        expect(chart(page, "Hidden-state activations of ␣never (position 5)")).to_be_visible()
        expect(drawer).not_to_be_in_viewport()
        # And without the drawer: the prompt is on the page.
        here = page.get_by_test_id("stMain").get_by_role("textbox", name="Prompt")
        expect(here).to_have_value(OWN)
        here.fill("The sky is")
        page.get_by_role("button", name="Look", exact=True).click()
        expect(chart(page, "Hidden-state activations of ␣is (position 2)")).to_be_visible()
        expect(here).to_have_value("The sky is")
        # Also on a wider screen, as long as the drawer is away by itself; beside it, it is there.
        for width, is_here in ((700, True), (800, False)):
            page.set_viewport_size({"width": width, "height": 844})
            expect(here).to_be_visible(visible=is_here)
    finally:
        context.close()
