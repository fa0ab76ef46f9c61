"""What the theme cannot say: a page that begins near the top, a logo, a drawer that closes."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import streamlit as st

from strata.ui.anatomy.component import component

_HERE = Path(__file__).parent

_CSS = (_HERE / "style.css").read_text("utf-8")
_ICON, _LOGO = (  # as addresses: of a path Streamlit reads the file at every run
    f"data:image/svg+xml;base64,{b64encode((_HERE / name).read_bytes()).decode()}"
    for name in ("icon.svg", "logo.svg")
)


def apply(step: str = "") -> None:
    """Page settings, logo and the few rules of our own; once a run, before anything is drawn.

    `step`: the step of a lesson that is shown; another one is shown from its top.
    """
    st.set_page_config(page_icon=_ICON, layout="wide")
    st.logo(_LOGO, size="large")
    st.html(f"<style>{_CSS}</style>")
    with st.container(key="drawer"):
        component("strata_drawer", __file__, ("drawer.js",))(
            key="closes_drawer", data={"step": step}
        )


def name_window(*parts: str) -> None:
    """What the browser's window and its history call this page, the most particular first."""
    st.set_page_config(page_title=" · ".join((*parts, "Strata")))


def say(kind: str, text: str, name: str = "") -> None:
    """A refusal, warning or note as plain text: Markdown would draw a learner's words.

    `name` tells several of a kind on one page apart.
    """
    with st.container(key=f"say_{kind}_{name}"):
        st.text(text)
