"""The bars of the next tokens: they follow what is typed, and a click on one appends its token.

What is typed and not yet sent as the prompt is nobody's business: it comes from the browser to this
fragment, goes to the engine as a spare job, and is kept in the session alone, until the page is
drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.charts import Chart
from strata.concepts.predictions import words
from strata.display.tokens import display_candidate, distinct, is_text
from strata.engine import Job
from strata.errors import StrataError
from strata.ui.anatomy import ask, sidebar, style
from strata.ui.anatomy.component import component
from strata.ui.anatomy.page import Page, draw
from strata.ui.figures.predicted import bars

_KEY, _SHOWN, _COUNT, _REFUSED = "typed", "typed_shown", "typed_count", "append_refused"
BUSY = "The model has other work; the bars follow again once it is free."


@dataclass(frozen=True)
class _Shown:
    """What the bars are of while something is typed, and what is said of them."""

    text: str = ""
    top: pd.DataFrame | None = None  # None: the prompt's own
    note: str = ""
    busy: bool = False


@st.fragment
def next_tokens(
    page: Page, top: pd.DataFrame, position: int, sentence: str, detail: Callable[[], None]
) -> None:
    """The bars of `next_token` after `position`, or of what is typed into the prompt meanwhile.

    `detail` draws beside them what else the prompt's own run says there, which it does not say of
    what is typed.
    """
    state = st.session_state
    if state.text != page.prompt:  # a token was appended
        st.rerun()
    shown = state[_SHOWN] = _shown(page, len(top))
    count = state[_COUNT] = state.get(_COUNT, 0) + 1
    if shown.top is None:
        before, said = _so_far(page, position), ""
        chart = page.made("bars", lambda: _own(page, top, position, sentence), position, len(top))
    else:
        top, before = shown.top, shown.text
        said = words.typed_reading(before, top)
        chart = bars(top, "What may follow what you type", said)
    figure, beside = st.columns([2, 1], gap="large")
    with beside:
        if shown.top is None:
            detail()
        else:
            style.say("note", "What really follows, and the entropy, wait.", "beside_typed")
    append = partial(_append, before, dict(zip(top["token_id"], top["predicted"], strict=True)))
    with figure:
        draw(
            chart,
            "next_tokens",
            read=False,
            number=state.get("appended", 0),
            on_pick=lambda mark: append(mark.get("token_id")),
            in_passing=shown.top is not None,
            of=page.subject if shown.top is None else replace(page.subject, prompts=(before,)),
            note=page.most(len(top)),
        )
        with st.container(key="append", horizontal=True, vertical_alignment="center"):
            _choice(top, append)
            note = state.pop(_REFUSED, "") or shown.note or said or _how(page, position)
            style.say("note", note, "typed")
    hears = component("strata_typed", __file__, ("typed.js",))
    hears(key=_KEY, data={"drawn": count, "busy": shown.busy}, on_typed_change=lambda: None)


def _shown(page: Page, k: int) -> _Shown:
    """What the bars are of now. A run of the whole page forgets what was typed before it."""
    state, context = st.session_state, get_script_run_ctx()
    is_whole = context is None or not context.fragment_ids_this_run
    before = _Shown() if is_whole else state.get(_SHOWN, _Shown())
    heard = state.get(_KEY)
    text = heard.get("typed") if isinstance(heard, dict) else None
    if not isinstance(text, str) or state.get("figure_waits"):
        return before
    if text == page.prompt:
        return _Shown()
    try:
        job = Job(view="predictions.upcoming", model=page.model, prompt=text, params={"k": k})
        top = ask.in_passing(job)
    except StrataError as error:
        return _Shown(before.text, before.top, f"The bars stay as they are. {error}")
    if top is None:
        return _Shown(before.text, before.top, BUSY, busy=True)
    return _Shown(text, top)


def _so_far(page: Page, position: int) -> str:
    """The text that a token chosen at this position is put after."""
    if position == page.n_tokens - 1:
        return page.prompt
    return str(page.ask("predictions.so_far", position=position)["text"][0])


def _own(page: Page, top: pd.DataFrame, position: int, sentence: str) -> Chart:
    """The bars of the prompt itself."""
    subject = f"What may follow {page.shown(position)} at position {position}"
    following = page.tokens["token_id"].iloc[position + 1 : position + 2].tolist()
    return bars(top, subject, sentence, *following)


def _how(page: Page, position: int) -> str:
    """What can be done with the bars."""
    if position == page.n_tokens - 1:
        return "Click a bar to append its token. While you type in the prompt, the bars follow."
    return (
        f"Click a bar to go on with its token after “{page.shown(position)}”, in place of what "
        "stands there."
    )


def _choice(top: pd.DataFrame, append: partial[None]) -> None:
    """The same as a click, by the keyboard."""
    labels = distinct(map(display_candidate, top["predicted"]))
    key = f"append_{st.session_state.get('appended', 0)}"

    def take() -> None:
        chosen = st.session_state[key]
        if chosen is not None:
            append(int(top["token_id"].iloc[chosen]))

    st.selectbox(
        "Append a token",
        range(len(labels)),
        None,
        labels.__getitem__,
        key=key,
        on_change=take,
        placeholder="Append …",
        label_visibility="collapsed",
        width=140,
    )


def _append(before: str, candidates: dict[int, str], token_id: Any) -> None:
    """Make the text with this token the prompt; before the page is drawn."""
    state, text = st.session_state, candidates.get(token_id)
    if text is None:
        return
    state["appended"] = state.get("appended", 0) + 1  # a new chart, in which nothing is chosen
    if is_text(text):
        sidebar.take_prompt(before + text)
        return
    state[_REFUSED] = (
        f"“{display_candidate(text)}” cannot be appended: it is only a part of a character, or no "
        "text at all."
    )
