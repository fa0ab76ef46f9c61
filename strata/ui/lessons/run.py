"""The learner's run as a lesson knows it: what a step's {names} stand for, what a question asks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from strata.charts.guess import GuessedToken
from strata.concepts.views import find_view, followed
from strata.display.tokens import display_candidate, display_text
from strata.engine import Job
from strata.errors import StrataError
from strata.lessons import Option, Question, filled
from strata.lessons.answers import job, resolved
from strata.lessons.report import quoted
from strata.ui.anatomy import ask, made
from strata.ui.anatomy.expected import expect
from strata.ui.anatomy.page import tokens_of
from strata.ui.lessons.glossary import explained


@dataclass(frozen=True)
class Run:
    """The learner's run: which model and prompt, and what a lesson needs to know of it."""

    model: str
    prompt: str
    about: dict[str, Any]
    tokens: pd.DataFrame

    @cached_property
    def shown(self) -> list[str]:
        """The prompt's tokens in their text-safe form."""
        return [str(token) for token in self.tokens["shown"]]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What {names} in a lesson's text stand for on this run."""
        n_layers, shown = self.about["n_layers"], self.shown
        return {
            "model": self.about["title"],
            "L": n_layers,
            "layers": n_layers + 1,
            "half": n_layers // 2,
            "D": self.about["d_model"],
            "V": f"{self.about['d_vocab']:,}",
            "T": len(shown),
            "last": len(shown) - 1,
            "last_token": f"“{shown[-1]}”",
            "first_token": f"“{shown[0]}”",
        }

    def in_markdown(self, text: str) -> str:
        """Lesson text as Markdown, with what this run says as text in place of {names}."""
        return filled(explained(text), self._quoted)

    @cached_property
    def _quoted(self) -> dict[str, str]:
        return {name: quoted(str(value)) for name, value in self.facts.items()}

    def filled(self, question: Question) -> Question:
        """The question with what this run says in place of {names}, but for what it asks."""

        def fill(thing: Question | Option, *names: str) -> dict[str, Any]:
            return {name: filled(getattr(thing, name), self.facts) for name in names}

        options = tuple(
            option.model_copy(update=fill(option, "text", "why")) for option in question.options
        )
        said = fill(question, "right", "close", "wrong", "why", "lacks")
        return question.model_copy(update={**said, "options": options})

    def job(self, question: Question) -> Job:
        """The run that a question is about."""
        params = resolved(question.params, self.about["n_layers"], len(self.tokens))
        return self._job(question.view or "run.tokens", params)

    def ask(self, view: str, **params: Any) -> pd.DataFrame:
        """A view's table for this run."""
        job = self._job(view, params)

        def answer() -> pd.DataFrame:
            return ask.run(job, expected=expect(view, self.about, len(self.tokens), 0, params))

        if not job.prompt:  # of a sample or a set, which may be another one some day
            return answer()
        now = followed(find_view(view))
        return made.frame((self.model, self.prompt, "lesson", view, repr(params), now), answer)

    def rated(
        self,
        word: str,
        position: int,
        view: str = "predictions.chances",
        layer: int | None = None,
    ) -> GuessedToken | None:
        """A guessed word as the token after `position`, with a space before it or not: whichever is
        one token, and of two the likelier; of a word of several tokens the first. None where this
        model cannot say. A `view` of layers is read at `layer`, or at the last."""
        try:
            pieces = self.ask("run.target", word=word)
            length = pieces.groupby("spelling")["position"].transform("size")
            whole = pieces["position"].eq(0) & length.eq(length.min())
            ids = [int(i) for i in pieces["token_id"][whole]]
            found = self.ask(view, position=position, token_ids=ids)
        except StrataError:
            return None
        if "layer" in found:
            found = found[found["layer"] == (self.about["n_layers"] if layer is None else layer)]
        best = found.sort_values("rank", kind="stable").iloc[0]
        label = display_candidate(best["predicted"])
        begins = display_text(word, 20) if length.min() > 1 else ""
        facts = int(best["token_id"]), label, int(best["rank"]), float(best["prob"])
        return GuessedToken(*facts, begins)

    def _job(self, view: str, params: dict[str, Any]) -> Job:
        return job(view, self.model, self.prompt, params)


def run_of(model: str, prompt: str) -> Run:
    """What a learner has chosen. StrataError where it is refused."""
    about = ask.until_ready(model)
    return Run(model, prompt, about, tokens_of(model, prompt, about))
