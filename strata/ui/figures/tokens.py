"""The prompt as a strip of buttons, one a token, tinted by a quantity; a click sets a slider."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import streamlit as st

from strata.ui.anatomy.component import chosen_of, component

Tokens = list[dict[str, Any]]


def tokens_of_strip(shown: Iterable[str], tips: Iterable[str], levels: Iterable[float]) -> Tokens:
    """The tokens of a strip: what is shown, a tip, and how deep the tint is, 0 to 1; a token whose
    level is missing (NaN) has none."""
    rows = zip(shown, tips, map(float, levels), strict=True)
    return [
        {"shown": text, "tip": tip, "level": None if math.isnan(level) else level}
        for text, tip, level in rows
    ]


def token_strip(
    tokens: Tokens,
    chosen: int,
    *,
    heading: str,
    about: str,
    title: str,
    low: str,
    high: str,
    none: str,
    slider: str,
) -> None:
    """Tokens as buttons, under a heading and what they are of; `title` says what they are for. The
    legend says what both ends of the tint mean, and tokens with `none`. A lesson's guess at a token
    is marked, where it names the strip by its key, "strip_" and the slider's.

    A click moves the slider with the session-state key `slider` to the token's position.
    """

    def choose() -> None:
        position = chosen_of(key)
        if isinstance(position, int) and 0 <= position < len(tokens):
            st.session_state[slider] = position

    key = f"strip_{slider}"
    guess = st.session_state.get("drawn_guess")
    data = {
        "tokens": tokens,
        "chosen": int(chosen),
        "guessed": guess.position if guess is not None and guess.figure == key else None,
        "heading": heading,
        "about": about,
        "title": title,
        "low": low,
        "high": high,
        "none": none,
    }
    component("strata_tokens", __file__, ("tokens.js",), "tokens.css")(
        key=key, data=data, on_chosen_change=choose
    )
