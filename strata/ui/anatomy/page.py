"""The body that every page shares: its question here, `figure` and `foot`, which pages have from
here too."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.concepts.run import ABOUT_THE_ANSWER
from strata.concepts.views import concepts, is_of_a_prompt
from strata.display.tokens import distinct as distinct
from strata.ui.anatomy import ask, sidebar, style
from strata.ui.anatomy.address import SPLIT, led_back, of_older_tokens, remember, whole_number
from strata.ui.anatomy.controls import STANDS, TOLD, move, stands, told_moved
from strata.ui.anatomy.figure import draw as draw
from strata.ui.anatomy.figure import draw_row as draw_row
from strata.ui.anatomy.figure import is_asked as is_asked
from strata.ui.anatomy.figure import reading as reading
from strata.ui.anatomy.figure import readings_wait as readings_wait
from strata.ui.anatomy.foot import close_page as close_page
from strata.ui.anatomy.model_map import draw_map
from strata.ui.anatomy.opened import Page as Page
from strata.ui.anatomy.opened import only as only
from strata.ui.anatomy.opened import tokens_of as tokens_of
from strata.ui.anatomy.place import offer
from strata.ui.anatomy.sidebar import Choice
from strata.ui.anatomy.table import show_table as show_table


class Waiting(Exception):
    """The page ends here until the learner of a lesson has committed a prediction."""


def open_page(stem: str) -> Page:
    """Title and question, then wait for the model and read the prompt.

    Raises StrataError when the model cannot be had or the prompt is refused; the frame shows it.
    """
    concept = concepts()[stem].CONCEPT
    st.session_state[STANDS], st.session_state[TOLD] = {}, {}
    with st.container(horizontal=True, vertical_alignment="center", key="title"):
        st.title(concept.title, anchor=False, width="content")
        drawn = style.room(40, "map")
        offer(stem)
    with st.container(key="question"):
        st.markdown(concept.question)
        if concept.why:
            st.caption(concept.why)
    if is_of_a_prompt(concept):
        sidebar.prompt_on_page()
    choice: Choice = st.session_state["choice"]
    about = ask.until_ready(choice.model)
    tokens = tokens_of(choice.model, choice.prompt, about)
    page = Page(stem, concept, choice.model, choice.prompt, about, tokens, map_place=drawn)
    page.is_drawn()
    found = page.findings
    waits = st.session_state.get("figure_waits")
    if waits:  # and so does all else that tells what the model says
        found = [row for row in found if row["code"] not in ABOUT_THE_ANSWER]
    with choice.doctor:
        st.caption(f"{len(tokens)} of {about['prompt_limit']} tokens · on {about['device']}")
        for row in found:
            if row["code"] != "moved":
                style.say(row["severity"], row["message"], row["code"])
    for row in found:
        if row["code"] == "appended":  # no page is then about what the learner thinks it is
            style.say(row["severity"], row["message"], "appended_here")
    say_if_older(page)
    if waits:
        draw_map(page)
        style.say("note", "The figure waits for your prediction.", "waits")
        raise Waiting
    return page


def say_if_older(page: Page, name: str = "") -> None:
    """Say it where an older link counts positions in tokens that are others now, and have the
    address say how this text is split. `name`: see `of_older_tokens`."""
    older = of_older_tokens(page.prompt, page.n_tokens, name)
    moved = next((row for row in page.findings if row["code"] == "moved"), None)
    if moved:
        remember("split", SPLIT)
        if older:
            text = "The second prompt" if name else "This text"
            said = moved["message"].replace("This text", text, 1)
            style.say(moved["severity"], said, f"moved_here{name}")
    elif not name and "at_second" not in st.query_params:
        remember("split", None)


def position_slider(page: Page, label: str, key: str, place: DeltaGenerator) -> int:
    """Choose a token by its position; the last one for a new prompt. The address keeps it."""
    last = page.n_tokens - 1
    if last == 0:
        place.text(f"{label}: the only one, {page.shown(0)}")
        return stands(key, 0)
    # Not bound to the address by Streamlit: that would take the position of the prompt before from
    # there whenever the length of the slider changes.
    state, asked = st.session_state, st.query_params.get(key, "")
    prompt, stem, kept = state.get(f"{key}_of", (page.prompt, "", ""))
    if kept == "" or led_back():
        found = whole_number(asked)
        kept, stem = last if found is None else found, ""
        # Also as the slider's default: a browser may miss the first run, and what it was told.
        state[f"{key}_linked"] = page.prompt, min(kept, last)
    if prompt != page.prompt:
        if kept == state.get(f"{key}_end", last):  # the last token, as it was
            state[key] = last
        else:
            move(key, last, "this is the last token of another text", kept)
    elif stem != page.stem or key not in state:  # each page has its own slider
        state[key] = kept
    if not 0 <= state[key] <= last:
        move(key, last, f"this text has {page.n_tokens} tokens")
    linked, default = state.get(f"{key}_linked", ("", last))
    default = default if linked == page.prompt else last
    chosen = int(place.slider(label, 0, last, default, key=key))
    remember(key, None if chosen == last else str(chosen))
    state[f"{key}_of"], state[f"{key}_end"] = (page.prompt, page.stem, chosen), last
    return stands(key, told_moved(key, chosen, place))
