"""The Gaussian baseline in a browser: the texts it reads, the fit, the pair, each view."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FilePayload, Page, expect

from strata.corpus import passages
from tests.browser.driver import DESK
from tests.browser.screen import click_mark, idle, query
from tests.browser.test_laminar_profile import chart, reading

OWN = " ".join(list(passages.passages().values())[:4]).encode()


def visit(page: Page, address: str, query: str = "") -> None:
    page.goto(f"{address}/gaussian_baseline{query}")
    expect(page.locator(".st-key-foot")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def choose_file(page: Page, content: bytes) -> None:
    file = FilePayload(name="mine.txt", mimeType="text/plain", buffer=content)
    page.locator('input[type="file"]').set_input_files(file)


def test_the_fit_and_the_pair(page: Page, small_address: str) -> None:
    visit(page, small_address, "?part=MLP&step=Centred")
    expect(chart(page, "MLP writes at layer 2: cosines of 1,000,000 pairs")).to_be_visible()
    expect(page.get_by_text("2,000 of 6,571 token positions of 70 passages")).to_be_visible()
    dims = page.locator(".st-key-dims")
    expect(dims).to_contain_text("32")  # as many as there are
    page.get_by_role("button", name="Fit").click()
    expect(page).to_have_url(re.compile(r"dims=\d+"))
    expect(dims).to_contain_text(query(page)["dims"])
    assert 1 < int(query(page)["dims"]) < 32
    page.get_by_role("slider", name="The pair at this quantile").press("End")
    expect(page).to_have_url(re.compile(r"quantile=100"))
    expect(page.get_by_test_id("stCode").first).to_contain_text("»")


def test_one_dimension_is_two_spikes_and_says_why(page: Page, small_address: str) -> None:
    visit(page, small_address, "?dims=1")
    expect(page.get_by_text("only two directions")).to_be_visible()
    # And on a phone no prompt, which plays no part here, keeps the figure off the screen.
    page.set_viewport_size({"width": 390, "height": 844})
    box = chart(page, "Residual stream").bounding_box()
    assert box
    assert box["y"] < 800
    expect(page.get_by_test_id("stMain").get_by_role("textbox", name="Prompt")).to_have_count(0)
    # What was as wide as a phone, or as the window for a moment, is beside the figure again.
    page.set_viewport_size(DESK)
    beside = page.get_by_role("radiogroup", name="Pairs").or_(page.locator(".st-key-pairs")).first
    page.wait_for_timeout(300)
    for _ in range(20):
        figure, pairs = chart(page, "Residual stream").bounding_box(), beside.bounding_box()
        assert figure
        assert pairs
        if pairs["x"] > figure["x"] + figure["width"] and pairs["y"] < figure["y"] + 100:
            break
        page.wait_for_timeout(200)
    assert pairs["x"] > figure["x"] + figure["width"]


@pytest.mark.parametrize(
    ("view", "title", "said"),
    [
        (
            "Three+steps",
            "Cosines of pairs: centred",
            r"of this excess the offset that they share explains \d+%",
        ),
        ("Whole+model", "Effective dimension", "Over all layers the .* writes come closest"),
        ("Dimensions", "Dimension 7", "Dimension 7 reaches"),
    ],
)
def test_every_view_has_its_figure_and_conclusion(
    page: Page, small_address: str, view: str, title: str, said: str
) -> None:
    """What they say of the bundled model: `lessons/test_shipped.py`, which has a sample of it."""
    visit(page, small_address, f"?view={view}&dim=7")
    expect(chart(page, title)).to_be_visible()
    expect(reading(page)).to_contain_text(re.compile(said))


def test_a_point_can_be_clicked_again_once_another_is_typed(page: Page, small_address: str) -> None:
    visit(page, small_address, "?view=Dimensions&dim=7")
    number = page.get_by_role("spinbutton", name="Dimension")
    points = chart(page, "Residual stream").locator("svg g.mark-symbol").first.locator("path")
    for _ in range(2):
        click_mark(points.nth(12), lambda: number.input_value() == "12")
        idle(page)
        number.fill("3")
        number.press("Enter")
        expect(page.get_by_text("Dimension 3 reaches")).to_be_visible()
        idle(page)


def test_what_is_no_text_is_refused_and_own_text_is_said_to_be_short(
    page: Page, small_address: str
) -> None:
    visit(page, small_address)
    page.get_by_role("button", name="Text", exact=True).click()
    page.get_by_text("Your own text file").click()
    expect(page.get_by_text("No file is chosen yet")).to_be_visible()
    choose_file(page, b"PK\x03\x04\x00\x00")
    expect(page.get_by_text("This is not a text file; save it as plain text")).to_be_visible()
    expect(chart(page, "Residual stream")).to_be_visible()
    idle(page)
    choose_file(page, OWN)
    expect(page.get_by_text("fewer than the 2,000 asked for")).to_be_visible()
    expect(page.get_by_text("passages of your own text")).to_be_visible()
