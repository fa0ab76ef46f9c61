"""A second run to draw beside the first: another prompt, or another model."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.corpus.examples import BY_ID
from strata.display.tokens import display_text
from strata.errors import StrataError
from strata.ui.anatomy.address import remember
from strata.ui.anatomy.page import Page, distinct
from strata.ui.anatomy.sidebar import offered
from strata.ui.server.learner import keep_prompt, kept_prompt
from strata.ui.server.resources import models

NOTHING, PROMPT, MODEL = "Nothing", "Another prompt", "Another model"
_OWN = "own"


def beside(page: Page, more: str, place: DeltaGenerator, second: DeltaGenerator) -> dict[str, Page]:
    """Choose what to draw beside this run: another one, or the same one in the way of `more`.

    Returns what to draw, by its title: this run first. `second` is the place for the choice of a
    second prompt or model. The address names an example or a model by its id, own text by a random
    id, never by itself.
    """
    chosen = place.selectbox(
        "Beside it", (NOTHING, PROMPT, MODEL, more), key="beside", bind="query-params"
    )
    if chosen == more:
        return {"As it is": page, more: page}
    if chosen == PROMPT and (other := other_prompt(page, second)):
        titles = [f"“{display_text(run.prompt, 50)}”" for run in (page, other)]
    elif chosen == MODEL and (other := _other_model(page, second)):
        titles = [models()[run.model].title for run in (page, other)]
    else:
        return {page.concept.title: page}
    return dict(zip(distinct(titles), (page, other), strict=True))


def other_prompt(page: Page, place: DeltaGenerator) -> Page | None:
    """Choose a second prompt, an example or own text; None while there is none."""
    titles = {name: e.title for name, e in BY_ID.items() if e.prompt != page.prompt}
    chosen = _chosen("Second prompt", "second", titles | {_OWN: "Your own text"}, place)
    if chosen is None:
        return None
    if chosen != _OWN:
        return page.beside(prompt=BY_ID[chosen].prompt)
    text = own_prompt(place)
    return page.beside(prompt=text) if text else None


def own_prompt(place: DeltaGenerator) -> str:
    """A second prompt of the learner's own, "" while there is none; the address names it by a
    random id."""
    _restore()
    row = place.form("second_prompt", border=False)  # as the first, sent by a button
    with row.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        text: str = st.text_area("Your second prompt", key="second_text", height="content")
        st.form_submit_button("Look", on_click=_store, key="look_second")
    remember("second_text", st.session_state.get("second_text_id") if text else None)
    return text


def _other_model(page: Page, place: DeltaGenerator) -> Page | None:
    titles = {name: models()[name].title for name in offered() if name != page.model}
    chosen = _chosen("Second model", "second_model", titles, place)
    return page.beside(model=chosen) if chosen else None


def _chosen(label: str, key: str, titles: dict[str, str], place: DeltaGenerator) -> str | None:
    """An id by its title; at first the one that the address names, or none."""
    wanted = st.session_state.get(key, st.query_params.get(key))
    st.session_state[key] = wanted if wanted in titles else None
    chosen = place.selectbox(
        label, list(titles), None, titles.__getitem__, key=key, placeholder="Choose one"
    )
    remember(key, chosen)
    return chosen


def _restore() -> None:
    """At first, the own text that the address names."""
    prompt_id = st.query_params.get("second_text")
    if "second_text" not in st.session_state and prompt_id:
        try:
            st.session_state.second_text = kept_prompt(prompt_id) or ""
            st.session_state.second_text_id = prompt_id
        except StrataError as error:
            st.toast(str(error))


def _store() -> None:
    try:
        st.session_state.second_text_id = keep_prompt(st.session_state.second_text)
    except StrataError as error:
        st.session_state.second_text_id = None
        st.toast(f"{error} The link to this page will not hold the second prompt.")
