"""Components of our own: a script, and perhaps a style, beside the module that uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.bidi_component import main

_HERE = Path(__file__).parent


@cache
def component(name: str, scripts: tuple[str, ...], style: str = "") -> Any:
    """The component of these files; a tuple of scripts is one script in this order."""
    js = "".join((_HERE / script).read_text("utf-8") for script in scripts)
    css = (_HERE / style).read_text("utf-8") if style else None
    return st.components.v2.component(name, css=css, js=js)


def chosen_of(key: str) -> Any:
    """What a browser has put into the state of the component with this key as `chosen`."""
    state = st.session_state[key]
    return state.get("chosen") if isinstance(state, dict) else None


def _as_it_is(*_: object) -> Callable[[object, object], object]:
    return lambda state, session: state


# At each reading of all session state, which every select box and text field does once a run,
# Streamlit makes a new class for each component, so that events show up in its state and the state
# can be assigned to. Ours have no events and are not assigned to, and those classes, twenty a run,
# were nine tenths of all that the garbage collector had to find.
if hasattr(main, "make_bidi_component_presenter"):
    main.make_bidi_component_presenter = _as_it_is  # type: ignore[assignment]
