"""Asking the engine from a page: wait visibly, let go when the learner has moved on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.engine import Job
from strata.ui.resources import engine

_PATIENCE = 0.25  # seconds before a wait is worth showing
_DEADLINE = 600.0  # seconds


def learner() -> str | None:
    """Who asks: this browser session."""
    context = get_script_run_ctx()
    return context.session_id if context else None


def until_ready(model: str) -> dict[str, Any]:
    """Facts about a model, once it can answer; until then its progress. ModelError if it failed."""
    engine().ensure(model)
    place = None
    while (status := engine().status(model)).state in ("absent", "loading"):
        place = place or st.empty()
        place.progress(min(1.0, status.fraction), text=status.message or "Loading the model")
        time.sleep(_PATIENCE)
    if place is not None:
        place.empty()
    return engine().describe(model)


def run(job: Job, meanwhile: Callable[[], object] | None = None) -> pd.DataFrame:
    """The job's table. Raises StrataError; a rerun in the meantime gives the job up.

    `meanwhile` draws what belongs under the progress, once there is a wait worth showing.
    """
    future = engine().submit(job, learner=learner(), deadline=_DEADLINE)
    try:
        try:
            return future.result(timeout=_PATIENCE)
        except TimeoutError:
            pass
        place = st.empty()
        with place.container():
            bar = st.progress(0.0)
            if meanwhile is not None:
                meanwhile()
        while True:  # each call below lets Streamlit interrupt this run
            fraction, message = future.progress
            ahead = future.position or 0
            text = f"{ahead} ahead of you" if ahead else (message or "Computing")
            bar.progress(min(1.0, fraction), text=text)
            try:
                frame = future.result(timeout=_PATIENCE)
            except TimeoutError:
                continue
            place.empty()
            return frame
    finally:
        if not future.done():
            future.cancel()
