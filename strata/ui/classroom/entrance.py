"""How learners come in: large while nobody is there, folded away once people are; beside it what
the whole class sees: the wall, the timer, whether names are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from urllib.parse import urlsplit

import segno
import streamlit as st

from strata.classroom.roster import Class, Member
from strata.classroom.wall import give_time, hide_names, numbered, wall
from strata.errors import StrataError
from strata.ui.anatomy.component import component
from strata.ui.classroom.class_settings import told_apart
from strata.ui.server.learner import database, is_loopback, roster

_EVERY = 3  # seconds between two looks at the timer
_MINUTES = (1, 2, 3, 5, 10, 20)


def strip(group: Class) -> None:
    """One line below the choice of a class, so that what the teacher works with comes next."""
    folded = bool(roster().members(group.id))
    if not folded:
        entrance(group)
        _address_note()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="class_strip"):
        if folded:
            st.html(f'<span class="class-code">{group.code}</span>', width="content")
            with st.popover("Link and QR code", icon=":material/qr_code_2:"):
                _link_and_picture(group)
                _address_note()
                _sheet(group)
        where = f"/projector?of={group.id}"
        st.link_button("For the projector", where, icon=":material/tv:")
        if not folded:
            _sheet(group)
        _timer(group)
        _names_switch(group)


def entrance(group: Class) -> None:
    """The code, large enough for a projector, and a link that holds it."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="entrance"):
        st.html(f'<span class="class-code">{group.code}</span>', width="content")
        _link_and_picture(group)


def clock(left: float | None) -> None:
    """The seconds that are left of the time that was given, counted on by the browser."""
    drawn = component("strata_clock", __file__, ("clock.js",), "clock.css")
    drawn(key="clock", data={"left": left})


def names_of(group: Class, members: Sequence[Member]) -> dict[str, str]:
    """What the teacher's page calls each of these members of a class, by id: a name that tells them
    apart, or a number while names are hidden."""
    hidden = wall(database(), group.id).names_hidden
    return numbered(members) if hidden else told_apart(list(members))


def _link_and_picture(group: Class) -> None:
    at = urlsplit(st.context.url or "")
    link = f"{at.scheme}://{at.netloc}/join?code={group.code}"
    with st.container():
        st.caption("Class code. Or by link:")
        st.code(link, language=None, wrap_lines=True)
    picture = segno.make(link, error="m").svg_data_uri(scale=4, border=2, light="#fff")
    st.html(f'<img class="class-qr" alt="The link as a QR code" src="{picture}">', width=150)


def _sheet(group: Class) -> None:
    st.link_button("Sheet to print", f"/sheet?of={group.id}", icon=":material/print:")


def _address_note() -> None:
    if is_loopback(urlsplit(st.context.url or "").hostname or ""):
        st.caption(
            "The address in this link is this machine's own: open this page under the address that "
            "the others use, and the link and its picture will be right for them."
        )


def _timer(group: Class) -> None:
    def give(minutes: int | None) -> None:
        time = None if minutes is None else timedelta(minutes=minutes)
        _told(partial(give_time, database(), group.id, time))

    with st.popover("Timer", icon=":material/timer:"):
        st.caption("Everyone sees how much time is left. A vote that is open closes with it.")
        with st.container(horizontal=True, gap="small"):
            for minutes in _MINUTES:
                st.button(f"{minutes} min", on_click=give, args=(minutes,), key=f"timer_{minutes}")
        st.button("Stop the timer", on_click=give, args=(None,), type="tertiary", key="timer_stop")
    with st.container(width="content"):
        st.fragment(_clock, run_every=_EVERY)(group)


def _clock(group: Class) -> None:
    with suppress(StrataError):  # the page says so at its top
        clock(wall(database(), group.id).left())


def _names_switch(group: Class) -> None:
    key = f"hide_names_{group.id}"

    def switch() -> None:
        _told(partial(hide_names, database(), group.id, bool(st.session_state[key])))

    st.session_state[key] = wall(database(), group.id).names_hidden
    st.toggle(
        "Hide names",
        key=key,
        on_change=switch,
        help="Learners are numbered on the wall and on this page, but for Settings and files.",
    )


def _told(change: Callable[[], None]) -> None:
    try:
        change()
    except StrataError as error:
        st.toast(str(error))
