"""Who is learning: the one at this laptop, or whoever typed a resume code."""

from __future__ import annotations

from functools import cache
from ipaddress import ip_address
from urllib.parse import urlsplit

import streamlit as st

from strata.lessons.progress import LOCAL, Progress, new_code
from strata.weights import state

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via")


@cache
def progress() -> Progress:
    """Guesses and notes of all learners."""
    return Progress(state() / "lessons.sqlite")


def learner() -> str:
    """Whose progress this is: `LOCAL` on one's own machine, otherwise this session's code."""
    if is_local():
        return LOCAL
    if "resume_code" not in st.session_state:
        st.session_state["resume_code"] = new_code()
    return str(st.session_state["resume_code"])


def is_local() -> bool:
    """Whether server and browser are one machine, with no proxy between that could hide others."""
    headers = st.context.headers
    if any(name in headers for name in _FORWARDED):
        return False
    named = urlsplit(headers.get("Origin", "")).hostname or ""
    return _loopback(str(st.get_option("server.address") or "")) and _loopback(named)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
