"""A finished lesson is summed up by the first run of each question."""

from __future__ import annotations

from dataclasses import replace

from strata.lessons import Lesson
from strata.lessons.answers import Verdict
from strata.lessons.outcome import outcome
from strata.lessons.progress import Guess, Note
from tests.lessons.test_progress import GUESS

ASKED = {"kind": "token", "ask": "?", "answer": "a", "why": "So."}
STEPS = [{"title": f"Step {n}", "text": "x", "question": ASKED} for n in range(6)]
LESSON = Lesson.model_validate(
    {
        "stem": "mine",
        "version": "v1",
        "title": "Mine",
        "summary": "s",
        "minutes": 5,
        "page": "predictions",
        "step": [*STEPS, {"title": "Without", "text": "x"}],
    }
)


def guess(step: int, grade: str, attempt: int = 0, **more: str) -> Guess:
    verdict = Verdict(grade, "")  # type: ignore[arg-type]
    return replace(GUESS, step=step, attempt=attempt, verdict=verdict, **more)


def test_each_question_counts_once_by_its_first_run() -> None:
    made = [
        guess(0, "right"),
        guess(1, "wrong"),
        guess(1, "right", 1),
        guess(2, "wrong"),
        guess(2, "right", job="another run"),
        guess(3, "near"),
        guess(4, "right", version="v0"),
        guess(5, "open"),
        guess(6, "right"),  # where nothing is asked any more
    ]
    how = outcome(LESSON, made)
    assert (how.asked, how.answered) == ((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 5))
    assert (how.right, how.second, how.nearly, how.open) == ((0,), (1,), (3,), (5,))
    assert how.again == (2, 4), "wrong, or not answered"
    assert how.in_words == (
        "Of 6 questions: 1 right at once, 1 right on the second try, 1 nearly right, 1 wrong, "
        "1 not answered."
    )


def test_a_lesson_without_questions() -> None:
    none = LESSON.model_copy(update={"steps": LESSON.steps[-1:]})
    assert outcome(none, []).in_words == "There was no question in it."
    assert outcome(LESSON, []).again == (0, 1, 2, 3, 4, 5)


def test_what_the_model_lacked_is_not_looked_at_again() -> None:
    notes = {n: Note(n, lacked=n < 3) for n in range(6)}
    made = [guess(0, "near"), guess(1, "right", version="v0"), guess(3, "wrong")]
    how = outcome(LESSON, made, notes)
    assert (how.asked, how.lacked) == ((0, 3, 4, 5), (1, 2)), "0 was answered with another model"
    assert how.again == (3, 4, 5)
    assert how.in_words == (
        "Of 4 questions: 1 nearly right, 1 wrong, 2 not answered. Besides, 2 could not be asked of "
        "this model."
    )
    none = outcome(LESSON, [], {n: Note(n, lacked=True) for n in range(6)})
    assert none.again == ()
    assert none.in_words == "Of its questions 6 could not be asked of this model."
