"""`python -m tests.pictures`: how every page looks, as pictures in docs/pictures/.

One picture a page, and one of it beside its lesson: on a desk, a laptop and a phone from left to
right, in light and in dark. `--only TEXT` makes those whose name holds the text, `--address` is
that of a server which runs already.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.browser.driver import DESK, OPTIONS, chromium
from tests.browser.screen import TITLES, idle, settled
from tests.browser.server import serve

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
SIZES: tuple[ViewportSize, ...] = (
    DESK,
    {"width": 1024, "height": 768},
    {"width": 390, "height": 844},
)
SCHEMES = ("light", "dark")
SMALLER, GAP, QUALITY = 0.6, 12, 62  # how much, pixels, of WebP's 100
QUIET = 1_500  # milliseconds in which figures are drawn anew, which tell nobody when they are done
WAIT = 600_000  # milliseconds: the model may have many texts to read before a page is there
STEP = 2  # of a lesson: the first whose figure most lessons show


def states() -> Iterator[tuple[str, str]]:
    """The name of each picture and the address that it is of."""
    yield "start", "/"
    yield "lessons", "/lessons"
    for stem in TITLES:
        yield stem, f"/{stem}"
        yield f"{stem}_lesson", f"/{stem}?lesson={stem}&step_of_lesson={STEP}"


def come_to(page: Page, name: str, url: str) -> None:
    """Open an address; of a lesson, set the page up and look, so that the figure is there."""
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)
    page.goto(url)
    if name in TITLES:
        settled(page)
    elif name.endswith("_lesson"):
        expect(page.locator(".st-key-step_on button")).to_be_visible()
        idle(page)
        for key in ("set_up", "look"):
            button = page.locator(f".st-key-{key} button")
            if button.count():
                button.click()
                page.wait_for_timeout(QUIET)
                idle(page)
        settled(page)
        page.mouse.move(0, 0)  # or what comes under it in another size tells what it does
    else:
        expect(page.get_by_role("heading").first).to_be_visible()
        idle(page)
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


def still(page: Page) -> bytes:
    """A picture of the page once nothing moves any more."""
    before = b""
    for _ in range(20):
        page.wait_for_timeout(QUIET / 2)
        idle(page)
        now = page.screenshot()
        if now == before:
            break
        before = now
    return now


def picture(page: Page) -> Image.Image:
    """The page in all sizes and both schemes."""
    width = sum(size["width"] for size in SIZES) + GAP * (len(SIZES) - 1)
    height = max(size["height"] for size in SIZES)
    sheet = Image.new("RGB", (width, height * len(SCHEMES) + GAP * (len(SCHEMES) - 1)), "#8a8f98")
    for row, scheme in enumerate(SCHEMES):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        left = 0
        for size in SIZES:
            page.set_viewport_size(size)
            shot = Image.open(BytesIO(still(page)))
            sheet.paste(shot, (left, row * (height + GAP)))
            left += size["width"] + GAP
    return sheet.resize((round(sheet.width * SMALLER), round(sheet.height * SMALLER)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pictures whose name holds this text")
    parser.add_argument("--address", help="of a server that runs already")
    chosen = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    expect.set_options(timeout=WAIT)
    with (
        nullcontext(chosen.address) if chosen.address else serve() as address,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=OPTIONS) as browser,
    ):
        for name, path in states():
            if chosen.only not in name:
                continue
            context = browser.new_context(reduced_motion="reduce")  # somebody new each time
            context.set_default_timeout(WAIT)
            page = context.new_page()
            come_to(page, name, address + path)
            picture(page).save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
            context.close()
            print(name, flush=True)
    total = sum(file.stat().st_size for file in FOLDER.glob("*.webp"))
    print(f"{FOLDER}: {total / 2**20:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
