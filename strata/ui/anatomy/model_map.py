"""The model, small, beside a page's title: what the page looks at, and where its sliders are."""

from __future__ import annotations

from typing import Any

import streamlit as st

from strata.ui.anatomy import place
from strata.ui.anatomy.component import chosen_of, component
from strata.ui.anatomy.opened import Page

_KEY = "model_map"
TIPS = {
    "text": "The prompt, which the tokenizer cuts into tokens.",
    "tokens": "Each token has a state of its own at every layer. A click chooses one.",
    "blocks": "Each block adds to the states; layer n leaves block n - 1. A click chooses a layer.",
    "next": "The last state becomes a probability for each token that may come next.",
}


def draw_map(page: Page) -> None:
    """Draw it. A click moves a slider of the page, where there is one, or opens the page that looks
    at that part."""
    state, last = st.session_state, page.n_tokens - 1
    position, layer = state.get("at"), state.get("layer")
    if (
        not isinstance(position, int)
        or not 0 <= position <= last
        or state.get("at_of", ("",))[0] != page.prompt
    ):
        position = last
    if not isinstance(layer, int) or not 0 <= layer <= page.n_layers:
        layer = None
    where = f"layer {layer}, token {position}" if layer is not None else f"token {position}"
    data = {
        "tokens": page.n_tokens,
        "blocks": page.n_layers,
        "position": position,
        "layer": layer,
        "where": f"You are at {where}",
        "looks_at": list(page.concept.looks_at),
        "tips": TIPS,
    }

    def choose() -> None:
        chosen = chosen_of(_KEY)
        if isinstance(chosen, list) and len(chosen) == 2:
            _go(page, *chosen)

    if page.map_place is not None:
        with page.map_place:
            made = component("strata_model_map", __file__, ("model_map.js",), "model_map.css")
            made(key=_KEY, data=data, on_chosen_change=choose)


def _go(page: Page, part: Any, along: Any) -> None:
    """To what was clicked: `along` a part, from 0 to 1, or None where it was chosen by a key."""
    state, sliders = (
        st.session_state,
        {"tokens": ("at", page.n_tokens - 1), "blocks": ("layer", page.n_layers)},
    )
    if not isinstance(part, str):
        return
    slider, last = sliders.get(part, ("", 0))
    if slider in state and isinstance(along, int | float) and 0 <= along <= 1:
        first = 1 if part == "blocks" else 0
        state[slider] = min(last, first + int(along * (last + 1 - first)))
    elif part == "next" and "next" not in page.concept.looks_at:
        place.to("predictions")
    elif part in ("tokens", "blocks") and part not in page.concept.looks_at:
        place.to("hidden_states")
