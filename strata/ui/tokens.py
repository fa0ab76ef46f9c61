"""The prompt as a strip of buttons, one a token, tinted by a quantity; a click sets a slider."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

_HERE = Path(__file__).parent


@cache
def _component() -> Any:
    css, js = ((_HERE / name).read_text("utf-8") for name in ("tokens.css", "tokens.js"))
    return st.components.v2.component("strata_tokens", css=css, js=js)


def token_strip(
    frame: pd.DataFrame, chosen: int, *, title: str, low: str, high: str, slider: str
) -> None:
    """Tokens as buttons. Columns: shown, tip, level (0 to 1, how deep the tint is).

    A click moves the slider with the session-state key `slider` to the token's position.
    """

    def choose() -> None:
        position = st.session_state[key].chosen
        if isinstance(position, int) and 0 <= position < len(frame):
            st.session_state[slider] = position

    key = f"strip_{slider}"
    data = {
        "tokens": frame[["shown", "tip", "level"]].to_dict("records"),
        "chosen": int(chosen),
        "title": title,
        "low": low,
        "high": high,
    }
    _component()(key=key, data=data, on_chosen_change=choose)
