"""What the theme cannot say: a page that begins near the top, and a logo."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent

_CSS = """
.stMainBlockContainer { padding-top: 3.2rem; padding-bottom: 3rem; }
.stMainBlockContainer h1 { font-size: 2rem; padding: 0 0 .2rem; }
.st-key-question p { font-size: 1.12rem; opacity: .85; }
.st-key-reading { border-left: 4px solid var(--st-primary-color, #7557e0); padding: .25rem .9rem; }
.st-key-reading pre, .st-key-reading p { font-size: 1.05rem; }
.st-key-proof { border-top: 1px solid rgba(128, 128, 128, .25); padding-top: .8rem; row-gap: .3rem; }
"""


def apply() -> None:
    """Page settings, logo and the few rules of our own; once a run, before anything is drawn."""
    st.set_page_config(page_title="Strata", page_icon=_HERE / "icon.svg", layout="wide")
    st.logo(_HERE / "logo.svg", size="large")
    st.html(f"<style>{_CSS}</style>")
