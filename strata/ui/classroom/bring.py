"""Bring everyone here: the teacher's page, prompt and settings as an address for the class."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlencode

import streamlit as st

from strata.classroom.roster import Class
from strata.classroom.votes import call
from strata.engine import Job
from strata.errors import InputError, StrataError
from strata.ui.server.learner import database, kept_prompt, prompt_store, roster
from strata.ui.server.resources import engine


def offer(page: str, title: str) -> None:
    """A button for the teacher: the class is asked to come to this page (its address and title),
    as it is set now."""
    groups = [group for group in roster().classes() if not group.closed()]
    if not groups:
        return
    with st.popover("Bring everyone here", icon=":material/campaign:", width="stretch"):
        st.caption("Page, prompt and settings as you see them. A learner may decline.")
        for group in groups[:10]:
            here = partial(_bring, group, page, title)
            st.button(group.name, on_click=here, key=f"bring_{group.id}", width="stretch")


def _bring(group: Class, page: str, title: str) -> None:
    try:
        query = {name: _shared(value, group) for name, value in st.query_params.items()}
        prompt = str(st.session_state.get("text", ""))
        _refuse_if_too_long(prompt, group)
        where = {"path": f"/{page}", "query": urlencode(query), "title": title, "prompt": prompt}
        call(database(), group.id, where)
    except StrataError as error:
        st.toast(str(error))
    else:
        st.toast(f"{group.name} is asked to come here.")


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
    """A part of an address with the teacher's own texts kept for the class, under ids of its own:
    a class finds no texts but its own."""

    def kept(part: str) -> str:
        text = kept_prompt(part)
        return part if text is None else prompt_store().save(text, class_id=group.id)

    return ".".join(kept(part) for part in value.split("."))
