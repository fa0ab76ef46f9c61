"""A step of a lesson puts its page into the state that it asks about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from strata.lessons import lessons
from strata.ui.anatomy.place import Place
from strata.ui.lessons import lesson


def test_a_step_asks_about_the_answer_itself_whatever_was_followed_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state: dict[str, Any] = {"target_choice": 5, "minus_choice": 7, "other_choice": "word"}
    monkeypatch.setattr(st, "session_state", state)
    scaling = lessons()["scaling"]
    number = next(i for i, step in enumerate(scaling.steps) if step.settings and not step.prompt)
    lesson._apply(Place(scaling, number), 30, "The capital of France is")
    assert {state[f"{box}_choice"] for box in ("target", "minus", "other")} == {-1}
    assert scaling.steps[number].settings.items() <= state.items()


def test_a_step_come_to_before_the_model_is_ready_is_set_up_once_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newcomer may begin a lesson while the weights are still being loaded."""
    state: dict[str, Any] = {"text": "Another text", "model": "small"}
    applied: list[tuple[int, int, str]] = []

    def set_up(place: Place, n_layers: int, prompt: str) -> None:
        applied.append((place.number, n_layers, prompt))
        raise Done

    class Done(Exception):
        """Where the page would begin anew."""

    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(lesson, "_apply", set_up)
    loading = SimpleNamespace(status=lambda model: SimpleNamespace(state="loading"))
    monkeypatch.setattr(lesson, "engine", lambda: loading)
    monkeypatch.setattr(
        lesson, "run_of", lambda model, prompt: SimpleNamespace(about={"n_layers": 3})
    )
    step = Place(lessons()["predictions"], 1)
    lesson.come_to(step)
    assert applied == []
    with pytest.raises(Done):
        lesson.panel(step, "small", "Another text")
    assert applied == [(1, 3, "Another text")]
    assert lesson._UNREADY not in state
