"""Every page on a phone and on a desk, in light and in dark: nothing cut off, nothing illegible."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from _pytest.mark import ParameterSet
from playwright.sync_api import Page, ViewportSize, expect

from tests.browser.driver import DESK, Windows, forget
from tests.browser.screen import TITLES, charts, settled, visit

GROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 28)"}
PHONE: ViewportSize = {"width": 390, "height": 844}
SIZES = {"desk": DESK, "phone": PHONE}
# The contrast of each element's text with what is painted behind it (WCAG 2): transparent colours
# and opacities are laid over what the ancestors paint.
CONTRAST = """all => {
  const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const known = new Map();
  const parse = colour => {
    if (!known.has(colour)) {
      pen.clearRect(0, 0, 1, 1); pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
      known.set(colour, [r, g, b, a / 255]);
    }
    return known.get(colour);
  };
  const over = (top, alpha, ground) => ground.map((c, i) => top[i] * alpha + c * (1 - alpha));
  const light = rgb => {
    const [x, y, z] = rgb.map(c => c / 255).map(
      c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const painted = new Map();  // what is behind the content of an element, and how opaque it is
  const behind = element => {
    if (!element) return [[255, 255, 255], 1];
    if (!painted.has(element)) {
      const [ground, above] = behind(element.parentElement ?? element.getRootNode().host);
      const style = getComputedStyle(element), opacity = above * Number(style.opacity);
      const [r, g, b, a] = parse(style.backgroundColor);
      painted.set(element, [over([r, g, b], a * opacity, ground), opacity]);
    }
    return painted.get(element);
  };
  const contrast = element => {
    const [ground, opacity] = behind(element);
    if (opacity === 0) return null;  // an axis label that would overlap another
    const own = getComputedStyle(element);
    const [r, g, b, a] = parse(element instanceof SVGElement ? own.fill : own.color);
    const text = over([r, g, b], a * opacity, ground);
    const [low, high] = [light(text), light(ground)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  return all.map(each => [each.textContent, contrast(each)]);
}"""
WIDTHS = """() => [document.scrollingElement, document.querySelector("[data-testid=stMain]")]
  .map(each => each.scrollWidth - each.clientWidth)"""
# Name, left, top, right and bottom of what can be seen of each element: a box that scrolls hides
# what is beyond its ends.
BOXES = """all => all.filter(each => each.checkVisibility({visibilityProperty: true}))
  .map(each => {
    let {left, top, right, bottom} = each.getBoundingClientRect();
    for (let at = each; at; at = at.parentElement ?? at.getRootNode().host) {
      if (at === each || getComputedStyle(at).overflowX === "visible") continue;
      const box = at.getBoundingClientRect();
      [left, right] = [Math.max(left, box.left), Math.min(right, box.right)];
      [top, bottom] = [Math.max(top, box.top), Math.min(bottom, box.bottom)];
    }
    return [each.innerText || each.ariaLabel, left, top, right, bottom];
  })
  .filter(([, left, top, right, bottom]) => left < right && top < bottom)"""
# Lines of titles, and of what stands under them, that run out of their chart, by so many pixels.
CUT_TITLES = """() => [...document.querySelectorAll("[data-testid=stVegaLiteChart] svg")]
  .flatMap(svg => [...svg.querySelectorAll("[class*=role-title] text")].map(text => [
    text.textContent, text.getBoundingClientRect().right - svg.getBoundingClientRect().right]))
  .filter(([, beyond]) => beyond > 1)"""
LEGIBLE = (  # what is read on every page
    "h1",
    ".st-key-question p",
    ".st-key-reading p strong",
    ".st-key-reading [data-testid=stText]",
    ".st-key-proof p strong",
    ".st-key-proof .stMarkdownBadge",
    "[data-testid=stMain] [data-testid=stWidgetLabel] p",
    "[data-testid=stMain] [data-testid=stCaptionContainer] p",
    "[data-testid=stTab] p",
    ".st-key-foot button p",
    ".strip button",
    ".legend",
    "td button",
    ".save",
    "[data-testid=stVegaLiteChart] svg text",
    "[data-testid=stSidebar] [data-testid=stSidebarNavLink] p",
    "[data-testid=stSidebar] [data-testid=stWidgetLabel] p",
    "[data-testid=stSidebar] [data-testid=stCaptionContainer] p",
    "[data-testid=stSidebar] textarea",
    "[data-testid=stSidebar] [data-testid=stBaseButton-primary] p",
    "[class*=st-key-say_] [data-testid=stText]",
)


def looks() -> Iterator[ParameterSet]:
    """Every page in each size and on each ground. Of these four, two that have both of either are
    always looked at, of every other page the other two; the rest is thorough, and so is the real
    model on a desk."""
    for number, stem in enumerate(TITLES):
        for look in itertools.product(SIZES, GROUNDS):
            covers = (look in (("desk", "light"), ("phone", "dark"))) == (number % 2 == 0)
            marks = () if covers else (pytest.mark.thorough,)
            yield pytest.param((stem, *look), marks=marks, id="-".join((stem, *look)))


@pytest.fixture(scope="module")
def screen(
    windows: Windows, address: str, small_address: str, thorough: bool
) -> Iterator[Callable[[str, str, str], Page]]:
    """A page by its stem, size and ground, opened once for all that is looked at."""
    page, shown = windows(0).new_page(), ""

    def opened_once(stem: str, size: str, ground: str) -> Page:
        nonlocal shown
        # The real model's figures where there is least room for them. A sample of its states takes
        # a minute, as do a word's beams, and looks like any other.
        is_small = stem in ("gaussian_baseline", "jacobian_lens") or (
            size == "desk" and not thorough
        )
        server = small_address if is_small else address
        if (url := f"{server}/{stem}") != shown:
            # A pair of prompts is needed there, and the first example is of one.
            prompt = "" if stem == "patching" else "?example=pattern"
            # The small model has no fitted lens, and the beam of a word needs none.
            beam = "&view=The+beam+of+a+word&passages=2" if stem == "jacobian_lens" else ""
            if shown:  # a browser remembers that a phone put the sidebar away
                page.evaluate("localStorage.clear()")
            page.emulate_media(color_scheme=ground)  # or it would be drawn twice
            opened_at(page, f"{url}{prompt}{beam}", size)
            shown = url
        return page

    yield opened_once
    forget(page)


@pytest.fixture(params=looks(), scope="module")
def look(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    """A page, a size, and a ground. All that is looked at there follows each other, since to draw
    a page's charts for another size or ground takes a second."""
    return request.param


@pytest.fixture
def size(look: tuple[str, str, str]) -> str:
    return look[1]


@pytest.fixture
def opened(look: tuple[str, str, str], screen: Callable[[str, str, str], Page]) -> Page:
    """The page at one size, in light or in dark, as the browser asks for."""
    stem, size, ground = look
    page = screen(stem, size, ground)
    page.set_viewport_size(SIZES[size])
    page.emulate_media(color_scheme=ground)
    expect(page.get_by_test_id("stApp")).to_have_css("background-color", GROUNDS[ground])
    return page


def opened_at(page: Page, url: str, size: str) -> None:
    page.set_viewport_size(SIZES[size])
    visit(page, url)
    expect(charts(page).first.locator("svg, canvas")).to_be_visible()
    settled(page)


def test_the_figure_comes_early_and_nothing_runs_off_the_side(opened: Page, size: str) -> None:
    page, window = opened, SIZES[size]
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


def test_every_figure_has_a_name(opened: Page) -> None:
    names = charts(opened).evaluate_all("all => all.map(each => each.ariaLabel)")
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


def test_text_can_be_read(opened: Page) -> None:
    expand = opened.get_by_test_id("stExpandSidebarButton")
    if expand.is_visible():  # on a phone
        expand.click()
        expect(opened.get_by_role("link", name="Predictions")).to_be_visible()
    seen = [selector for selector in LEGIBLE if opened.locator(selector).count()]
    assert len(seen) >= len(LEGIBLE) - 6  # no page has all
    for _ in range(10):  # charts and buttons take a moment to change colour
        if not (found := faint(opened)):
            break
        opened.wait_for_timeout(300)
    assert found == {}


def test_buttons_keep_apart(opened: Page, size: str) -> None:
    boxes = [
        box
        for area in ("stMain", "stSidebar")
        # But for terms in running text, where a line is not as high as a finger is wide.
        for box in opened.get_by_test_id(area).locator("button:not(.term)").evaluate_all(BOXES)
        if not (size == "phone" and area == "stSidebar")  # there it lies over the page
    ]
    assert len(boxes) > 5
    for (name, *one), (other, *two) in itertools.combinations(boxes, 2):
        across = min(one[2], two[2]) - max(one[0], two[0])
        down = min(one[3], two[3]) - max(one[1], two[1])
        assert across <= 1 or down <= 1, f"{name} lies over {other}"
