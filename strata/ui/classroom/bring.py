"""Bring everyone here: the teacher's page, prompt and settings as an address for the class."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

import streamlit as st

from strata.classroom.roster import Class
from strata.classroom.votes import call
from strata.engine import Job
from strata.errors import InputError, StrataError
from strata.lessons.report import quoted
from strata.ui.anatomy import style
from strata.ui.anatomy.address import OF_CLASS
from strata.ui.anatomy.controls import pressed
from strata.ui.classroom import this_class
from strata.ui.classroom.class_settings import learners
from strata.ui.classroom.entrance import names_of
from strata.ui.server.learner import database, kept_prompt, prompt_store, roster, time_zone
from strata.ui.server.resources import engine

_NAMED = 12  # of those who are brought


def offer(page: str, title: str) -> None:
    """A menu for the teacher: the class that the teacher is with is asked to come to this page (its
    address and title), as it is set now; what was asked is taken back at the same place."""
    groups = roster().classes()
    if not groups:
        return
    label, icon = "Bring everyone here", ":material/campaign:"
    with st.expander(label, icon=icon, on_change="rerun", key="bring_everyone") as opened:
        if not opened.open:
            return
        open_now = [group for group in groups if not group.closed()]
        group = this_class.among(groups)
        if group is None and len(open_now) == 1:
            group = open_now[0]
        if group is None and open_now:
            group = this_class.choose(open_now, newest=False)
        if group is None:
            if not open_now:
                st.caption("All classes are closed.")
        elif reason := group.closed(zone=time_zone()):
            st.text(f"{reason} Nobody of it can be brought here.")
        else:
            _offer_to(group, page, title)


def _offer_to(group: Class, page: str, title: str) -> None:
    """Who would be brought, a button for it, and what was asked last with the way to undo it."""
    names = list(names_of(group, roster().members(group.id)).values())
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    st.text(f"{group.name}: {learners(len(names))}")
    if not names:
        st.caption("Nobody has joined yet.")
        return
    st.caption(quoted(f"{', '.join(names[:_NAMED])}{more}"))
    st.caption("Page, prompt and settings as you see them. A learner may decline.")
    if pressed(st.button, f"Bring {learners(len(names))} here", f"bring_{group.id}"):
        try:
            _bring(group, page, title)
        except StrataError as error:
            style.say("refusal", str(error), "bring")
    if called := roster().called(group.id):
        with st.container(horizontal=True, vertical_alignment="center", key="called"):
            st.text(f"Asked to come to {called}.")
            undo = partial(call, database(), group.id, None)
            st.button("Undo", on_click=undo, key=f"undo_bring_{group.id}")


def _bring(group: Class, page: str, title: str) -> None:
    asked = {name: value for name, value in st.query_params.items() if name != OF_CLASS}
    query = {name: _shared(value, group) for name, value in asked.items()}
    prompt = str(st.session_state.get("text", ""))
    _refuse_if_too_long(prompt, group)
    where = {"path": f"/{page}", "query": urlencode(query), "title": title, "prompt": prompt}
    call(database(), group.id, where)


def _refuse_if_too_long(prompt: str, group: Class) -> None:
    most, model = group.limits.get("prompt_tokens"), group.model or st.session_state.get("model")
    if most and prompt and model:
        n_tokens = len(engine().run(Job(view="run.tokens", model=model, prompt=prompt)))
        if n_tokens > most:
            raise InputError(
                f"This prompt has {n_tokens:,} tokens, and a learner of {group.name} may use "
                f"{most:,}: shorten it, or change that in the class's settings."
            )


def _shared(value: str, group: Class) -> str:
    """A part of an address with the texts in it kept for the class, under ids of its own: a class
    finds no texts but its own. A learner's stays that learner's, and goes with them."""

    def kept(part: str) -> str:
        text, store = kept_prompt(part), prompt_store()
        return part if text is None else store.save(text, store.owner(part), group.id)

    return ".".join(kept(part) for part in value.split("."))
