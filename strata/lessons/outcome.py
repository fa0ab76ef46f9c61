"""How a lesson went: what was right, and what to look at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strata.lessons import Lesson
from strata.lessons.progress import Guess


@dataclass(frozen=True)
class Outcome:
    """Of a lesson's questions, by the numbers of their steps, 0 the first: all that were `asked`,
    those `answered`, the `right` at first and on the `second` try, the `nearly` right, and those
    that were `open`, since the run had no answer. Of a question that was asked of several runs the
    first counts."""

    asked: tuple[int, ...]
    answered: tuple[int, ...]
    right: tuple[int, ...]
    second: tuple[int, ...]
    nearly: tuple[int, ...]
    open: tuple[int, ...]

    @property
    def again(self) -> tuple[int, ...]:
        """The steps to look at again: answered wrongly, or not at all."""
        good = {*self.right, *self.second, *self.nearly, *self.open}
        return tuple(step for step in self.asked if step not in good)

    @property
    def in_words(self) -> str:
        """The outcome in a sentence."""
        if not self.asked:
            return "There was no question in it."
        counts = {
            "right at once": self.right,
            "right on the second try": self.second,
            "nearly right": self.nearly,
            "wrong": set(self.answered) & set(self.again),
            "not answered": set(self.asked) - set(self.answered),
        }
        said = [f"{len(steps)} {how}" for how, steps in counts.items() if steps]
        n_asked = len(self.asked)
        of = "The one question" if n_asked == 1 else f"Of {n_asked} questions"
        return f"{of}: {', '.join(said)}."


def outcome(lesson: Lesson, guesses: Sequence[Guess]) -> Outcome:
    """How a learner's guesses did; those of another version of the lesson do not count."""
    asked = tuple(n for n, step in enumerate(lesson.steps) if step.question is not None)
    grades: dict[int, tuple[str, list[str]]] = {}  # by step: of which run, first and second
    for guess in guesses:
        if guess.version == lesson.version and guess.step in asked:
            job, told = grades.setdefault(guess.step, (guess.job, []))
            if guess.job == job:
                told.append(guess.verdict.grade)
    answered = tuple(step for step in asked if step in grades)

    def having(grade: str, attempt: int) -> tuple[int, ...]:
        return tuple(step for step in answered if grades[step][1][attempt:][:1] == [grade])

    near = tuple(sorted({*having("near", 0), *having("near", 1)}))
    second, unknown = having("right", 1), having("open", 0)
    return Outcome(asked, answered, having("right", 0), second, near, unknown)
