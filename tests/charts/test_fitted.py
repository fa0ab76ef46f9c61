"""A title takes as many lines as its width asks for, and says the same."""

from __future__ import annotations

import json
import re

import pytest

from strata.charts.common import fitted

LONG = 'What may follow “␣"quoted" \\ word”, after a text that goes on and on, at position 1,234'


def lines_at(width: int, spec: dict) -> list[str]:
    """What Vega's conditional gives at a width."""
    expression = spec["title"]["text"]["expr"]
    decode = json.JSONDecoder().raw_decode
    while found := re.match(r"width < (\d+) \? ", expression):
        value, end = decode(expression, found.end())
        if width < int(found[1]):
            return value
        expression = expression[end + len(" : ") :]
    return [json.loads(expression)]


@pytest.mark.parametrize("width", [120, 200, 300, 450, 700, 2000])
@pytest.mark.parametrize("text", [LONG, "Gradients of the mean next-token loss"])
def test_its_lines_are_the_title(text: str, width: int) -> None:
    lines = lines_at(width, fitted({"title": text}))
    assert " ".join(lines) == text
    if width >= 200:
        assert max(map(len, lines)) * 7.6 <= width


def test_the_narrower_the_more_lines() -> None:
    counts = [len(lines_at(width, fitted({"title": LONG}))) for width in (2000, 600, 400, 250)]
    assert counts == sorted(counts)
    assert counts[0] == 1 < counts[-1]


@pytest.mark.parametrize("title", ["Short", {"text": "Short", "subtitle": ["a"]}])
def test_a_short_one_stays(title: object) -> None:
    assert fitted({"title": title, "mark": "bar"}) == {"title": title, "mark": "bar"}


def test_a_subtitle_stays() -> None:
    assert fitted({"title": {"text": LONG, "subtitle": ["a"]}})["title"]["subtitle"] == ["a"]
