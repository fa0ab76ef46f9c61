"""The sidebar: which model, which prompt, and what the prompt doctor says of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from strata.engine import Job
from strata.errors import StrataError
from strata.examples import BY_ID, DEFAULT
from strata.ui import ask
from strata.ui.resources import engine, models, prompt_store

OWN = "own"  # the choice "your own text" among the examples


@dataclass(frozen=True)
class Choice:
    """A model that is ready and a prompt that it accepts, with the prompt's tokens."""

    model: str
    prompt: str
    about: dict[str, Any]  # engine.describe
    tokens: pd.DataFrame  # position, token_id, token, shown


def choose() -> Choice | None:
    """Draw the sidebar; None when there is no model or the prompt is refused, which it says."""
    try:
        return _choose()
    except StrataError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _choose() -> Choice:
    restore()
    model = st.selectbox(
        "Model",
        list(models()),
        format_func=lambda name: models()[name].title,
        key="model",
    )
    st.selectbox(
        "Example",
        [*BY_ID, OWN],
        format_func=_title,
        key="example",
        on_change=_take_example,
    )
    st.text_area("Prompt", key="text", height=110, on_change=_take_text)
    st.button("Look inside", type="primary", width="stretch", help="Run the model on this prompt")
    _link()
    if note := _example_note():
        st.caption(note)
    return _accepted(model, st.session_state.text, ready(model))


def restore() -> None:
    """At the first run of a session: what the address names, or the first model and example."""
    if "text" in st.session_state:
        return
    asked = st.query_params
    if asked.get("model") in models():
        st.session_state.model = asked["model"]
    example = BY_ID.get(asked.get("example", ""), DEFAULT)
    prompt_id, text = asked.get("prompt"), None
    if prompt_id:
        try:
            text = prompt_store().load(prompt_id)
        except StrataError as error:
            st.toast(str(error))
        else:
            if text is None:
                st.toast("The prompt of this link is not stored here, so an example is shown.")
    if text is None:
        st.session_state.example, st.session_state.text = example.id, example.prompt
    else:
        st.session_state.example, st.session_state.text = OWN, text
        st.session_state.prompt_id = prompt_id


def _title(name: str) -> str:
    if name == OWN:
        return "Your own text"
    return f"{BY_ID[name].purpose}: {BY_ID[name].title}"


def _example_note() -> str:
    example = BY_ID.get(st.session_state.example)
    return example.note if example else ""


def _take_example() -> None:
    if st.session_state.example != OWN:
        st.session_state.text = BY_ID[st.session_state.example].prompt


def _take_text() -> None:
    text = st.session_state.text
    same = [name for name, example in BY_ID.items() if example.prompt == text]
    st.session_state.example = same[0] if same else OWN
    if same or not text:
        return
    try:
        st.session_state.prompt_id = prompt_store().save(text)
    except StrataError as error:
        st.session_state.pop("prompt_id", None)
        st.toast(f"{error} The link to this page will not hold the prompt.")


def _link() -> None:
    """Write model and prompt into the address, so that it can be reloaded and given away.

    Own text is named by a random id, never by itself: proxies log addresses.
    """
    example, prompt_id = st.session_state.example, st.session_state.get("prompt_id")
    named = {
        "model": None if st.session_state.model == next(iter(models())) else st.session_state.model,
        "example": None if example in (OWN, DEFAULT.id) else example,
        "prompt": prompt_id if example == OWN else None,
    }
    for name, value in named.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def ready(model: str) -> dict[str, Any]:
    """Facts of the model once it can answer; until then its progress. ModelError if it failed."""
    engine().ensure(model)
    status = engine().status(model)
    if status.state in ("absent", "loading"):
        bar = st.progress(0.0)
        while (status := engine().status(model)).state in ("absent", "loading"):
            bar.progress(min(1.0, status.fraction), text=status.message or "Loading the model")
            time.sleep(0.2)
        bar.empty()
    return engine().describe(model)


def _accepted(model: str, prompt: str, about: dict[str, Any]) -> Choice:
    def run(view: str) -> pd.DataFrame:
        return ask.run(Job(view=view, model=model, prompt=prompt))

    tokens = run("run.tokens")
    st.caption(f"{len(tokens)} of {about['prompt_limit']} tokens · on {about['device']}")
    for row in run("run.doctor").itertuples():
        if row.severity == "warning":
            st.warning(row.message, icon=":material/warning:")
        else:
            st.caption(row.message)
    return Choice(model, prompt, about, tokens)
