"""Where a page shows what its class shares: the vote, the teacher's call, that it is closed."""

from __future__ import annotations

import streamlit as st

from strata.ui.component import component


def the_class() -> None:
    """Draw it; from then on the browser is told by `strata.ui.live`, without a run of the page."""
    with st.container(key="live"):
        component("strata_live", ("live.js",), "live.css")(key="class_panel")
