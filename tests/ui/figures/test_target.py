"""The box of a target: what a learner typed is shown as all tokens are."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from streamlit.testing.v1 import AppTest

from strata.concepts.target import note, target
from strata.errors import InputError
from strata.model import Model
from strata.ui.figures.target import _as_shown


def test_a_typed_word_is_shown_with_its_space(tiny: Callable[[str], Model]) -> None:
    model = tiny("gpt2")
    word = next(each for each in ("the", "on", "cat", "a") if not note(target(model, each)))
    page: Any = SimpleNamespace(ask=lambda view, word: target(model, word))
    assert _as_shown(page, word) == f"␣{word}"
    assert _as_shown(page, f"␣{word}") == f"␣{word}", "and stays so"
    assert _as_shown(page, "catamaran") == "catamaran", "several tokens are told of below"
    assert _as_shown(page, 5) == 5

    def refused(view: str, word: str) -> None:
        raise InputError("Type a word to follow.")

    assert _as_shown(SimpleNamespace(ask=refused), "") == ""


def refused() -> None:
    from types import SimpleNamespace

    import streamlit as st

    from strata.errors import InputError
    from strata.ui.figures.target import _chosen

    def ask(view: str, word: str) -> None:
        raise InputError(f"No token is {word}.")

    page: Any = SimpleNamespace(ask=ask, model="tiny", about={"d_vocab": 300})
    st.session_state["minus_choice"] = "xyz"
    _chosen(page, st.columns(2)[1], "minus", "Minus another word", "nothing", {})


def test_a_refused_word_is_said_below_its_box() -> None:
    at = AppTest.from_function(refused).run()
    assert not at.exception
    assert [each.value for each in at.columns[1].text] == ["No token is xyz."]
