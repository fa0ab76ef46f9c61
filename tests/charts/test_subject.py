"""What a figure is of stands under its title: short, safe, and with room made for it."""

from __future__ import annotations

import json

import pytest

from strata.charts.guess import Guess, with_guess
from strata.charts.subject import Subject, captioned, in_a_line, shortened
from strata.charts.titled import WIDEST, fitted
from tests.charts.forms import FORMS, READING, bars, by_layer, strip
from tests.concepts.by_hand import HOSTILE

HOSTILE_PROMPTS = [
    *HOSTILE,
    "\u202e" * 300,
    "\n" * 50,
    "日本語" * 90,
    "<b>" + "x" * 400,
    "",
    "a\ud800b",
    "{datum.x}",
]
SUBJECT = Subject(("The capital of France is",), "SmolLM2 135M Instruct")


def lines(chart: object) -> list[str]:
    """As in the narrowest column."""
    return list(fitted(chart.spec, 240)["title"]["subtitle"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_what_it_is_of(form: str) -> None:
    plain = FORMS[form]()
    chart = captioned(plain, SUBJECT, "3 of 5 tokens")
    said = " ".join(lines(chart))
    assert "France is”" in said
    assert "SmolLM2 135M Instruct" in said
    assert lines(chart)[-1] == "3 of 5 tokens"
    own = plain.spec["title"]
    title = own if isinstance(own, str) else own["text"]
    assert chart.spec["title"]["text"] == title
    assert chart.alt.startswith(f"{title}. {plain.reading} Drawn: “The capital of France is”, ")
    assert chart.alt.endswith(", 3 of 5 tokens.")
    assert chart.height - plain.height >= 30, "the figure is smaller for it"
    assert chart.table.equals(plain.table)


@pytest.mark.parametrize("prompt", HOSTILE_PROMPTS)
def test_a_hostile_prompt_is_a_short_line_of_text(prompt: str) -> None:
    for chart in (bars(), by_layer()):
        said = lines(captioned(chart, Subject((prompt, prompt), "m")))
        assert all(line.isprintable() for line in said)
        assert all(len(line) <= WIDEST for line in said)
    assert shortened(prompt, 20).isprintable()
    json.dumps(said).encode()


def test_what_tells_two_prompts_apart_is_not_cut_away() -> None:
    of = [f"The {word} of France is" for word in ("capital", "population")]
    small = captioned(by_layer(), Subject((of[0], of[1]), "SmolLM2 135M Instruct"))
    said = " ".join(lines(small))
    assert "A “…capital of" in said
    assert "B “…population" in said
    ends = Subject(("The capital of France is", "The capital of Italy is"), SUBJECT.model)
    said = " ".join(lines(captioned(by_layer(), ends)))
    assert "France is”" in said, "else a prompt is known by its end"
    assert "Italy is”" in said


def test_two_prompts_have_letters_and_one_has_none() -> None:
    two = Subject(("One thing", "Another"), "m")
    assert lines(captioned(bars(), two)) == ["A “One thing” · B “Another” · m"]
    assert in_a_line(SUBJECT, "", "a note").startswith("“The capital of France is” · SmolLM2")


def test_a_small_figure_has_one_line_for_it() -> None:
    long = Subject(("The capital of France, which is not what it was, is",), SUBJECT.model)
    assert lines(captioned(by_layer(), long)) == ["“…what it was, is” · SmolLM2 135M Instruct"]
    assert len(lines(captioned(strip(), long))) == 2


def test_the_guess_stands_between() -> None:
    chart = with_guess(by_layer(), Guess("a", "x", values=(1.0,)))
    said = lines(captioned(chart, SUBJECT, "a note"))
    assert said[1:] == ["Your guess is in magenta", "a note"]


def test_of_nothing_a_figure_stays() -> None:
    chart = bars()
    assert captioned(chart, Subject(), "") is chart
    assert chart.alt == f"What may follow. {READING}"
