"""Titles as wide as the figure is, and as many lines as that takes.

Vega cuts a line that is wider than its figure and breaks none, so they are broken here: for a few
widths, of which the browser takes the one that it has. A line under a title is a paragraph of
parts, with `BETWEEN` between them, and is broken there before it is broken elsewhere. The title of
a vertical axis is broken for the height that the axis has where there is least room: Vega lays a
figure out once, and as what is longer than its axis juts out further the less high this becomes,
it would push the figure's title over the edge.
"""

from __future__ import annotations

import json
import textwrap
import unicodedata
from functools import lru_cache

from strata.charts.common import Spec

BETWEEN = " · "
WIDEST = 43  # characters of a line under a title: in 225 pixels, the narrowest column
_TITLE = 30  # of a title there
_NARROWEST = 225  # pixels
_LEAST = 16  # letters of a line beside a figure, however low that is
_WIDTHS = (900, 700, 560, 460, 390, 330, 280)  # pixels from which lines are longer
# Pixels: a line of a title and of what stands below it; what else stands over and under a plot; a
# letter of an axis's title.
_LINE, _BELOW, _AROUND, _LETTER = 18, 14, 80, 6.2


def fitted(spec: Spec, width: int | None = None, height: int | None = None) -> Spec:
    """The spec with its title on lines that a figure of so many pixels holds, or, None, the one
    that it will be drawn in, whichever that is then; and with the titles of its vertical axes on
    lines for a figure so high, on which None has no bearing."""
    title = spec.get("title")
    if title is None:
        return spec
    title = {"text": title} if isinstance(title, str) else title
    below = title.get("subtitle", [])
    paragraphs = (below,) if isinstance(below, str) else tuple(below)
    made = _broken(title["text"], paragraphs, width)
    kept = {name: value for name, value in title.items() if name != "subtitle"}
    if height is not None:
        narrow = _broken(title["text"], paragraphs, width or _NARROWEST)
        taken = _LINE * len(narrow["text"]) + _BELOW * len(narrow.get("subtitle", ()))
        spec = _upright(spec, max(_LEAST, int((height - taken - _AROUND) / _LETTER)))
    return {**spec, "title": {**kept, **made}}


def _upright(spec: Spec, letters: int) -> Spec:
    """The spec with the titles of its vertical axes on lines of so many letters."""
    found = dict(spec)
    if "layer" in spec:
        found["layer"] = [_upright(each, letters) for each in spec["layer"]]
    y = spec.get("encoding", {}).get("y")
    title = (y or {}).get("title")
    if title:
        given = [title] if isinstance(title, str) else title
        if any(width_of(line) > letters for line in given):
            broken = [part for line in given for part in _evenly(line, letters)]
            found["encoding"] = {**spec["encoding"], "y": {**y, "title": broken}}
    return found


@lru_cache(maxsize=512)  # of a page that is drawn again most titles are as before
def _broken(heading: str, paragraphs: tuple[str, ...], width: int | None) -> Spec:
    """The texts of a title, on lines. It is shared: nobody may change it."""

    def text(pixels: int) -> list[str]:
        return _evenly(heading, _TITLE * pixels // _NARROWEST)

    def subtitle(pixels: int) -> list[str]:
        letters = WIDEST * pixels // _NARROWEST
        return [line for each in paragraphs for line in lines(each, letters)]

    made: Spec = {}
    for name, broken in (("text", text), ("subtitle", subtitle)):
        if name == "subtitle" and not paragraphs:
            continue
        if width is not None:
            made[name] = broken(width)
            continue
        ways = {pixels: broken(pixels) for pixels in (*_WIDTHS, _NARROWEST)}
        narrowest = ways.pop(_NARROWEST)
        if all(way == narrowest for way in ways.values()):
            made[name] = narrowest
            continue
        # The container's width, which stays while Vega makes room for axes and lines in it; the
        # figure's own is named so that this is computed anew with it.
        drawn = "(width >= 0 ? containerSize()[0] : 0)"
        choose = "".join(f"{drawn} >= {at} ? {json.dumps(way)} : " for at, way in ways.items())
        made[name] = {"expr": choose + json.dumps(narrowest)}
    return made


def lines(paragraph: str, letters: int = WIDEST) -> list[str]:
    """A paragraph on as few lines of so many letters as hold it; wide characters count twice."""
    found: list[str] = []
    for part in paragraph.split(BETWEEN):
        if found and width_of(found[-1] + BETWEEN + part) <= letters:
            found[-1] += BETWEEN + part
            continue
        line = ""
        for word in part.split(" "):
            if line and width_of(f"{line} {word}") > letters:
                found.append(line)
                line = word
            else:
                line = f"{line} {word}" if line else word
        found.append(line)
    return found


def _evenly(text: str, letters: int) -> list[str]:
    """As few lines of so many letters as hold a text, of about the same length."""
    fewest = textwrap.wrap(text, letters)
    if not fewest:
        return [""]
    even = (textwrap.wrap(text, width) for width in range(len(text) // len(fewest), letters))
    return next((each for each in even if len(each) == len(fewest)), fewest)


def width_of(text: str) -> int:
    """The letters that a text takes: wide ones, as of Chinese, two."""
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)
