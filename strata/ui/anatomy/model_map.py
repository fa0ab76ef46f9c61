"""The model, drawn: small beside a page's title, with what the page looks at and where its sliders
are; and once by itself, under the first guess."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from strata.concepts.views import is_of_a_prompt
from strata.ui.anatomy import place
from strata.ui.anatomy.component import chosen_of, component
from strata.ui.anatomy.controls import STANDS
from strata.ui.anatomy.opened import Page

_KEY, _WHOLE = "model_map", "whole_model"
# Of a slider over layers or blocks, by its key, where the bar of block 0 stands; the last is of a
# block that no slider chooses, until a click on its bar does.
_FIRST = {"layer": 1, "at_layer": 1, "block": 0, "chosen_block": 0}
TIPS = {
    "text": "The prompt, which the tokenizer cuts into tokens.",
    "tokens": "Each token has a state of its own at every layer. A click chooses one.",
    "blocks": "Each block adds to the states; layer n leaves block n - 1. A click chooses one.",
    "next": "The last state becomes a probability for each token that may come next.",
}
_OPENS = {  # of a model that stands by itself, where a click chooses none of them
    "tokens": "Each token has a state of its own at every layer.",
    "blocks": "Each block adds to the states; layer n leaves block n - 1.",
}


def draw_map(page: Page) -> None:
    """Draw it. A click moves a slider of the page, where there is one, or opens the page that looks
    at that part."""
    stands: dict[str, int] = st.session_state.get(STANDS, {})
    key = _of_blocks(stands)
    where = [_stand("blocks", key, stands[key])] if key else []
    where += [_stand("tokens", "at", stands["at"])] if "at" in stands else []
    data = {
        "tokens": page.n_tokens if is_of_a_prompt(page.concept) else None,
        "blocks": page.n_layers,
        "stands": where,
        "looks_at": list(page.concept.looks_at),
        "tips": TIPS,
    }

    def choose() -> None:
        chosen = chosen_of(_KEY)
        if isinstance(chosen, list) and len(chosen) == 2:
            _go(page, stands, *chosen)

    if page.map_place is not None:
        with page.map_place:
            _made()(key=_KEY, data=data, on_chosen_change=choose)


def draw_whole(n_tokens: int, n_layers: int, before: Callable[[], None]) -> None:
    """The model that read a text of so many tokens, by itself. A click opens the page that looks at
    that part, after `before`."""
    data = {
        "tokens": n_tokens,
        "blocks": n_layers,
        "stands": [_stand("tokens", "at", n_tokens - 1)],
        "looks_at": list(TIPS),
        "tips": TIPS | _OPENS,
        "whole": True,
    }

    def choose() -> None:
        chosen = chosen_of(_WHOLE)
        if isinstance(chosen, list) and chosen and chosen[0] in TIPS:
            before()
            place.to("hidden_states" if chosen[0] == "blocks" else "predictions")

    _made()(key=_WHOLE, data=data, on_chosen_change=choose)


def _stand(part: str, key: str, value: int) -> dict[str, Any]:
    """Where the slider of this key stands in a part, whose first bar is that of `first`."""
    first = _FIRST.get(key, 0)
    noun = "token" if part == "tokens" else "layer" if first else "block"
    return {"part": part, "key": key, "value": value, "first": first, "noun": noun}


def _made() -> Any:
    return component("strata_model_map", __file__, ("model_map.js",), "model_map.css")


def _of_blocks(stands: Mapping[str, int]) -> str | None:
    return next((key for key in _FIRST if key in stands), None)


def _go(page: Page, stands: Mapping[str, int], part: Any, along: Any) -> None:
    """To what was clicked: `along` a part, from 0 to 1, or None where it was chosen by a key."""
    is_place, key = isinstance(along, int | float) and 0 <= along <= 1, _of_blocks(stands)
    if part == "tokens" and "at" in stands and is_place:
        st.session_state["at"] = min(page.n_tokens - 1, int(along * page.n_tokens))
    elif part == "blocks" and key and is_place:
        st.session_state[key] = min(page.n_layers - 1, int(along * page.n_layers)) + _FIRST[key]
    elif part == "next" and "next" not in page.concept.looks_at:
        place.to("predictions")
    elif part in ("tokens", "blocks") and part not in page.concept.looks_at:
        place.to("hidden_states")
