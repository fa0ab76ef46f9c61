"""A question as it is put to a class, what can be answered to it, and how answers are counted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict

from strata.display.tokens import typed_word
from strata.errors import InputError
from strata.lessons import Option, Question
from strata.lessons.answers import answer_in_words, guess_in_words, right_option, score

KINDS = ("choice", "number", "layer", "block", "token")  # of questions that can be voted on
LONGEST_WORD = 60  # characters of a ballot that is a word
LETTERS = "ABCDEFGHIJKLMNOPQRST"  # of the options, as learners see them
_BARS = 10


class Asked(BaseModel):
    """A question as a class sees it, and the answer, which it does not see before it is shown.

    `question` has what the run says in place of {names}; `answer` is what was measured with `model`
    on `prompt` (None: nobody knows), whose blocks are `n_layers`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: Question
    answer: Any = None
    n_layers: int = 0
    prompt: str = ""
    lesson: str = ""
    number: int = 0  # of the lesson's step, from 1
    version: str = ""
    model: str = ""

    @classmethod
    def own(cls, ask: str, options: Sequence[str], right: int | None = None) -> Asked:
        """A question of the teacher's own. InputError if it is none."""
        texts = [option.strip() for option in options if option.strip()]
        if not ask.strip() or len(texts) < 2 or len(set(texts)) < len(texts):
            raise InputError("A question of your own needs words and two different options.")
        if len(texts) > len(LETTERS):
            raise InputError(f"{len(texts)} options are too many: at most {len(LETTERS)}.")
        offered = tuple(Option(text=text, value=i, why=text) for i, text in enumerate(texts))
        if right is not None and right >= len(texts):
            raise InputError(f"There is no answer number {right + 1}: {len(texts)} were given.")
        known = right
        said = {"kind": "choice", "ask": ask.strip(), "answer": -1 if known is None else known}
        return cls(question=Question.model_validate({**said, "options": offered}), answer=known)

    @property
    def ends(self) -> tuple[float, float, float]:
        """The smallest and the largest number that can be answered, and the step between."""
        question = self.question
        if question.kind == "number":
            low, high = question.low, question.high
            return low, high, question.step or (high - low) / 100
        return 0, self.n_layers - (question.kind == "block"), 1

    def ballot(self, guess: Any) -> Any:
        """A guess in the form in which it is kept. InputError for what cannot be one."""
        kind = self.question.kind
        if kind == "choice":
            if type(guess) is int and 0 <= guess < len(self.question.options):
                return guess
        elif kind == "token":
            if isinstance(guess, str) and len(guess) <= LONGEST_WORD:
                word = typed_word("".join(c for c in guess if not "\ud800" <= c <= "\udfff"))
                if word:
                    return word
        elif type(guess) in (int, float) and math.isfinite(guess):
            low, high, _ = self.ends
            if low - 1e-9 <= guess <= high + 1e-9:
                return float(guess) if kind == "number" else round(guess)
        raise InputError("This is no answer to the question of the vote.")

    def in_words(self, guess: Any) -> str:
        """A guess as it is read; "" for None."""
        return "" if guess is None else guess_in_words(self.question, guess)

    @property
    def solution(self) -> str:
        """The answer in words, of a choice the right option; "" where nobody knows."""
        return "" if self.right is None else answer_in_words(self.question, self.answer)

    def grade(self, guess: Any) -> str:
        """right, near, wrong or open, as a lesson grades it; "" for None."""
        if guess is None:
            return ""
        return score(self.question, guess, self.answer).grade

    @property
    def right(self) -> int | str | None:
        """Which bar of a tally holds the answer; None if that is not known."""
        if self.answer is None:
            return None
        if self.question.kind == "choice":
            return right_option(self.question, self.answer)
        return self.bar(self.answer)

    def bar(self, guess: Any) -> int | str:
        """The bar of a tally in which a guess is counted."""
        if self.question.kind == "choice":
            return int(guess)
        if self.question.kind == "token":
            return typed_word(str(guess)).lower()
        edges = self.edges
        return min(sum(float(guess) >= edge for edge in edges[1:]), len(edges) - 2)

    @property
    def edges(self) -> list[float]:
        """Where the bars of a number begin and end: one for each value of a few, else about ten."""
        low, high, step = self.ends
        n_values = round((high - low) / step) + 1
        if n_values <= _BARS:
            each, n_bars = step, n_values
        elif self.question.kind == "number":
            each, n_bars = (high - low) / _BARS, _BARS
        else:  # whole numbers: as many in each bar
            each = math.ceil(n_values / _BARS)
            n_bars = math.ceil(n_values / each)
        return [low + i * each for i in range(n_bars + 1)]

    def tally(
        self, guesses: Iterable[Any], *, among: Iterable[Any] | None = None, solved: bool = True
    ) -> pd.DataFrame:
        """How many gave which answer: label, learners, right. A row for each option, with its
        letter, or range, also where nobody chose it, and for each of the ten commonest words of all
        guesses, or of those `among` which these are. Not `solved`: nothing tells which is right."""
        counts, right = Counter(map(self.bar, guesses)), self.right if solved else None
        every = counts if among is None else Counter(map(self.bar, among))
        kind = self.question.kind
        if kind == "token":
            bars: list[Any] = [word for word, _ in every.most_common(_BARS)]
            bars += [right] if right is not None and right not in bars else []
        else:
            n_options = len(self.question.options)
            bars = list(range(n_options if kind == "choice" else len(self.edges) - 1))
        labels = list(map(self._label, bars))
        if kind == "choice":
            labels = [f"{LETTERS[n : n + 1]}  {text}" for n, text in enumerate(labels)]
        rows = {
            "label": labels,
            "learners": [counts[bar] for bar in bars],
            "right": [bar == right for bar in bars],
        }
        return pd.DataFrame(rows).astype({"label": str, "learners": int, "right": bool})

    def counted_as(self, guess: Any) -> str:
        """The answer or the range of numbers with which a guess is counted, in words."""
        return self._label(self.bar(guess))

    def _label(self, bar: Any) -> str:
        if self.question.kind == "token":
            return str(bar)
        if self.question.kind == "choice":
            return self.question.options[bar].text
        low, high = self.edges[bar : bar + 2]
        if self.question.kind != "number":
            high = min(high - 1, self.ends[1])
        elif math.isclose(high - low, self.ends[2]):
            high = low
        unit = self.question.unit
        scale, unit = (100, "%") if unit == "%" else (1, f" {unit}" if unit else "")
        same = math.isclose(low, high, abs_tol=1e-12)
        return f"{low * scale:.4g}{'' if same else f' to {high * scale:.4g}'}{unit}"
