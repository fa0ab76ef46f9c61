"""Every page on a phone and on a desk, in light and in dark: nothing jumps, is cut or illegible,
or in the way of who cannot see or point (docs/accessibility.md)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.axe import faults_everywhere
from tests.browser.driver import DESK, Windows, forget
from tests.browser.measured import BOXES, CONTRAST, CUT_TITLES, LEGIBLE, WIDTHS, shifted
from tests.browser.screen import TITLES, Watch, charts, settled, visit

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 28)"}
PHONE: ViewportSize = {"width": 390, "height": 844}
SIZES = {"desk": DESK, "phone": PHONE}


LOOKS = list(itertools.product(TITLES, SIZES, GROUNDS))


def looks() -> Iterator[ParameterSet]:
    """Every page in each size and on each ground. In light on a desk and in dark on a phone it is
    always looked at; the rest is thorough, and so is the real model on a desk."""
    for look in LOOKS:
        _, size, ground = look
        covers = (size == "desk") == (ground == "light")
        marks = () if covers else (pytest.mark.thorough,)
        yield pytest.param(look, marks=marks, id="-".join(look))


@dataclass(frozen=True)
class Look:
    """A page as it is seen, and what it asked for and complained about, with all before it."""

    page: Page
    size: str
    watch: Watch


@pytest.fixture(scope="module")
def watched(windows: Windows) -> Iterator[tuple[Page, Watch]]:
    """One page, in which all others are opened."""
    page = windows(0).new_page()
    yield page, Watch(page)
    forget(page)


@pytest.fixture(params=looks(), scope="module")
def look(
    request: pytest.FixtureRequest,
    watched: tuple[Page, Watch],
    address: str,
    small_address: str,
    thorough: bool,
) -> Look:
    """A page that has just come at one size, in light or in dark, as the browser asks for. All that
    is looked at there follows each other, and it is opened once: to open it, or to draw it anew for
    another size or ground, takes longer than to look."""
    stem, size, ground = request.param
    page, watch = watched
    # The real model's figures where there is least room for them. A sample of its states takes a
    # minute, as do a word's beams, and sets and maps of patches half of one; any look like others.
    dear = ("gaussian_baseline", "jacobian_lens", "evidence", "patching")
    is_small = stem in dear[:2] or (not thorough and (size == "desk" or stem in dear))
    # A pair of prompts is needed there, and the first example is of one.
    prompt = "" if stem == "patching" else "?example=pattern"
    # The small model has no fitted lens, and the beam of a word needs none.
    beam = "&view=The+beam+of+a+word&passages=2" if stem == "jacobian_lens" else ""
    if page.url.startswith("http"):  # a browser remembers that a phone put the sidebar away
        page.evaluate("localStorage.clear()")
    page.goto("about:blank")  # where there is nothing to be drawn anew
    page.set_viewport_size(SIZES[size])
    page.emulate_media(color_scheme=ground)
    visit(page, f"{small_address if is_small else address}/{stem}{prompt}{beam}")
    expect(charts(page).first.locator("svg, canvas")).to_be_visible()
    settled(page)
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[ground])
    return Look(page, size, watch)


def test_nothing_jumps_while_a_page_comes(look: Look) -> None:
    """Cumulative layout shift (web-vitals), of which up to 0.1 counts as good. On a phone, where it
    is the small model that is to come early enough, it is thorough: `test_accessible`."""
    if look.size == "desk":
        shifts, moved = shifted(look.page)
        assert shifts <= 0.1, moved


def test_the_figure_comes_early_and_nothing_runs_off_the_side(look: Look) -> None:
    page, window = look.page, SIZES[look.size]
    page.wait_for_function(f"() => ({WIDTHS})().every(width => width === 0)", polling=200)
    figure = charts(page).or_(page.locator(".box")).first
    for _ in range(10):  # a chart takes a moment to fit a window of another size
        box = figure.bounding_box()
        assert box
        if box["x"] + box["width"] <= window["width"] and box["y"] < window["height"]:
            break
        page.wait_for_timeout(300)
    assert box["y"] < window["height"]
    # The small model is there, on a phone as one line, and its parts take a finger.
    small = page.get_by_role("group", name="where you are in it")
    expect(small).to_be_visible()
    heights = small.get_by_role("button").evaluate_all("all => all.map(each => each.offsetHeight)")
    assert all(24 <= height <= 44 for height in heights if height), heights
    assert sum(height > 0 for height in heights) >= 2
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= window["width"]
    page.wait_for_function(f"() => ({CUT_TITLES})().length === 0", polling=200)


def test_every_figure_has_a_name(look: Look) -> None:
    names = charts(look.page).evaluate_all("all => all.map(each => each.ariaLabel)")
    assert names
    for name in names:
        assert len(name or "") > 20


def faint(page: Page) -> dict[str, float]:
    """The contrasts under 4.5 of the texts that can be seen."""
    found = {}
    for selector in LEGIBLE:
        places = page.locator(selector).filter(visible=True)
        for text, contrast in places.evaluate_all(CONTRAST):
            if contrast is not None and contrast < 4.5:
                found[f"{selector} {text}"] = round(contrast, 2)
    return found


def test_text_can_be_read(look: Look) -> None:
    page = look.page
    expand = page.get_by_test_id("stExpandSidebarButton")
    if expand.is_visible():  # on a phone
        expand.click()
        expect(page.get_by_role("link", name="Predictions")).to_be_visible()
    seen = [selector for selector in LEGIBLE if page.locator(selector).count()]
    assert len(seen) >= len(LEGIBLE) - 6  # no page has all
    for _ in range(10):  # charts and buttons take a moment to change colour
        if not (found := faint(page)):
            break
        page.wait_for_timeout(300)
    assert found == {}


def test_buttons_keep_apart(look: Look) -> None:
    boxes = [
        box
        for area in ("stMain", "stSidebar")
        # But for terms in running text, where a line is not as high as a finger is wide.
        for box in look.page.get_by_test_id(area).locator("button:not(.term)").evaluate_all(BOXES)
        if not (look.size == "phone" and area == "stSidebar")  # there it lies over the page
    ]
    assert len(boxes) > 5
    for (name, *one), (other, *two) in itertools.combinations(boxes, 2):
        across = min(one[2], two[2]) - max(one[0], two[0])
        down = min(one[3], two[3]) - max(one[1], two[1])
        assert across <= 1 or down <= 1, f"{name} lies over {other}"


@pytest.mark.parametrize(
    "look", [each for each in looks() if each.id and "-desk-light" in each.id], indirect=True
)
def test_axe_finds_nothing(look: Look) -> None:
    """On a phone, in dark, it is thorough: `test_accessible`."""
    found = faults_everywhere(look.page)
    assert found == [], "\n".join(found)
    # Nor has the browser a warning, or asked for what is not there.
    assert look.watch.complaints == []
