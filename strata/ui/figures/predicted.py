"""Parts of the page of predictions: the strip of tokens, the bars, how the text goes on."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts import Chart
from strata.charts.subject import in_a_line
from strata.concepts.predictions import words
from strata.display.terms import TERMS
from strata.display.tokens import display_candidate, display_lines, distinct
from strata.ui.anatomy.page import Page
from strata.ui.figures.tokens import token_strip, tokens_of_strip


def surprisal_strip(page: Page, foreseen: pd.DataFrame, position: int) -> None:
    """The prompt coloured by surprisal; a click moves the slider "at"."""
    coloured = page.made(
        "strip",
        lambda: tokens_of_strip(
            page.tokens["shown"],
            tips=words.tips(foreseen),
            levels=words.tints(foreseen),
        ),
    )
    token_strip(
        coloured,
        position,
        heading="Surprisal of each token of the prompt, in nats",
        about=in_a_line(replace(page.subject, prompts=())),
        title="The prompt's tokens by surprisal; choose one to see what the model expects next",
        low="Surprisal: 0 nats, foreseen",
        high="10 nats or more, a surprise",
        none="no surprisal: nothing came before",
        slider="at",
    )


def bars(page: Page, top: pd.DataFrame, position: int, subject: str, sentence: str) -> Chart:
    """The top next tokens; the chosen bar is the one that really followed."""
    followed = page.tokens["token_id"].iloc[position + 1 : position + 2]

    def made() -> Chart:
        frame = top.assign(
            label=distinct(map(display_candidate, top["predicted"])),
            order=range(len(top)),
            value=top["prob"],
            chosen=top["token_id"].isin(followed),
        )
        return charts.bars(frame, subject, sentence)

    return page.made("bars", made, position, len(top))


def continuation(page: Page) -> int:
    """How the text goes on, for who opens it; how many tokens are chosen.

    Closed for each new prompt, unless the address has it at first: to write ten tokens costs more
    than all else on the page together.
    """
    number, of = st.session_state.get("goes_on_of", (0, page.prompt))
    number += of != page.prompt
    st.session_state["goes_on_of"] = number, page.prompt
    key = f"goes_on_{number}"
    if number == 0:
        st.session_state.setdefault(key, "more" in st.query_params)
    going = "Let it go on from the prompt's end, always taking the top token"
    with st.expander(going, key=key, on_change="rerun") as opened:
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
