"""Components of our own: a script, and perhaps a style, beside the module that uses them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st


@cache
def component(name: str, module: str, scripts: tuple[str, ...], style: str = "") -> Any:
    """The component of these files, which stand beside `module`, a `__file__`; a tuple of scripts
    is one script in this order."""
    here = Path(module).parent
    js = "".join((here / script).read_text("utf-8") for script in scripts)
    css = (here / style).read_text("utf-8") if style else None
    return st.components.v2.component(name, css=css, js=js)


def chosen_of(key: str) -> Any:
    """What a browser has put into the state of the component with this key as `chosen`."""
    state = st.session_state[key]
    return state.get("chosen") if isinstance(state, dict) else None
