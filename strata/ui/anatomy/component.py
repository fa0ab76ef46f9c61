"""Components of our own: a script, and perhaps a style, beside the module that uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.bidi_component import main


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


def _with_events(aggregator: str, *_: object) -> Callable[[Any, Any], Any]:
    """Shows a component's state with what it has just triggered, as Streamlit's own does."""

    def present(state: Any, session: Any) -> Any:
        try:
            said = session._new_widget_state[aggregator]
        except KeyError:
            return state
        said = [said] if isinstance(said, dict) else said or ()
        events = [each for each in said if isinstance(each, dict) and "event" in each]
        if not events or not isinstance(state, dict):
            return state
        return {**{each["event"]: each.get("value") for each in events}, **state}

    return present


# At each reading of all session state, which every select box and text field does once a run,
# Streamlit makes a new class for each component, so that its state can be assigned to. Ours are not
# assigned to, and those classes, twenty a run, were three quarters of the garbage to be collected.
if hasattr(main, "make_bidi_component_presenter"):
    main.make_bidi_component_presenter = _with_events  # type: ignore[assignment]
