"""The proof strip turns red, with the number, when a run is not what Strata takes it for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests import small
from tests.browser.screen import point_at, said, visit
from tests.browser.server import serve
from tests.browser.test_smoke import colour_of, green_proof

LENS = "last-layer lens = the model's logits"
WRITES = "attention + MLP = what blocks added"
TEXT = "tokens joined = the text"
NAMES = ("whole", "norm", "writes", "refused", "text")


@pytest.fixture(scope="module")
def broken(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the same small model five times: whole, with a broken norm, with a broken
    write, with writes that were refused when it was loaded, and with tokens that lose their space.
    """
    folder = tmp_path_factory.mktemp("broken")
    catalogue = small.catalogue(folder, *NAMES)
    script = Path(__file__).with_name("broken.py")
    with serve(script, {"STRATA_MODELS": str(catalogue)}, log=folder / "log.txt") as url:
        yield url


def badge(page: Page, identity: str) -> Locator:
    badges = page.locator(".st-key-proof .stMarkdownBadge")  # one with a tooltip is there twice
    return badges.filter(has_text=identity, visible=True)


def is_red(page: Page, identity: str) -> None:
    found = badge(page, identity)
    expect(found).to_contain_text("cancel")
    number = re.search(r"off by ([\d.e+-]+) \(([\d.e+-]+) allowed\)", found.inner_text())
    assert number
    assert float(number[1]) > 3 * float(number[2])
    red, green, _ = colour_of(page, found.evaluate("e => getComputedStyle(e).color"))
    assert red > green


@pytest.mark.parametrize("stem", ["predictions", "hidden_states"])
@pytest.mark.parametrize(
    ("model", "wrong", "right"), [("norm", LENS, WRITES), ("writes", WRITES, LENS)]
)
def test_red_where_an_identity_fails(
    page: Page, broken: str, stem: str, model: str, wrong: str, right: str
) -> None:
    visit(page, f"{broken}/{stem}?model={model}")
    is_red(page, wrong)
    reason = page.get_by_role("tooltip")
    point_at(badge(page, wrong), reason)
    expect(reason).to_contain_text("are refused")
    expect(badge(page, right)).to_contain_text("check_circle")


def test_red_where_tokens_do_not_give_back_the_text(page: Page, broken: str) -> None:
    visit(page, f"{broken}/predictions?model=text")
    is_red(page, TEXT)
    badge(page, TEXT).hover()
    expect(page.get_by_role("tooltip")).to_contain_text("do not give it back")
    for right in (LENS, WRITES):
        expect(badge(page, right)).to_contain_text("check_circle")


@pytest.mark.parametrize("model", ["writes", "refused"])
def test_the_logit_lens_keeps_what_needs_no_writes(page: Page, broken: str, model: str) -> None:
    view = "view=Where+the+target%27s+logit+comes+from"
    visit(page, f"{broken}/logit_lens?model={model}&{view}")
    expect(said(page, "note_attribution")).to_contain_text("refused")
    expect(page.locator(".st-key-reading_proof_parts")).to_contain_text("4 parts through")
    expect(page.get_by_role("grid").get_by_role("button", name="Layer 3")).to_have_count(5)
    visit(page, f"{broken}/logit_lens?model={model}&mode=Deltas%2C+frozen+norm")
    expect(page.locator(".st-key-reading_proof")).to_contain_text("4 parts through the frozen")
    expect(said(page, "refusal")).to_have_count(0)


def test_green_where_nothing_is_broken(page: Page, broken: str) -> None:
    visit(page, f"{broken}/predictions?model=whole")
    green_proof(page)
