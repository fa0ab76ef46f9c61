"""Who may come into a class: stop joining, a new code, and several learners removed at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import streamlit as st

from strata.classroom import watch
from strata.classroom.roster import Class
from strata.errors import StrataError
from strata.ui.anatomy import style
from strata.ui.classroom.class_settings import export, learners, told_apart
from strata.ui.server.learner import database, roster, time_zone

_BY_NAME, _IDLE, _NEW = "Chosen by name", "All without an answer", "All who joined lately"
_LATELY = 10  # minutes
_NAMED = 20  # of those who would be removed


def _change(group: Class, joining: bool) -> None:
    try:
        roster().change(group.id, joining=joining)
    except StrataError as error:
        st.toast(str(error))


def _renew(group: Class) -> None:
    try:
        roster().renew_code(group.id)
    except StrataError as error:
        st.toast(str(error))


def say_if_shut(group: Class) -> None:
    """That nobody new can come in, with the way to change it."""
    if group.joining:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="shut"):
        style.say("warning", "Nobody new can join. Who is in goes on, and comes back.", "shut")
        change = partial(_change, group, True)
        if st.button("Let learners join again", on_click=change, key="join_again"):
            st.rerun()  # of the page, of which this may be a part that is drawn by itself


def who_may_join(group: Class) -> None:
    """Stop joining and open it again; another class code."""
    with st.container(horizontal=True, vertical_alignment="center"):
        label = "Stop joining" if group.joining else "Let learners join"
        change = partial(_change, group, not group.joining)
        st.button(label, on_click=change, key="stop_joining")
        # Another one once there is another code: closed.
        with st.popover("New code", key=f"new_code_{group.code}"):
            st.caption(
                f"With {group.code}, its link and its picture nobody comes in any more. Who is in "
                "stays in, and resume codes hold."
            )
            st.button("Make a new code", on_click=partial(_renew, group), key="renew_code")


def remove_several(group: Class) -> None:
    """Delete several learners at once, asked once."""
    with st.expander("Remove several learners", on_change="rerun", key="remove_several") as opened:
        if not opened.open:
            return
        chosen = _chosen(group)
        names = told_apart(roster().members(group.id))
        ids = [each for each in names if each in chosen]
        if not ids:
            st.caption("Nobody is chosen.")
            return
        more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
        st.text(f"{', '.join(names[each] for each in ids[:_NAMED])}{more}")
        with st.container(horizontal=True, vertical_alignment="center"):
            export(group, ids, "Export all that is kept of them", "removed.json")
            # Asked anew whenever others are chosen.
            key = f"{len(ids)}_{hash(tuple(ids))}"
            sure = st.checkbox(
                f"Delete {learners(len(ids))} for good, with all answers, notes and prompts: it "
                "cannot be undone",
                key=f"sure_several_{key}",
            )
            st.button(
                f"Remove {learners(len(ids))}",
                on_click=partial(_remove, ids),
                disabled=not sure,
                type="primary",
                key="remove_chosen",
            )


def _chosen(group: Class) -> set[str]:
    """The ids of the learners who are to be removed."""
    members = roster().members(group.id)
    names = told_apart(members)
    how = st.segmented_control(
        "Whom", [_BY_NAME, _NEW, _IDLE], default=_BY_NAME, key="remove_whom", required=True
    )
    if how == _BY_NAME:
        label = "Learners to remove"
        return set(st.multiselect(label, list(names), format_func=names.__getitem__))
    if how == _IDLE:
        done = watch.events(database(), group.id)
        busy = set(done[done["kind"].isin(("guess", "observation"))]["member"])
        return {member.id for member in members if member.id not in busy}
    since = st.number_input("Joined in the last … minutes", 1, 1_440, _LATELY)
    begin = datetime.now(UTC) - timedelta(minutes=since)
    st.caption(f"Since {begin.astimezone(time_zone()):%H:%M}.")
    return {member.id for member in members if member.joined >= begin}


def _remove(ids: list[str]) -> None:
    try:
        roster().forget(*ids)
    except StrataError as error:
        st.toast(str(error))
    else:
        st.toast(f"{learners(len(ids))} removed.")
