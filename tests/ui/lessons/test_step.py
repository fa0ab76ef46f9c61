"""A step of a lesson puts its page into the state that it asks about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from strata.engine import Job
from strata.lessons import lessons
from strata.ui.anatomy import ask, sidebar
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


def test_a_position_told_from_the_end_is_of_the_steps_own_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that it is the same token for a model that puts a start token before each text."""
    state: dict[str, Any] = {"model": "small"}
    asked: list[tuple[str, str]] = []

    def run(job: Job) -> list[int]:
        asked.append((job.model, job.prompt))
        return [0] * 6  # with a start token

    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(ask, "run", run)
    monkeypatch.setattr(sidebar, "take_prompt", lambda text: None)
    patching = lessons()["patching"]
    lesson._apply(Place(patching, 0), 4, "Another text of many tokens")
    assert asked == [("small", "The capital of France is")]
    assert state["at"] == 4, "the token before the last"
    assert state["at_of"] == ("The capital of France is", "patching", 4)
    assert lesson._settings(Place(patching, 1), "x", 4)["at"] == 5
    assert lesson._settings(Place(patching, 1), "x", 0)["at"] == 0, "while nothing is known"
    assert len(asked) == 2


def test_a_step_that_a_link_opens_has_its_position_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page has its prompt already, so that there is nothing to press."""
    state: dict[str, Any] = {"model": "small"}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(st, "query_params", {})
    monkeypatch.setattr(ask, "run", lambda job: [0] * 5)
    about_a_beam = Place(lessons()["jacobian_lens"], 3)
    assert lesson._set_up(about_a_beam, "The capital of France is", 30)
    assert state["at"] == 3
    assert state["at_of"] == ("The capital of France is", "jacobian_lens", 3)


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
