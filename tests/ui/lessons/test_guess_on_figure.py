"""A guess is drawn on the figure that its question names, while that is of what was asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from strata.charts.guess import Guess as Drawn
from strata.lessons import Question, lessons
from strata.lessons.answers import Verdict
from strata.lessons.progress import Guess
from strata.storage.database import AwayError
from strata.ui.anatomy.place import Place
from strata.ui.lessons import prediction
from strata.ui.lessons.prediction import _draw_on_figure
from strata.ui.lessons.run import Run

PROMPT, L = "When Mary and John went", 30
TOKENS = pd.DataFrame({"shown": [f"␣{n}" for n in range(15)]})
RUN = Run("m", PROMPT, {"title": "M", "n_layers": L, "d_model": 8, "d_vocab": 9}, TOKENS)


def question(stem: str, measure: str) -> Question:
    asked = (step.question for step in lessons()[stem].steps)
    return next(q for q in asked if q is not None and q.measure == f"{stem}.{measure}")


def left(
    monkeypatch: pytest.MonkeyPatch, asked: Question, guess: Any, **state: Any
) -> Drawn | None:
    """What is left for the page, whose sliders stand as `state` says."""
    monkeypatch.setattr(st, "session_state", state)
    _draw_on_figure(asked, Guess(0, 0, "v", "m", "job", guess, None, Verdict("wrong", "")), RUN)
    return state.get("drawn_guess")


def test_counts_and_tokens_of_the_prompt_are_left_for_their_figures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = left(monkeypatch, question("predictions", "n_to_reach"), 12)
    assert count == Drawn("next_tokens", "count", (12.0,), at=14)
    token = left(monkeypatch, question("predictions", "most_surprising"), 3, at=7)
    assert token == Drawn("strip_at", "x", position=3)


def test_a_figure_of_all_tokens_has_the_guess_wherever_the_slider_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    band = left(monkeypatch, question("hidden_states", "growth_layer"), [4, 6], at=14)
    assert band == Drawn("norms", "y", (4.0, 6.0), at=0)
    followed = question("logit_lens", "first_leading_layer")
    at_7 = {"at": 7, "at_of": (PROMPT,)}
    assert left(monkeypatch, followed, [4, 6], at=14) is not None
    assert left(monkeypatch, followed, [4, 6], **at_7) is None, "it is of another token"


def test_a_figure_of_one_layer_has_it_at_that_layer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    alike = question("laminar_profile", "most_alike_position")
    assert left(monkeypatch, alike, 3, layer=L) == Drawn("matrix", "x", position=3, at=9)
    assert left(monkeypatch, alike, 3, layer=L - 1) is None


def test_sentences_and_orders_have_no_place_on_an_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    assert left(monkeypatch, question("patching", "share_at_first"), 2, layer=0) is None
    asked = (step.question for stem in lessons() for step in lessons()[stem].steps)
    order = next(q for q in asked if q is not None and q.kind == "ordering")
    drawn = order.model_copy(update={"figure": "norms"})
    assert left(monkeypatch, drawn, list(range(len(order.options)))) is None


def test_of_a_guess_that_could_not_be_kept_the_answer_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two options the wrong one tells the other, so a look is kept with it; not without it."""
    looks: list[Any] = []

    def commit(*_: Any) -> None:
        raise AwayError("It is away.")

    away = SimpleNamespace(commit=commit, look=lambda *each: looks.append(each))
    monkeypatch.setattr(prediction, "progress", lambda: away)
    monkeypatch.setattr(prediction, "learner", lambda: "ann")
    monkeypatch.setattr(prediction, "answer_field", lambda *_: 1)
    monkeypatch.setattr(prediction, "measured", lambda *_: "a")
    monkeypatch.setattr(prediction.st, "button", lambda *_, **_more: True)
    options = [{"text": each, "value": each, "why": "So."} for each in "ab"]
    both = Question.model_validate(
        {"kind": "choice", "ask": "?", "answer": "a", "options": options}
    )
    place, at = Place(lessons()["predictions"], 0), (0, "job", "v")
    with pytest.raises(AwayError):
        prediction._field(place, both, RUN, at, [], True)
    assert looks == []
