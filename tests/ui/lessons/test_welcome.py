"""What the first page says of a guess, and that its line is as it is said to be."""

from __future__ import annotations

import pandas as pd
import pytest

from strata.charts.guess import GuessedToken
from strata.corpus.examples import BY_ID
from strata.lessons import lessons
from strata.ui.lessons.welcome import LINE, WRITTEN, said

TOP = pd.DataFrame({"predicted": [" sailed", " passed"], "prob": [0.4, 0.15]})


@pytest.mark.parametrize(
    ("guessed", "words"),
    [
        (None, "The model's first is “␣sailed”, with 40.0%. "),
        (GuessedToken(1, "␣sailed", 0, 0.4), "is “␣sailed”, with 40.0%, as you guessed. "),
        (GuessedToken(2, "␣passed", 1, 0.15), "; yours, “␣passed”, comes after one token, with 15"),
        (GuessedToken(3, "␣sunk", 1234, 0.0001), "“␣sunk”, comes after 1,234 tokens, with 0.01%. "),
        (
            GuessedToken(4, "␣F", 3828, 0.00001, "Fische"),
            "; of your “Fische” the first token, “␣F”, comes after 3,828 tokens, with <0.01%. ",
        ),
        (GuessedToken(1, "␣sailed", 0, 0.4, "sailedly"), ", with which your “sailedly” begins. "),
    ],
)
def test_the_guess_is_placed_among_the_models(guessed: GuessedToken | None, words: str) -> None:
    sentence = said(TOP, guessed)
    assert words in sentence
    assert sentence.endswith("The writer went on with “passed”, the bar in orange.")


def test_what_was_written_may_be_none_of_the_bars() -> None:
    assert said(TOP[:1], None).endswith("“passed”, which is not among these.")


def test_the_line_is_the_examples_own_and_no_lesson_asks_about_it() -> None:
    assert BY_ID["long"].prompt.startswith(f"{LINE} {WRITTEN}. ")
    asked = {step.prompt for lesson in lessons().values() for step in lesson.steps}
    assert LINE not in asked
