"""The sidebar: which model, which prompt, and a place for what the prompt doctor says of it."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import streamlit as st
from cachetools import TTLCache, cached
from streamlit.delta_generator import DeltaGenerator

from strata.classroom.roster import Seat
from strata.corpus.examples import BY_ID, DEFAULT
from strata.errors import StrataError
from strata.lessons.report import quoted
from strata.ui.anatomy import place
from strata.ui.anatomy.address import remember
from strata.ui.server import seats
from strata.ui.server.learner import beside, keep_prompt, kept_prompt, seat
from strata.ui.server.resources import models
from strata.weights.fitting import menu_title

OWN = "own"  # the choice "your own text" among the examples
_NAMES = [*BY_ID, OWN]


@dataclass(frozen=True)
class Choice:
    """What the learner asks for: a model of the catalogue and a prompt, both not yet tried."""

    model: str
    prompt: str
    doctor: DeltaGenerator  # where the doctor's words go, under the prompt


def choose() -> Choice:
    """Draw the sidebar. Raises ModelError where the catalogue itself cannot be read."""
    restore()
    model = st.selectbox(
        "Model",
        offered(),
        format_func=_menu_title,
        key="model",
        persist_state="session",
    )
    key, chosen = _box("example"), _NAMES.index(st.session_state.example)
    st.selectbox(
        "Example", _NAMES, chosen, _TITLES.__getitem__, key=key, on_change=_choose, args=(key,)
    )
    key = _box("text")
    with st.form("prompt", border=False):  # what is typed stays in the browser until it is sent
        st.text_area("Prompt", st.session_state.text, key=key, height=110)
        st.form_submit_button(
            "Look inside",
            type="primary",
            width="stretch",
            help="Run the model on this prompt",
            on_click=_type,
            args=(key,),
            key="look_inside",
        )
    _link()
    note = _example_note()
    if note and place.current() is None:  # it may tell what a lesson asks
        with st.container(key="example_note"):  # or a vote: `cover.css`
            st.caption(note)
    return Choice(model, st.session_state.text, st.container())


def offered() -> list[str]:
    """The models that may be chosen: the catalogue's, or the one that the class is held with."""
    here = seat()
    if here is not None and here.group is not None and here.group.model in models():
        return [here.group.model]
    return list(models())


def whose_seat(here: Seat) -> None:
    """Who is in which class, and the way out."""
    who = (
        f"{here.member.name} in {here.group.name}" if here.member and here.group else "The teacher"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(who)
        st.link_button("Leave", "/leave", type="tertiary")
    other = beside()
    if other is not None and other.is_teacher != here.is_teacher:
        st.link_button(f"Go on as {quoted(seats.whose(other))}", "/switch", type="tertiary")


def restore() -> None:
    """At the first run of a session: what the address names, or the first model and example."""
    if "text" in st.session_state:
        return
    asked = st.query_params
    if asked.get("model") in offered():
        st.session_state.model = asked["model"]
    example = BY_ID.get(asked.get("example", ""), DEFAULT)
    prompt_id, text = asked.get("prompt"), None
    if prompt_id:
        try:
            text = kept_prompt(prompt_id)
        except StrataError as error:
            st.toast(str(error))
        else:
            if text is None:
                st.toast(
                    "The prompt of this link is not stored here, so an example is shown.",
                    duration="long",
                )
    if text is None:
        st.session_state.example, st.session_state.text = example.id, example.prompt
    else:
        st.session_state.example, st.session_state.text = OWN, text
        st.session_state.prompt_id = prompt_id


@cached(TTLCache(256, 2.0), lock=Lock())  # seconds: it looks for each model's files
def _menu_title(name: str) -> str:
    return menu_title(models()[name])


_TITLES = {name: f"{example.purpose}: {example.title}" for name, example in BY_ID.items()}
_TITLES[OWN] = "Your own text"


def _example_note() -> str:
    example = BY_ID.get(st.session_state.example)
    return example.note if example else ""


def prompt_on_page() -> None:
    """The prompt once more, under the question: on a phone, where the sidebar is put away."""
    with st.container(key="prompt_here"), st.form("prompt_on_page", border=False):
        key, text = _box("here", "text"), st.session_state.text
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text_area("Prompt", text, key=key, height=68, label_visibility="collapsed")
            st.form_submit_button("Look", on_click=_type_here, args=(key,), key="look_here")


def _box(name: str, of: str = "") -> str:
    """The key of a box that shows `st.session_state[of or name]`, a new one where something else
    than the box has changed it: a browser that has not heard of that yet still sends the old value,
    as if the learner had chosen it."""
    number, shown = st.session_state.get(f"{name}_box", (0, None))
    if shown != st.session_state[of or name]:
        number += 1
        st.session_state[f"{name}_box"] = number, st.session_state[of or name]
    return f"{name}_{number}"


def _take(name: str, key: str, of: str = "") -> bool:
    """Keep what was put into a box, if this is still the box, and it is one of its choices."""
    number, _ = st.session_state[f"{name}_box"]
    if key != f"{name}_{number}" or (name == "example" and st.session_state[key] not in _NAMES):
        return False
    st.session_state[of or name] = st.session_state[key]
    st.session_state[f"{name}_box"] = number, st.session_state[key]
    return True


def _choose(key: str) -> None:
    if _take("example", key) and st.session_state.example != OWN:
        st.session_state.text = BY_ID[st.session_state.example].prompt


def take_prompt(text: str) -> None:
    """Make this the prompt, as if it had been typed; before the sidebar is drawn."""
    st.session_state.text = text
    _take_text()


def _type(key: str) -> None:
    if _take("text", key):
        _take_text()


def _type_here(key: str) -> None:
    if _take("here", key, "text"):
        _take_text()


def _take_text() -> None:
    text = st.session_state.text
    same = [name for name, example in BY_ID.items() if example.prompt == text]
    st.session_state.example = same[0] if same else OWN
    if same or not text:
        return
    try:
        st.session_state.prompt_id = keep_prompt(text)
    except StrataError as error:
        st.session_state.pop("prompt_id", None)
        st.toast(f"{error} The link to this page will not hold the prompt.")


def _link() -> None:
    """Write model and prompt into the address, so that it can be reloaded and given away.

    Own text is named by a random id, never by itself: proxies log addresses.
    """
    example, prompt_id = st.session_state.example, st.session_state.get("prompt_id")
    named = {
        "model": None if st.session_state.model == next(iter(models())) else st.session_state.model,
        "example": None if example in (OWN, DEFAULT.id) else example,
        "prompt": prompt_id if example == OWN else None,
    }
    for name, value in named.items():
        remember(name, value)
