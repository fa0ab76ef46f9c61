"""A long title stands on as many lines as a phone asks for, and says the same."""

from __future__ import annotations

import pytest

from strata.charts.common import fitted

LONG = 'What may follow “␣"quoted" \\ word”, after a text that goes on and on, at position 1,234'


@pytest.mark.parametrize("text", [LONG, "Gradients of the mean next-token loss", "word " * 30])
def test_its_lines_are_the_title(text: str) -> None:
    text = text.strip()
    lines = fitted({"title": text})["title"]["text"]
    assert " ".join(lines) == text
    assert max(map(len, lines)) <= 32
    assert len(lines) <= len(text) // 24 + 1
    assert max(map(len, lines)) - min(map(len, lines)) < 20  # none of one word alone


def test_a_word_that_is_wider_is_broken() -> None:
    lines = fitted({"title": "word" * 20})["title"]["text"]
    assert "".join(lines) == "word" * 20
    assert max(map(len, lines)) <= 32


@pytest.mark.parametrize("title", ["Short", {"text": "Short", "subtitle": ["a"]}])
def test_a_short_one_stays(title: object) -> None:
    assert fitted({"title": title, "mark": "bar"}) == {"title": title, "mark": "bar"}


def test_a_subtitle_stays() -> None:
    assert fitted({"title": {"text": LONG, "subtitle": ["a"]}})["title"]["subtitle"] == ["a"]
