"""What an address keeps besides what Streamlit binds to it, and how it holds numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

SPLIT = "2"  # how texts were split into tokens when a link was made that counts positions in them
_COUNTED = ("at", "from", "tokens", "positions", "follow", "span")  # what counts tokens
_OPENED = "opened"
OF_CLASS = "of"  # which class a teacher is with: in no address that goes to others


def remember(name: str, value: str | None) -> None:
    """Keep a value in the address of this page; None removes it.

    Only a change is sent: each message holds the whole address as it was when the run began, and
    takes back what a control that was moved since has written there.
    """
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def led_back() -> bool:
    """Whether the browser's way back or forward has led to this address, so that it says what is
    shown, whatever the session has."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def put(values: Mapping[str, Any]) -> None:
    """Have the address to which the way back has led say these values of controls, by their keys:
    it decides what is shown, also for what Streamlit binds to it."""
    context = get_script_run_ctx()
    if context is None or not context.is_history_navigation or not values:
        return
    with context.session_state.query_params() as asked:
        for name, value in values.items():
            asked.set_with_no_forward_msg(name, _written(value))
        asked.set_initial_query_params_from_current()
    first = next(iter(st.query_params))
    if first not in values:  # a browser hears of all of it with any change
        st.query_params[first] = st.query_params[first]


def _written(value: Any) -> str | list[str]:
    """A control's value as Streamlit writes it into an address."""
    if isinstance(value, list | tuple):
        return [str(each) for each in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def named(name: str) -> str | None:
    """What the session has under a name; at first, and where the way back has led to an address
    that says another, what that says."""
    told = st.query_params.get(name)
    if told and led_back():
        return told
    found: str | None = st.session_state.get(name, told)
    return found


def whole_number(text: str) -> int | None:
    """A whole number of up to nine digits, as an address holds it; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def of_older_tokens(prompt: str, n_tokens: int, name: str = "") -> bool:
    """Whether the link that opened this session names a position of this prompt, the first of its
    `name` ("_second": that of the second prompt), and was made before texts were split as now; to
    be asked of the first prompt before `split` is remembered."""
    asked = st.session_state.setdefault(_OPENED, dict(st.query_params))
    first = st.session_state.setdefault(f"{_OPENED}_with{name}", prompt)
    told = " ".join(asked.get(f"{each}{name}", "") for each in _COUNTED)
    here = [n for n in map(whole_number, re.findall(r"\d+", told)) if n is not None]
    return prompt == first and any(n < n_tokens for n in here) and asked.get("split") != SPLIT
