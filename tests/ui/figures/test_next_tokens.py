"""The bars of the next tokens: what they are of while something is typed, and what a click does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from strata.engine import Job
from strata.errors import InputError
from strata.ui.anatomy import ask, sidebar
from strata.ui.figures import next_tokens
from strata.ui.figures.next_tokens import _append, _Shown, _shown

PAGE: Any = SimpleNamespace(prompt="The cat", model="tiny")
TOP = pd.DataFrame({"token_id": [5], "predicted": [" sat"]})
EARLIER = _Shown("The c", TOP)


class Learner:
    """One who types, and what the engine is asked meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state: dict[str, Any] = {next_tokens._SHOWN: EARLIER}
        self.context = SimpleNamespace(fragment_ids_this_run=["this one"])
        self.answer: Callable[[], pd.DataFrame | None] = lambda: TOP
        self.jobs: list[Job] = []
        monkeypatch.setattr(st, "session_state", self.state)
        monkeypatch.setattr(next_tokens, "get_script_run_ctx", lambda: self.context)
        monkeypatch.setattr(ask, "in_passing", self._asked)

    def _asked(self, job: Job) -> pd.DataFrame | None:
        self.jobs.append(job)
        return self.answer()

    def types(self, told: Any) -> _Shown:
        self.state["typed"] = told if isinstance(told, list) else {"typed": told}
        return _shown(PAGE, 7)


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> Learner:
    return Learner(monkeypatch)


def test_the_bars_are_of_what_is_typed(learner: Learner) -> None:
    assert learner.types("The cat s") == _Shown("The cat s", TOP)
    view, params = "predictions.upcoming", {"k": 7}
    assert learner.jobs == [Job(view=view, model="tiny", prompt="The cat s", params=params)]
    assert learner.types("The cat") == _Shown(), "the prompt itself has its bars"
    assert len(learner.jobs) == 1


@pytest.mark.parametrize("told", [None, 7, ["The cat s"], {"typed": "The cat s"}])
def test_where_nothing_is_typed_they_stay(learner: Learner, told: Any) -> None:
    assert learner.types(told) == EARLIER
    assert learner.jobs == []


def test_a_run_of_the_whole_page_forgets_what_was_typed_before(learner: Learner) -> None:
    learner.context.fragment_ids_this_run = None
    assert learner.types(None) == _Shown()
    assert learner.types("The cat s").text == "The cat s", "but not what is typed just now"


def test_a_step_that_hides_its_figure_asks_nothing(learner: Learner) -> None:
    learner.state["figure_waits"] = True
    assert learner.types("The cat s") == EARLIER
    assert learner.jobs == []


def test_a_busy_model_is_asked_again_later(learner: Learner) -> None:
    learner.answer = lambda: None
    assert learner.types("The cat s") == _Shown("The c", TOP, next_tokens.BUSY, busy=True)


def test_what_cannot_be_read_leaves_the_bars_as_they_are(learner: Learner) -> None:
    def refused() -> pd.DataFrame:
        raise InputError("The prompt is empty.")

    learner.answer = refused
    note = "The bars stay as they are. The prompt is empty."
    assert learner.types("") == _Shown("The c", TOP, note)


@pytest.mark.parametrize(
    ("text", "taken", "said"),
    [
        (" sat", ["The cat sat"], ""),
        ("🌍", ["The cat🌍"], ""),  # a part that completes a character
        ("⟨F0 9F⟩", [], "“⟨F0 9F⟩” cannot be appended"),
        (" ⟨E2⟩", [], "“␣⟨E2⟩” cannot be appended"),
        ("�a", [], "“�a” cannot be appended"),
        ("", [], "“∅ no token” cannot be appended"),
    ],
)
def test_a_click_appends_what_is_text(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, text: str, taken: list[str], said: str
) -> None:
    prompts: list[str] = []
    monkeypatch.setattr(sidebar, "take_prompt", prompts.append)
    for token_id in (4, None, "5", 5):  # only the last one is a bar's
        _append("The cat", {5: text}, token_id)
    assert prompts == taken
    assert learner.state.get(next_tokens._REFUSED, "").startswith(said)
    assert learner.state["appended"] == 1
