"""A click on the small model: which slider it moves, and where to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from strata.concepts.views import concepts
from strata.ui.anatomy import model_map, place


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = {"at": 0, "layer": 0}
    monkeypatch.setattr(st, "session_state", kept)
    return kept


def page(*looks_at: str) -> Any:
    return SimpleNamespace(
        n_tokens=5, n_layers=30, concept=SimpleNamespace(looks_at=looks_at), prompt="x"
    )


@pytest.mark.parametrize(
    ("along", "position", "layer"),
    [(0, 0, 1), (0.19, 0, 6), (0.21, 1, 7), (0.5, 2, 16), (0.99, 4, 30), (1, 4, 30)],
)
def test_a_click_chooses_a_token_and_a_layer(
    state: dict[str, Any], along: float, position: int, layer: int
) -> None:
    model_map._go(page("tokens", "blocks"), "tokens", along)
    model_map._go(page("tokens", "blocks"), "blocks", along)
    assert (state["at"], state["layer"]) == (position, layer)


def test_without_a_slider_it_opens_the_page_that_looks_there(state: dict[str, Any]) -> None:
    state.clear()
    model_map._go(page("next"), "tokens", 0.5)
    assert place.destination() == "hidden_states"
    model_map._go(page("blocks"), "next", 0.5)
    assert place.destination() == "predictions"
    model_map._go(page("next"), "next", 0.5)
    model_map._go(page("tokens"), "text", 0.5)
    assert place.destination() is None


@pytest.mark.parametrize("along", [None, "0.5", 7, -1, float("nan"), [0.5]])
def test_what_no_click_sends_moves_nothing(state: dict[str, Any], along: object) -> None:
    model_map._go(page("tokens", "blocks", "next"), "tokens", along)
    model_map._go(page("tokens", "blocks", "next"), ["tokens"], 0.5)
    assert state == {"at": 0, "layer": 0}


def test_every_concept_says_what_it_looks_at() -> None:
    for module in concepts().values():
        concept = module.CONCEPT
        assert concept.looks_at
        assert set(concept.looks_at) <= set(model_map.TIPS)
        assert 0 < len(concept.plain) <= 18
        assert concept.why.endswith(".")
