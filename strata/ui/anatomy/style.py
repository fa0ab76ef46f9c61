"""What the theme cannot say: a logo, a window's name, a drawer that closes, a plain sentence."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.concepts.views import concepts
from strata.ui.anatomy.component import component
from strata.ui.server.index import ROOMS

_HERE = Path(__file__).parent

_ICON, _LOGO = (  # as addresses: of a path Streamlit reads the file at every run
    f"data:image/svg+xml;base64,{b64encode((_HERE / name).read_bytes()).decode()}"
    for name in ("icon.svg", "logo.svg")
)


def apply(step: str = "") -> None:
    """Page settings and logo; once a run, before anything is drawn.

    `step`: the step of a lesson that is shown; another one is shown from its top.
    """
    st.set_page_config(page_icon=_ICON, layout="wide")
    st.logo(_LOGO, size="large")
    with st.container(key="drawer"):
        component("strata_drawer", __file__, ("drawer.js",))(
            key="closes_drawer", data={"step": step, "plain": plain()}
        )


@cache
def plain() -> dict[str, str]:
    """What each page is about in two or three words, by its address."""
    return {stem: module.CONCEPT.plain for stem, module in concepts().items()}


def name_window(*parts: str) -> None:
    """What the browser's window and its history call this page, the most particular first."""
    st.set_page_config(page_title=" · ".join((*parts, "Strata")))


def room(height: int, key: str) -> DeltaGenerator:
    """A place for something of about `height` pixels, which it takes before that has come."""
    return _drawn(st.container(key=tall(height, key)))


def tall(height: int, key: str) -> str:
    """The key of a container that is never less high than about `height` pixels."""
    return f"room{max(each for each in ROOMS if each <= max(0, height))}_{key}"


def leads() -> DeltaGenerator:
    """A place for what a view is about, once a page: on a phone it comes before the controls that
    stand in a container of the key "edit"."""
    return _drawn(st.container(key="leads"))


def _drawn(place: DeltaGenerator) -> DeltaGenerator:
    """A place that is there at once: Streamlit draws no container in which there is nothing."""
    place.empty()
    return place


def say(kind: str, text: str, name: str = "") -> None:
    """A refusal, warning or note as plain text: Markdown would draw a learner's words.

    `name` tells several of a kind on one page apart.
    """
    with st.container(key=f"say_{kind}_{name}"):
        st.text(text)
