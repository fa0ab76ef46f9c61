"""Trajectories in a browser and on a real server: the worker, the player, several prompts."""

from __future__ import annotations

import re
import sys
from contextlib import suppress

import psutil
from playwright.sync_api import Locator, Page, expect

from tests.browser import screen
from tests.browser.screen import Watch, chart, eventually_asks, point_at, reading, settled, slider
from tests.browser.shared import process

GRADIENTS = "Gradients of the mean next-token loss"


def visit(page: Page, address: str, query: str = "") -> None:
    screen.visit(page, f"{address}/trajectories{query}")
    screen.no_exception(page)


def points(page: Page, title: str) -> Locator:
    return chart(page, title).locator("svg .mark-symbol path")


def test_activations_and_gradients_beside_each_other(page: Page, address: str) -> None:
    watch = Watch(page)
    visit(page, address)
    expect(points(page, "Activations").first).to_be_visible()
    assert points(page, "Activations").count() >= 31 * 5
    assert points(page, GRADIENTS).count() >= 31 * 4  # without the last position
    expect(chart(page, GRADIENTS).locator("svg")).not_to_contain_text("4 ␣is")
    expect(reading(page)).to_contain_text(re.compile(r"Trust 0\.9"))
    expect(page.get_by_text("its gradient is exactly 0")).to_be_visible()
    expect(page.get_by_text("What may be read off")).to_be_visible()
    # A path that is pointed at stands out.
    told = page.locator("#vg-tooltip-element")
    point_at(points(page, "Activations").nth(40), told)
    expect(told).to_contain_text("Layer")
    faded = chart(page, "Activations").locator('svg .mark-text text[opacity="0.12"]')
    expect(faded.first).to_be_attached()
    assert watch.complaints == []
    assert watch.outside(address) == []


def test_the_layers_play_to_the_last_and_stop(page: Page, address: str) -> None:
    page.emulate_media(reduced_motion="no-preference")
    visit(page, address, "?layer=27")
    drawn = 7 + 5 * 31  # the legend's, and one for each state
    expect(points(page, "Activations")).to_have_count(drawn - 3 * 5)
    play = page.get_by_test_id("stCheckbox").filter(has_text="Play")
    play.locator("label").first.click()
    expect(slider(page, "Up to layer")).to_have_value("30")
    expect(play.get_by_role("switch")).not_to_be_checked()
    expect(points(page, "Activations")).to_have_count(drawn)
    page.wait_for_timeout(2_000)  # longer than a layer stays
    expect(slider(page, "Up to layer")).to_have_value("30")
    slider(page, "Up to layer").press("ArrowLeft")
    small = page.get_by_role("group", name="where you are in it")
    expect(small).to_contain_text("You are at layer 29")
    screen.no_exception(page)


def test_while_a_map_is_drawn_a_coarser_one_is_offered_and_the_page_stays_usable(
    page: Page, address: str
) -> None:
    visit(page, address)
    page.goto(f"{address}/trajectories?example=long&n=100&epochs=200")
    expect(page.get_by_text(re.compile("UMAP: epoch|nearest neighbours"))).to_be_visible()
    # One of fewer layers is offered, and to be had by one press.
    page.get_by_role("button", name=re.compile("Coarser: every fourth layer, about")).click()
    eventually_asks(page, map_stride="4")
    expect(chart(page, "Activations").locator("svg")).to_contain_text("9 of 31 layers")
    page.get_by_role("tab", name="Gradient norms").click()
    expect(chart(page, "Norm of the gradient, by layer and token")).to_be_visible()
    settled(page)
    expect(page.get_by_text(re.compile("UMAP: epoch"))).to_have_count(0)
    screen.no_exception(page)


def test_settings_and_span_are_kept_in_the_link(page: Page, address: str) -> None:
    visit(page, address)
    slider(page, "Tokens on the map").first.focus()
    page.keyboard.press("ArrowRight")
    expect(chart(page, "Activations").locator("svg")).not_to_contain_text("0 The")
    page.get_by_role("button", name="How the map is drawn").click()
    page.get_by_role("radio", name="PCA", exact=True).click()
    expect(reading(page)).to_contain_text("of the variance")
    eventually_asks(page, method="PCA")
    settled(page)
    page.goto(page.url)
    expect(reading(page)).to_contain_text("of the variance")
    expect(chart(page, "Activations").locator("svg")).not_to_contain_text("0 The")


def test_chance_draws_paths_too(page: Page, address: str) -> None:
    visit(page, address, "?view=Against+chance")
    for method in ("UMAP", "PCA"):
        expect(chart(page, f"Activations: {method}")).to_be_visible()
        expect(chart(page, f"Random walk with the same steps: {method}")).to_be_visible()
    expect(reading(page)).to_contain_text(re.compile("Another seed moves \\d+%"))


def test_a_token_is_followed_into_an_own_prompt_and_the_link_holds_ids(
    page: Page, address: str
) -> None:
    visit(page, address, "?view=Several+prompts&example=bat")
    expect(page.get_by_text("B: At night the bat opened its wings and")).to_be_visible()
    page.get_by_role("combobox", name=re.compile("Prompts on the same map")).click()
    page.keyboard.type("Granny knitted a bat")
    page.keyboard.press("Enter")
    expect(page.get_by_text("C: Granny knitted a bat")).to_be_visible()
    page.keyboard.press("Escape")  # the list of prompts
    followed = page.get_by_role("combobox", name=re.compile("Token that is followed"))
    followed.click()
    page.get_by_role("option", name="␣bat", exact=True).click()
    figure = chart(page, "The same token in several prompts").locator("svg")
    for name in ("A 3 ␣bat", "B 3 ␣bat"):
        expect(figure).to_contain_text(re.compile(name.replace("3", r"\d")))
    expect(page.locator(".st-key-reading_contexts")).to_contain_text("The states of “␣bat” in")
    expect(page).to_have_url(re.compile("with=bat2"))
    expect(page).to_have_url(re.compile("follow="))
    assert "Granny" not in page.url
    settled(page)
    page.goto(page.url)
    expect(page.get_by_text("C: Granny knitted a bat")).to_be_visible()
    expect(page.locator(".st-key-reading_contexts")).to_contain_text("The states of “␣bat” in")


def test_the_worker_of_a_server_is_a_fresh_interpreter(page: Page, address: str) -> None:
    """Spawned, not forked: torch has threads in the server, and a fork would inherit their locks.
    It was started for the first map, and draws all others too."""
    visit(page, address)
    [pid] = workers()
    worker = psutil.Process(pid)
    assert worker.cmdline()[:2] == [sys.executable, "-c"]  # a fork would be `streamlit run`
    if hasattr(worker, "memory_maps"):  # macOS does not tell
        assert not any("libtorch" in each.path for each in worker.memory_maps())
    visit(page, address, "?example=rome")
    assert workers() == [pid]


def workers() -> list[int]:
    """The map workers of the server, by process id."""
    found = []
    for each in process("plain").children():
        with suppress(psutil.NoSuchProcess):  # it has ended
            if "umap_worker" in " ".join(each.cmdline()):
                found.append(each.pid)
    return found
