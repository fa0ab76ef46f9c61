"""The frame around the pages: always there, whatever is asked for first, and safe to serve."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from strata.ui.server.start import HEADERS
from tests.browser.screen import (
    TITLES,
    Watch,
    charts,
    go_to,
    idle,
    no_exception,
    prompt_box,
    said,
    settled,
    sidebar,
)
from tests.browser.server import serve


def frame_present(page: Page) -> None:
    for title in TITLES.values():
        expect(sidebar(page).get_by_role("link", name=title)).to_be_visible()
    expect(sidebar(page).get_by_text("Model", exact=True)).to_be_visible()
    expect(sidebar(page).get_by_role("button", name="Look inside").first).to_be_visible()
    expect(prompt_box(page)).to_have_value("The capital of France is")


def test_a_fresh_server_shows_the_frame_whatever_is_asked_first(page: Page) -> None:
    with serve(wait_until_ready=False, by_command=True) as address:
        stem, title = list(TITLES.items())[-1]
        page.goto(f"{address}/{stem}")  # the first request for any page of this process
        frame_present(page)
        expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
        no_exception(page)


def test_a_page_can_be_opened_while_the_model_is_loaded(page: Page) -> None:
    with serve(wait_until_ready=False, by_command=True) as address:
        early = httpx.get(f"{address}/readyz", timeout=5)  # not blocked by what is being loaded
        assert early.status_code == 503
        learners = early.json()["learners"]
        assert learners > 0
        kept = {"kept": True, "waiting": 0, "learners": learners}
        assert early.json() == {"ready": False, "reason": "starting", **kept}
        page.goto(address)  # the first request, too
        expect(page.get_by_role("textbox", name="Your word")).to_be_visible()
        page.goto(f"{address}/predictions")
        frame_present(page)
        expect(page.get_by_role("heading", name=next(iter(TITLES.values())))).to_be_visible()
        settled(page)
        expect(charts(page).first).to_be_visible()
        no_exception(page)
        for _ in range(100):
            late = httpx.get(f"{address}/readyz")
            if late.status_code == 200:
                break
            time.sleep(0.1)
        assert (late.status_code, late.json()) == (
            200,
            {"ready": True, "reason": "ready", **kept},
        )


def test_without_a_model_the_frame_says_why(page: Page, tmp_path: Path) -> None:
    entry = '[[model]]\nid = "gone"\nsource = "folder"\npath = "nowhere"\nlicence = "none"\n'
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(entry)
    with serve(environment={"STRATA_MODELS": str(catalogue)}, wait_until_ready=False) as address:
        page.goto(f"{address}/hidden_states")
        frame_present(page)
        expect(said(page, "refusal")).to_contain_text("nowhere")
        no_exception(page)
        answer = httpx.get(f"{address}/readyz")
        assert answer.status_code == 503
        assert "nowhere" in answer.json()["reason"]


@pytest.mark.parametrize("path", ["/", "/predictions", "/readyz", "/favicon.png", "/no/such/file"])
def test_every_answer_has_the_security_headers(address: str, path: str) -> None:
    answer = httpx.get(address + path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value]
    # Said once more, or a header that is missing there would be missed by nobody.
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"].split("; ")
    assert {"default-src 'self'", "object-src 'none'", "frame-ancestors 'self'"} <= {*policy}


def test_an_unknown_address_shows_the_first_page(page: Page, address: str) -> None:
    watch = Watch(page)
    page.goto(f"{address}/no_such_page")
    expect(page.get_by_role("textbox", name="Your word")).to_be_visible()
    page.keyboard.press("Escape")  # Streamlit's own word on it, which may be gone by now
    idle(page)
    no_exception(page)
    assert [text for text in watch.complaints if "does not seem to exist" not in text] == []
    go_to(page, "hidden_states")
    settled(page)
