"""A step of a lesson puts its page into the state that it asks about."""

from __future__ import annotations

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
