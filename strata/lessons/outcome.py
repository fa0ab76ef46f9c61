"""How a lesson went: what was right, and what to look at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from strata.lessons import Lesson
from strata.lessons.progress import Guess, Note


@dataclass(frozen=True)
class Outcome:
    """Of a lesson's questions, by the numbers of their steps, 0 the first: all that were `asked`,
    those that `lacked` in the model what they need, those `answered`, the `right` at first and on
    the `second` try, the `nearly` right, and those that were `open`, since the run had no answer.
    Of a question that was asked of several runs the first counts."""

    asked: tuple[int, ...]
    lacked: tuple[int, ...]
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
        n_asked, n_lacked = len(self.asked), len(self.lacked)
        missing = f"{n_lacked} could not be asked of this model." if n_lacked else ""
        if not n_asked:
            return f"Of its questions {missing}" if missing else "There was no question in it."
        counts = {
            "right at once": self.right,
            "right on the second try": self.second,
            "nearly right": self.nearly,
            "wrong": set(self.answered) & set(self.again),
            "not answered": set(self.asked) - set(self.answered),
        }
        said = [f"{len(steps)} {how}" for how, steps in counts.items() if steps]
        of = "The one question" if n_asked == 1 else f"Of {n_asked} questions"
        more = f" Besides, {missing}" if missing else ""
        return f"{of}: {', '.join(said)}.{more}"


def outcome(
    lesson: Lesson, guesses: Sequence[Guess], notes: Mapping[int, Note] | None = None
) -> Outcome:
    """How a learner's guesses did; those of another version of the lesson do not count. `notes`, by
    step, say which questions the model had not what they need."""
    ours = [guess for guess in guesses if guess.version == lesson.version]
    whole = [n for n, step in enumerate(lesson.steps) if step.question is not None]
    without = {n for n, note in (notes or {}).items() if note.lacked}
    without -= {guess.step for guess in ours}
    asked, lacked = (tuple(n for n in whole if (n in without) is no) for no in (False, True))
    grades: dict[int, tuple[str, list[str]]] = {}  # by step: of which run, first and second
    for guess in ours:
        if guess.step in asked:
            job, told = grades.setdefault(guess.step, (guess.job, []))
            if guess.job == job:
                told.append(guess.verdict.grade)
    answered = tuple(step for step in asked if step in grades)

    def having(grade: str, attempt: int) -> tuple[int, ...]:
        return tuple(step for step in answered if grades[step][1][attempt:][:1] == [grade])

    near = tuple(sorted({*having("near", 0), *having("near", 1)}))
    second, unknown = having("right", 1), having("open", 0)
    return Outcome(asked, lacked, answered, having("right", 0), second, near, unknown)
