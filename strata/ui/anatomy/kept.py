"""What is said at the top of a page while the database is away."""

from __future__ import annotations

from contextlib import suppress

import streamlit as st

from strata.classroom import class_mode
from strata.errors import StrataError
from strata.ui.anatomy import style
from strata.ui.server.learner import TEACHER, learner, progress

_SOON, _RARELY = 3.0, 600.0  # seconds between two looks while it is away, and while it is not


def banner() -> None:
    """One sentence while the database is away or something waits for it, nothing otherwise.

    It looks again by itself. That is also why a page that finds its server again after a restart
    runs again: Streamlit asks for that only where something runs by itself.
    """
    with st.container(key="kept"):
        st.fragment(_say, run_every=_SOON if progress().is_away else _RARELY)()


def _say() -> None:
    if not progress().is_away:
        return
    with suppress(StrataError):  # of a learner who has left the class
        style.say("warning", sentence(), "kept")


def sentence() -> str:
    """Where what is done now is, and how much of it waits: the learner's, all of it for the
    teacher. Nothing is called stored before it is."""
    who = learner()
    count = progress().waiting(None if who == TEACHER else who)
    waits = (
        f"{count} {'thing waits' if count == 1 else 'things wait'}" if count else "nothing waits"
    )
    whose = "The class's database" if class_mode() else "The database of your answers"
    if progress().is_durable:
        return (
            f"{whose} cannot be used just now. What you do is kept on this server and goes "
            f"into it as soon as it is back: {waits} now."
        )
    return (
        f"{whose} cannot be used just now, and this server cannot write to its disk. What you do "
        f"is kept only as long as the server runs, which must not be stopped: {waits} now."
    )
