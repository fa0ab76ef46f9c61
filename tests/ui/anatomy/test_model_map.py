"""The small model: where it says one is, which slider a click moves, and where to."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st

from strata.concepts.views import concepts
from strata.ui.anatomy import model_map, place
from strata.ui.anatomy.controls import STANDS

ALL = {"at": 0, "layer": 0}


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    kept: dict[str, Any] = dict(ALL)
    monkeypatch.setattr(st, "session_state", kept)
    return kept


def page(*looks_at: str, stem: str = "predictions") -> Any:
    concept = SimpleNamespace(looks_at=looks_at, views=concepts()[stem].CONCEPT.views)
    return SimpleNamespace(n_tokens=5, n_layers=30, concept=concept, map_place=nullcontext())


@pytest.mark.parametrize(
    ("along", "position", "layer"),
    [(0, 0, 1), (0.19, 0, 6), (0.21, 1, 7), (0.5, 2, 16), (0.99, 4, 30), (1, 4, 30)],
)
def test_a_click_chooses_a_token_and_a_layer(
    state: dict[str, Any], along: float, position: int, layer: int
) -> None:
    model_map._go(page("tokens", "blocks"), ALL, "tokens", along)
    model_map._go(page("tokens", "blocks"), ALL, "blocks", along)
    assert state == {"at": position, "layer": layer}


def test_a_slider_over_blocks_is_moved_to_the_block_itself(state: dict[str, Any]) -> None:
    model_map._go(page("blocks"), {"block": 3}, "blocks", 0.5)
    assert state["block"] == 15


def test_without_a_slider_it_opens_the_page_that_looks_there(state: dict[str, Any]) -> None:
    model_map._go(page("next"), {}, "tokens", 0.5)  # though another page's slider is remembered
    assert state["at"] == 0
    assert place.destination() == "hidden_states"
    model_map._go(page("blocks"), {}, "next", 0.5)
    assert place.destination() == "predictions"
    model_map._go(page("next"), {}, "next", 0.5)
    model_map._go(page("tokens"), {}, "text", 0.5)
    assert place.destination() is None


@pytest.mark.parametrize("along", [None, "0.5", 7, -1, float("nan"), [0.5]])
def test_what_no_click_sends_moves_nothing(state: dict[str, Any], along: object) -> None:
    model_map._go(page("tokens", "blocks", "next"), ALL, "tokens", along)
    model_map._go(page("tokens", "blocks", "next"), ALL, ["tokens"], 0.5)
    assert state == ALL


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ({}, []),
        ({"at": 4}, [("tokens", "at", "token 4", 4)]),
        (
            {"at": 4, "layer": 15},
            [("blocks", "layer", "layer 15", 14), ("tokens", "at", "token 4", 4)],
        ),
        ({"at_layer": 0}, [("blocks", "at_layer", "layer 0", -1)]),
        ({"block": 29}, [("blocks", "block", "block 29", 29)]),
        ({"chosen_block": 23}, [("blocks", "chosen_block", "block 23", 23)]),
    ],
)
def test_it_says_where_the_sliders_of_this_page_stand(
    state: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    stands: dict[str, int],
    said: list[tuple[str, str, str, int]],
) -> None:
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(model_map, "component", lambda *_: lambda data, **_more: drawn.append(data))
    state[STANDS] = stands
    model_map.draw_map(page("tokens"))
    told = [
        (
            each["part"],
            each["key"],
            f"{each['noun']} {each['value']}",
            each["value"] - each["first"],
        )
        for each in drawn[0]["stands"]
    ]
    assert told == said
    model_map.draw_map(page("blocks", stem="evidence"))
    assert [each["tokens"] for each in drawn] == [5, None], "the prompt plays no part there"


def test_every_concept_says_what_it_looks_at() -> None:
    for module in concepts().values():
        concept = module.CONCEPT
        assert concept.looks_at
        assert set(concept.looks_at) <= set(model_map.TIPS)
        assert 0 < len(concept.plain) <= 18
        assert concept.why.endswith(".")
