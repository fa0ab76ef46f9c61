"""Settings: a class or a learner under another name, and the class once more."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import streamlit as st

from strata.classroom.changes import duplicate, rename
from strata.classroom.codes import LONGEST_NAME
from strata.classroom.roster import Class
from strata.errors import StrataError
from strata.ui.anatomy import style
from strata.ui.anatomy.controls import pressed
from strata.ui.server.learner import database, roster

# The learner renamed last: a box whose options are called otherwise begins anew, with this one.
RENAMED = "renamed_learner"


def class_names(group: Class) -> None:
    """Rename the class, and make another one like it."""
    with st.container(horizontal=True):
        with st.popover("Rename the class", key=f"rename_class_{group.id}_{group.name}"):
            name = _name("New name of the class", group.name, f"class_name_{group.id}")
            if name is not None and _done(partial(roster().change, group.id, name=name)):
                st.rerun()
        count = len(roster().classes())  # with a class more the menu is another one: closed
        with st.popover("Duplicate the class", key=f"duplicate_{group.id}_{count}"):
            st.caption("Lessons, model and limits under a new code, for other learners.")
            begins = f"{group.name} (2)"[:LONGEST_NAME]
            name = _name("Name of the new class", begins, f"copy_name_{group.id}_{count}")
            if name is not None and _done(partial(duplicate, database(), group.id, name)):
                st.rerun()


def learner_name(member_id: str, name: str) -> None:
    """Rename a learner, everywhere."""
    with st.popover("Rename", key=f"rename_{member_id}_{name}"):
        new = _name("New name", name, f"learner_name_{member_id}")
        if new is not None and _done(partial(rename, database(), member_id, new)):
            st.session_state[RENAMED] = member_id
            st.rerun()


def _name(label: str, before: str, key: str) -> str | None:
    """The name that was typed, once it is to be taken."""
    with st.form(f"form_{key}", border=False):
        typed = st.text_input(label, before, max_chars=LONGEST_NAME, key=f"{key}_{before}")
        return typed if pressed(st.form_submit_button, "Take it", f"take_{key}") else None


def _done(change: Callable[[], object]) -> bool:
    """Whether it was done; why not is said if it was not."""
    try:
        change()
    except StrataError as error:
        style.say("refusal", str(error), "names")
        return False
    return True
