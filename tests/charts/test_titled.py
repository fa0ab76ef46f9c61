"""A long title stands on as many lines as the figure's width asks for, and says the same."""

from __future__ import annotations

import json
import re

import pytest

from strata.charts.titled import BETWEEN, WIDEST, fitted, width_of

LONG = 'What may follow “␣"quoted" \\ word”, after a text that goes on and on, at position 1,234'
NARROWEST = 225


@pytest.mark.parametrize("text", [LONG, "Gradients of the mean next-token loss", "word " * 30])
def test_its_lines_are_the_title(text: str) -> None:
    text = text.strip()
    lines = fitted({"title": text}, NARROWEST)["title"]["text"]
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= 32
    assert len(lines) <= len(text) // 24 + 1
    assert max(map(len, lines)) - min(map(len, lines)) < 20  # none of one word alone


def test_where_there_is_room_it_is_one_line() -> None:
    assert fitted({"title": LONG}, 700)["title"]["text"] == [LONG]
    below = ["one thing · and another, which is long · a third"]
    spec = {"title": {"text": "a", "subtitle": below}}
    assert len(fitted(spec, NARROWEST)["title"]["subtitle"]) == 2
    assert fitted(spec, 400)["title"]["subtitle"] == below


def test_a_word_that_is_wider_is_broken() -> None:
    lines = fitted({"title": "word" * 20}, NARROWEST)["title"]["text"]
    assert "".join(lines) == "word" * 20
    assert max(map(len, lines)) <= 32


@pytest.mark.parametrize("title", ["Short", {"text": "Short", "subtitle": "a"}])
def test_a_short_one_is_one_line_everywhere(title: object) -> None:
    said = {"text": ["Short"]} | ({"subtitle": ["a"]} if title != "Short" else {})
    assert fitted({"title": title, "mark": "bar"}) == {"title": said, "mark": "bar"}


def test_a_browser_takes_the_lines_of_its_own_width() -> None:
    """One who does not know how wide it will be is told the lines of all widths, none that is
    broken as it need not be."""
    text = fitted({"title": {"text": LONG, "subtitle": ["a · b"]}})["title"]
    assert text["subtitle"] == ["a · b"]
    widths = [int(width) for width in re.findall(r">= (\d{3}) \?", text["text"]["expr"])]
    ways = [json.loads(way) for way in re.findall(r"\[\".*?\"\]", text["text"]["expr"])]
    assert widths == sorted(widths, reverse=True)
    assert len(ways) == len(widths) + 1
    for width, way in zip([*widths, NARROWEST], ways, strict=True):
        assert way == fitted({"title": LONG}, width)["title"]["text"]


@pytest.mark.parametrize("width", [NARROWEST, 360])
def test_what_stands_under_it_is_broken_between_its_parts_first(width: int) -> None:
    parts = ["“The capital of France is”", "SmolLM2 135M Instruct", "日本" * 10, "long " * 20]
    paragraph = BETWEEN.join(parts)
    lines = fitted({"title": {"text": "a", "subtitle": [paragraph]}}, width)["title"]["subtitle"]
    assert " ".join(lines).split() == paragraph.replace(BETWEEN, " ").split() or width > 225
    assert all(width_of(line) <= WIDEST * width // NARROWEST for line in lines)
    assert lines[0].startswith(parts[0])


@pytest.mark.parametrize("width", [None, 700])
def test_an_axis_is_named_on_lines_that_it_is_long_enough_for(width: int | None) -> None:
    """One that juts out over its plot pushes the figure's title over the edge."""
    name = "Activation in size (logarithmic)"
    y = {"field": "value", "title": name}
    layers = [{"mark": "line"}, {"layer": [{"encoding": {"y": {"title": [name, "and more"]}}}]}]
    spec = {"title": "A figure", "encoding": {"x": {"title": name}, "y": y}, "layer": layers}
    made = fitted(spec, width, 260)
    lines = made["encoding"]["y"]["title"]
    assert " ".join(lines) == name
    assert max(map(len, lines)) * 6.2 < 260 - 80 - 18
    assert made["layer"][1]["layer"][0]["encoding"]["y"]["title"] == [*lines, "and more"]
    assert made["encoding"]["x"]["title"] == name
    assert y["title"] == name, "of a spec that others draw too"
    assert fitted(spec, width, 400)["encoding"]["y"]["title"] == name
    assert fitted(spec, width)["encoding"]["y"]["title"] == name
    low = fitted(spec, width, 60)["encoding"]["y"]["title"]
    assert max(map(len, low)) <= 16
    nothing = {"title": "A figure", "encoding": {"y": {"field": "row", "title": None}, "x": {}}}
    assert fitted(nothing, width, 60)["encoding"] == nothing["encoding"]
