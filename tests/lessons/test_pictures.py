"""Figures of reports: every form can be drawn, and what cannot be drawn ends no server."""

from __future__ import annotations

import json

import pytest

from strata.charts.guess import Guess, with_guess
from strata.lessons import pictures
from strata.lessons.pictures import as_pictures, name_of
from strata.ui.anatomy.record import as_spec
from tests.charts.forms import FORMS

GUESSES = {
    "none": None,
    "a line": Guess("figure", "x", (1.0,)),
    "a level": Guess("figure", "y", (0.5,)),
    "a curve": Guess("figure", "y", points=((0, 0.1), (2, 0.4))),
}


def test_every_form_can_be_drawn_with_a_guess_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SECONDS", 600)  # there are more of them than in a report
    charts = [form() for name, form in FORMS.items() if name != "colour_bar"]
    all_of_them = [(chart, guess) for guess in GUESSES.values() for chart in charts]
    drawn = as_pictures([as_spec(with_guess(c, guess) if guess else c) for c, guess in all_of_them])
    for (chart, guess), picture in zip(all_of_them, drawn, strict=True):
        assert picture.startswith("<svg"), (chart.spec["title"], guess)
        assert name_of(picture) == " ".join(chart.alt.split())
        assert ("Your guess is in magenta" in picture) is (guess is not None)
        assert (picture.count("#c2185b") > 0) is (guess is not None)


def test_what_cannot_be_drawn_costs_only_itself() -> None:
    good = as_spec(FORMS["strip"]())
    odd = json.dumps(
        {
            "mark": "text",
            "data": {"values": [{"a": "\0\x1b\ud800"}]},
            "encoding": {"text": {"field": "a"}},
        }
    )
    drawn = as_pictures([good, "{}", odd, "not JSON at all", good])
    assert drawn[0] == drawn[4]
    assert drawn[0].startswith("<svg")
    assert drawn[3] == ""
    assert as_pictures([]) == []


def test_a_guess_leaves_the_form_as_it_was() -> None:
    for form in FORMS.values():
        chart, before = form(), json.dumps(form().spec, default=str)
        with_guess(chart, Guess("figure", "x", (1.0,)))
        assert json.dumps(chart.spec, default=str) == before
