"""What the model writes after a prompt, once somebody wants to see it."""

from __future__ import annotations

import streamlit as st

from strata.display import display_lines
from strata.ui.page import Page
from strata.words import TERMS


def goes_on(page: Page) -> int:
    """The greedy continuation, in a part of the page to open; how many tokens it is to have.

    Closed for each new prompt, unless the address has its length at first: to write ten tokens
    costs more than all else on a page together.
    """
    number, of = st.session_state.get("goes_on_of", (0, page.prompt))
    number += of != page.prompt
    st.session_state["goes_on_of"] = number, page.prompt
    key = f"goes_on_{number}"
    if number == 0:
        st.session_state.setdefault(key, "more" in st.query_params)
    title = "Let it go on from the prompt's end, always taking the top token"
    with st.expander(title, key=key, on_change="rerun") as opened:
        length, text = st.columns([1, 2], gap="large", vertical_alignment="center")
        n_tokens = length.slider(
            "Tokens to write", 1, 60, 12, key="more", bind="query-params", help=TERMS["greedy"]
        )
        if opened.open:
            written = page.ask("run.continuation", n_tokens=n_tokens)["text"][0]
            if written:
                text.code(display_lines(written), language=None, wrap_lines=True)
            else:
                text.text("The model ends its text here.")
    return int(n_tokens)
