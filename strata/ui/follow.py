"""Where a page shows what its class shares: the vote, the teacher's call, that it is closed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent


@cache
def _panel() -> Any:
    css, js = ((_HERE / f"live.{ending}").read_text("utf-8") for ending in ("css", "js"))
    return st.components.v2.component("strata_live", css=css, js=js)


def the_class() -> None:
    """Draw it; from then on the browser is told by `strata.ui.live`, without a run of the page."""
    with st.container(key="live"):
        _panel()(key="class_panel")
