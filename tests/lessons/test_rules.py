"""What `lessons check` says of words and fields that tell an answer; each beside what may stand."""

from __future__ import annotations

from typing import Any

import pytest

from strata.lessons import Question, Step
from strata.lessons.rules import lacks_a_why, stands_right, tells

SHOWN = ["The", "␣cat", "␣sat"]


def question(kind: str, **fields: Any) -> Question:
    return Question.model_validate({"kind": kind, "ask": "?", "answer": 0, **fields})


OPTIONS = [
    {"text": text, "low": n, "high": n + 1, "why": "So.", "given": {}}
    for n, text in enumerate(("Nothing", "All of it", "Half of it"))
]


@pytest.mark.parametrize(
    ("text", "asked", "answer", "said"),
    [
        ("Think of Paris first.", question("token"), " Paris", "Paris"),
        ("Think of Parisians first.", question("token"), " Paris", ""),
        ("It is here.", question("token"), " is", ""),
        ("The word “is” is here.", question("token"), " is", "“is”"),
        ("Well, it may pause.", question("token"), ",", ""),
        ("It is “,” mostly.", question("token"), ",", "“,”"),
        ("About 50 % of them, or 3 nats.", question("number", unit="%"), 0.5, "50 %"),
        ("About 60% of them.", question("number", unit="%", tolerance=0.1), 0.5, "60%"),
        ("About 60% of them.", question("number", unit="%"), 0.5, ""),
        ("It loses -2.5 nats.", question("number", unit="nats", low=-5), -2.5, "-2.5 nats"),
        ("It loses 2.5 bits.", question("number", unit="nats"), 2.5, ""),
        ("A cosine of 0.3 is less than 1.", question("number"), 0.3, "0.3"),
        ("A cosine of 0.3 is less than 1.", question("number"), 1, ""),
        ("See layer 12.", question("layer"), 12, "layer 12"),
        ("See layer 120.", question("layer"), 12, ""),
        ("Is it block 2 or later?", question("block"), 2, "block 2"),
        ("The token at position 1.", question("position"), 1, "position 1"),
        ("It takes all of it away.", question("choice", options=OPTIONS), 1.5, "All of it"),
        ("It takes all of it away.", question("choice", options=OPTIONS), 2.5, ""),
    ],
)
def test_a_text_that_holds_the_answer(text: str, asked: Question, answer: Any, said: str) -> None:
    step = Step.model_validate({"title": "T", "text": text, "question": asked})
    reasons = list(tells(step, answer, SHOWN))
    assert len(reasons) == bool(said)
    assert not said or f"its text tells the answer, “{said.strip('“”')}" in reasons[0].replace(
        "““", "“"
    )
    hinted = Step.model_validate({"title": "T", "text": "x", "hints": [text], "question": asked})
    assert bool(list(tells(hinted, answer, SHOWN))) == bool(said)
    later = Step.model_validate(
        {"title": "T", "text": "x", "hints": ["A", text], "question": asked}
    )
    assert not list(tells(later, answer, SHOWN)), "later hints may"


@pytest.mark.parametrize(
    ("asked", "answer", "right"),
    [
        (question("number", near=0.1), 0.55, True),
        (question("number", near=0.1), 0.65, False),
        (question("number", low=10, high=20, step=1), 15, True),
        (question("ordering", options=OPTIONS), [3.0, 2.0, 1.0], True),
        (question("ordering", options=OPTIONS), [3.0, 1.0, 2.0], False),
        (question("choice", options=OPTIONS), 0.5, False),
        (question("token"), " a", False),
        (question("number"), None, False),
        (question("curve", points=3), [0.5, *[0.0] * 14, 0.5, *[1.0] * 14, 0.5], True),
        (question("curve", points=3), [0.0] * 16 + [1.0] * 15, False),
    ],
)
def test_who_moves_nothing_is_not_right(asked: Question, answer: Any, right: bool) -> None:
    assert bool(stands_right(asked, answer, 30)) is right


def test_a_wrong_guess_is_given_a_reason() -> None:
    assert lacks_a_why(question("number"))
    assert lacks_a_why(question("number", right="Well done."))
    assert not lacks_a_why(question("number", why="So it is."))
    assert not lacks_a_why(question("number", wrong="It is not."))
    assert not lacks_a_why(question("choice", options=OPTIONS)), "its options have theirs"
