"""Where a page shows what its class shares: the vote, the teacher's call, that it is closed."""

from __future__ import annotations

import streamlit as st

from strata.ui.anatomy.component import component


def the_class() -> None:
    """Draw it; from then on the browser is told by `strata.ui.server.live`, and no page runs."""
    with st.container(key="live"):
        component("strata_live", __file__, ("live.js",), "live.css")(key="class_panel")
