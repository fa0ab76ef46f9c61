"""What an address keeps besides what Streamlit binds to it, and how it holds numbers."""

from __future__ import annotations

import streamlit as st


def remember(name: str, value: str | None) -> None:
    """Keep a value in the address of this page; None removes it.

    Only a change is sent: each message holds the whole address as it was when the run began, and
    takes back what a control that was moved since has written there.
    """
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def whole_number(text: str) -> int | None:
    """A whole number of up to nine digits, as an address holds it; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
