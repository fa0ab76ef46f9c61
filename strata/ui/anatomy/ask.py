"""Asking the engine from a page: wait visibly, let go when the learner has moved on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.engine import Future, Job
from strata.errors import BusyError, CancelledError, StrataError
from strata.ui.anatomy.expected import Expected, left
from strata.ui.server import turns
from strata.ui.server.learner import seat
from strata.ui.server.resources import engine, limit

_GLANCE = 0.125  # seconds after which a run that waits gives way to a newer one
_PATIENCE = 2  # glances before a wait is worth showing, and between two looks at how far it is
_CLOSELY, _LATER = 4, 8  # looks after which a wait is long, glances between two then
_DEADLINE = 600.0  # seconds
_FOR_A_GLANCE = 10.0  # seconds that an answer is still of use which is wanted in passing only
_FOR_A_PLACE = 60.0  # seconds that a page waits for a place in the queue
_BETWEEN_TRIES = 10.0  # seconds at most


def learner() -> str | None:
    """Who asks: a member of a class, wherever they are logged in, else this browser session."""
    here = seat()
    if here is not None and here.member is not None and here.group is not None:
        limit(here.member, here.group, st.context.ip_address or "")
        return here.member.id
    context = get_script_run_ctx()
    return context.session_id if context else None


def until_ready(model: str) -> dict[str, Any]:
    """Facts about a model, once it can answer; until then its progress. ModelError if it failed."""
    whose = learner()
    engine().ensure(model, whose)
    place = None
    while (status := engine().status(model)).state in ("absent", "loading"):
        place = place or st.empty()
        place.progress(min(1.0, status.fraction), text=status.message or "Loading the model")
        _sleep()
    if place is not None:
        place.empty()
    facts = engine().describe(model)
    limits = (facts["prompt_limit"], engine().limits(whose).prompt_tokens)
    return facts | {"prompt_limit": min(n for n in limits if n is not None)}


def run(
    job: Job,
    meanwhile: Callable[[], object] | None = None,
    expected: Expected | None = None,
) -> pd.DataFrame:
    """The job's table. Raises StrataError; a rerun in the meantime gives the job up.

    `meanwhile` draws what belongs under the progress, once there is a wait worth showing;
    `expected` says before how long it will be.
    """
    future = _submitted(job)
    try:
        if future.done():
            return future.result()
        with turns.let_others():
            return _awaited(future, meanwhile, expected)
    finally:
        if not future.done():
            future.cancel()


def in_passing(job: Job, deadline: float = _FOR_A_GLANCE) -> pd.DataFrame | None:
    """The job's table if the model has nothing else to do, None where it has; nothing of it is
    kept (but see `strata.concepts.unhurried`). `deadline`: seconds after which it is of no use.
    Raises StrataError; a rerun in the meantime gives the job up."""
    try:
        future = engine().submit(job, learner=learner(), deadline=deadline, spare=True)
    except BusyError:
        return None
    try:
        if not future.done():
            with turns.let_others():
                _wait(future, sys.maxsize)
        return future.result()
    except CancelledError:  # made way for other work
        return None
    finally:
        if not future.done():
            future.cancel()


def _awaited(
    future: Future, meanwhile: Callable[[], object] | None, expected: Expected | None
) -> pd.DataFrame:
    began = time.monotonic()  # of the work itself, once it is its turn
    _wait(future, _PATIENCE)
    if future.done():
        return future.result()
    place = st.empty()
    with place.container():
        if expected is not None and expected.sentence:
            st.caption(expected.sentence)
            if (offer := expected.offer) is not None:
                what, chosen = offer
                key = f"coarser_{expected.view}"
                st.button(what, on_click=st.session_state.update, args=(chosen,), key=key)
        bar = st.progress(0.0)
        if meanwhile is not None:
            meanwhile()
    looks = 0
    while not future.done():
        fraction, text = _waiting(future)
        if future.position:
            began = time.monotonic()
        else:
            elapsed = time.monotonic() - began
            text += expected.left(elapsed, fraction) if expected else left(elapsed, fraction)
        bar.progress(fraction, text)
        _wait(future, _PATIENCE if looks < _CLOSELY else _LATER)
        looks += 1
    place.empty()
    frame = future.result()
    if expected is not None:
        expected.took(time.monotonic() - began)
    return frame


def _wait(future: Future, glances: int) -> None:
    """Until it is done or the time is over; a learner who wants something else ends this run. What
    it fails by is for who asks for its result, when what was drawn meanwhile is gone."""
    for _ in range(glances):
        if future.done():
            return
        with suppress(TimeoutError, StrataError):
            future.result(timeout=_GLANCE)
        st.session_state.get("overtaken")  # at any touch of it Streamlit can end this run


def _sleep() -> None:
    with turns.let_others():
        time.sleep(_PATIENCE * _GLANCE)


def _submitted(job: Job) -> Future:
    """The job with a place in the queue, waited for visibly. BusyError if none gets free."""
    turns.stand_back()  # what is only read off a run is computed here
    whose, until, place = learner(), time.monotonic() + _FOR_A_PLACE, None
    while True:
        try:
            future = engine().submit(job, learner=whose, deadline=_DEADLINE)
        except BusyError as busy:
            again = time.monotonic() + min(max(busy.seconds or 0.0, 1.0), _BETWEEN_TRIES)
            if again > until:
                raise
            place = place or st.empty()
            while time.monotonic() < again:
                place.progress(0.0, text=f"Waiting for a place: {busy}")
                _sleep()
        else:
            if place is not None:
                place.empty()
            return future


def _waiting(future: Future) -> tuple[float, str]:
    """(fraction, text) of a progress bar: the place and a time, then how far it is."""
    fraction, message = future.progress
    ahead, seconds = future.position or 0, future.seconds
    text = f"{ahead} ahead of you" if ahead else (message or "Computing")
    if seconds is not None and seconds >= 1:
        text += f", about {seconds:.0f} s"
    return min(1.0, fraction), text
