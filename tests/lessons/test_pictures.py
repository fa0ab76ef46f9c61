"""Figures of reports: every form can be drawn, and what cannot be drawn ends no server."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from strata.charts.guess import Guess, GuessedToken, with_guess
from strata.charts.lens import cell_bars
from strata.lessons import pictures
from strata.lessons.pictures import as_pictures, name_of
from strata.ui.anatomy.record import as_spec
from tests.charts.forms import FORMS

GUESSES = {
    "none": None,
    "a line": Guess("figure", "x", (1.0,)),
    "a level": Guess("figure", "y", (1.0,)),
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


@pytest.mark.parametrize("token_id", [7, 99])
def test_a_guessed_token_is_marked_or_added_with_rank_and_probability(token_id: int) -> None:
    token = GuessedToken(token_id, "␣a", 1_234, 0.00042)
    cell = pd.DataFrame(
        {"rank": [0, 1], "predicted": [" a", " b"], "logit": [2.0, 1.0], "prob": [0.7, 0.2]}
    )
    for chart in (FORMS["bars"](), cell_bars(cell, cell, "here", writes=False)):
        n_bars = len(chart.frame)
        chart = replace(chart, frame=chart.frame.assign(token_id=[7, *range(8, 7 + n_bars)]))
        drawn = with_guess(chart, Guess("figure", "x", token=token))
        [picture] = as_pictures([as_spec(drawn)])
        for line in ("Your guess is in magenta", "“␣a”, 0.04%", "after 1,234 likelier"):
            assert line in picture
        assert picture.count('stroke="#c2185b"') == 1, "one bar of all"
        assert len(drawn.frame) == n_bars + 2 * (token_id == 99), "the bar, and dots before it"
        row = drawn.frame[drawn.frame["token_id"] == token_id].iloc[0]
        assert drawn.frame["label"].is_unique
        assert len(chart.frame) == n_bars, "the page's own chart is as it was"
        if token_id == 99:
            assert row["order"] == drawn.frame["order"].max()
            assert drawn.height > chart.height
    other = FORMS["by_layer"]()
    assert with_guess(other, Guess("figure", "x", token=token)) is other


def test_a_guess_lies_below_the_numbers_beside_bars() -> None:
    bars = FORMS["bars"]()
    drawn = with_guess(bars, Guess("figure", "x", (0.7,)))
    kinds = [layer["mark"]["type"] for layer in drawn.spec["layer"]]
    assert kinds == ["bar", "rule", "text", "text"], "and on a ground of their own"
    ground, number = drawn.spec["layer"][2:]
    assert ground["mark"]["stroke"] == {"expr": "background"}
    assert ground["encoding"] == number["encoding"]
    [picture] = as_pictures([as_spec(drawn)])
    said = bars.frame["number"].iloc[0]
    assert picture.index("#c2185b") < picture.index(f">{said}<")


def test_the_next_of_all_tokens_follows_without_dots() -> None:
    bars = FORMS["bars"]()
    chart = replace(bars, frame=bars.frame.assign(token_id=range(len(bars.frame))))
    token = GuessedToken(99, "␣x", len(bars.frame), 0.01)
    drawn = with_guess(chart, Guess("figure", "x", token=token))
    assert drawn.frame["label"].tolist() == [*bars.frame["label"], "␣x"]


def test_a_guessed_position_is_a_column_of_cells() -> None:
    chart = FORMS["heatmap"]()
    [there, gone] = (with_guess(chart, Guess("figure", "x", position=p)) for p in (1, 99))
    [picture] = as_pictures([as_spec(there)])
    n_layers = chart.frame["layer"].nunique()
    assert picture.count('stroke="#c2185b"') == n_layers
    assert "Your guess is in magenta" in picture
    assert gone is chart, "a token that the figure leaves out"


def test_what_a_guess_names_is_outlined_among_the_marks_that_are_there() -> None:
    """Of bars the first so many, of layers the cells of the token that was asked about, of tokens
    the cell of both."""
    bars, cells, tokens = (FORMS[name]() for name in ("bars", "heatmap", "token_matrices, large"))
    n_positions = cells.frame["position"].nunique()
    guesses = (
        (bars, Guess("f", "count", (1.0,)), 1),
        (bars, Guess("f", "count", (50.0,)), len(bars.frame)),
        (cells, Guess("f", "y", (0.0, 1.0), at=1), 2),
        (cells, Guess("f", "y", (1.0,)), n_positions),
        (tokens, Guess("f", "x", position=2, at=0), 1),
    )
    drawn = [with_guess(chart, guess) for chart, guess, _ in guesses]
    pictures = as_pictures([as_spec(chart) for chart in drawn])
    for (_, guess, n_outlined), picture in zip(guesses, pictures, strict=True):
        assert picture.count('stroke="#c2185b"') == n_outlined, guess
    assert "the first 50" in pictures[1]
    column, row = drawn[-1].spec["layer"][-1]["transform"]
    assert (column["filter"]["range"], row["filter"]["range"]) == ([0, 0], [2, 2])
    assert with_guess(tokens, Guess("f", "x", position=99, at=0)) is tokens


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
