"""Parts of the page of predictions: the strip of tokens, the bars, how the text goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts import Chart
from strata.charts.subject import in_a_line
from strata.concepts.predictions import words
from strata.display.terms import TERMS
from strata.display.tokens import display_candidate, display_lines, distinct
from strata.ui.anatomy.controls import one_of, themselves
from strata.ui.anatomy.page import Page
from strata.ui.figures.tokens import Tokens, token_strip, tokens_of_strip


def surprisal_strip(page: Page, foreseen: pd.DataFrame, position: int) -> None:
    """The prompt coloured by surprisal; a click moves the slider "at"."""

    def make() -> Tokens:
        named = page.named(foreseen)
        tips, levels = words.tips(named), words.tints(named)
        return tokens_of_strip(page.tokens["shown"], tips=tips, levels=levels)

    coloured = page.made("strip", make)
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


def bars(top: pd.DataFrame, subject: str, sentence: str, followed: int | None = None) -> Chart:
    """The top next tokens, each to be clicked; in orange the id that really followed."""
    frame = top.assign(
        label=distinct(map(display_candidate, top["predicted"])),
        order=range(len(top)),
        value=top["prob"],
        chosen=top["token_id"] == followed,
    )
    return charts.bars(frame, subject, sentence, picks=True)


@dataclass(frozen=True)
class Written:
    """How the text goes on: what was chosen, and what came of it (None: nobody has looked)."""

    n_tokens: int
    temperature: float  # 0: greedy
    seed: int
    text: str | None = None

    @property
    def choices(self) -> dict[str, Any]:
        """What a program needs to write the same."""
        drawn = {"temperature": self.temperature, "seed": self.seed} if self.temperature else {}
        return {"n_tokens": self.n_tokens, **drawn}

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The table of it, if somebody has looked."""
        return {} if self.text is None else {"continuation": pd.DataFrame([asdict(self)])}


def continuation(page: Page) -> Written:
    """How the text goes on, for who opens it.

    Closed for each new prompt, unless the address has it at first: to write ten tokens costs more
    than all else on the page together.
    """
    number, of = st.session_state.get("goes_on_of", (0, page.prompt))
    number += of != page.prompt
    st.session_state["goes_on_of"] = number, page.prompt
    key = f"goes_on_{number}"
    if number == 0:
        st.session_state.setdefault(key, bool({"more", *_DRAWING} & set(st.query_params)))
    going = "Let it go on from the prompt's end, greedy or sampled"
    with st.expander(going, key=key, on_change="rerun") as opened:
        chosen, text = st.columns([1, 2], gap="large", vertical_alignment="center")
        with chosen:
            written = _chosen()
        if opened.open:
            found = page.ask("run.continuation", **written.choices)["text"][0]
            written = replace(written, text=found)
            with text:
                if found:
                    st.code(display_lines(found), language=None, wrap_lines=True)
                else:
                    st.text("The model ends its text here.")
                st.caption(words.way_of_writing(written.temperature, written.seed))
    return written


_DRAWING = ("write", "temperature", "draw")  # keys of the controls, beside "more"


def _chosen() -> Written:
    """The controls: how many tokens, and how each is chosen."""
    n_tokens = st.slider("Tokens to write", 1, 60, 12, key="more", bind="query-params")
    ways = ["Greedy", "Sampled"]
    here, names = st.container(), themselves(ways)
    way = one_of(here, "Each token", names, key="write", help=TERMS["greedy"])
    if way == ways[0]:
        return Written(int(n_tokens), 0.0, 0)
    temperature = st.slider(
        "Temperature",
        0.1,
        2.0,
        1.0,
        0.1,
        key="temperature",
        bind="query-params",
        help=TERMS["temperature"],
    )
    seed = st.number_input("Seed", 0, 9_999, 0, key="draw", bind="query-params", help=TERMS["seed"])
    return Written(int(n_tokens), round(float(temperature), 1), int(seed))
