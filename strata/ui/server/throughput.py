"""What Streamlit does at every element of every page, done so that many pages can run at once.

Elements go to the server's loop in batches. By itself Streamlit wakes the loop twice for each, a
hundred times a run, and each time the page and the loop take the interpreter from each other. An
element is sent some 10 ms later for it.

Settings are read without a lock. By itself Streamlit takes one lock at each reading, some hundred
times a run, and where ten pages run at once most of them stand in line for it.

Pages run in turns, see turns.py: from when Streamlit has heard what the browser wants.

What the browser wants is heard whole, and callbacks run to their end, before a run gives way to a
newer wish. By itself Streamlit gives way at any touch of a session's state, and what was pressed is
then lost: two wishes within some 50 ms, or more on a busy server, are enough. A session has one
thread for that, see `fastReruns` in `.streamlit/config.toml`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from streamlit import config
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import ScriptRunContext, ScriptRunner, ScriptRunnerEvent
from streamlit.runtime.state import SafeSessionState

from strata.ui.server import turns

_SOON = 0.01  # seconds from an element to its batch
_log = logging.getLogger("strata")

_handle = AppSession._handle_scriptrunner_event_on_event_loop
_tell_loop = Runtime._enqueued_some_message
_run = ScriptRunner._run_script
_begin = ScriptRunContext.on_script_start
_hear = SafeSessionState.on_script_will_rerun
# What changes while a server runs, as a file of settings does, is seen by `_forget_options`.
_option = cache(config.get_option)
_section = cache(config.get_options_for_section)


def mend() -> None:
    """Have Streamlit do so in this process. Before its server is made, which keeps its methods."""
    AppSession._on_scriptrunner_event = _on_event  # type: ignore[assignment, method-assign]
    Runtime._enqueued_some_message = _tell_loop_once  # type: ignore[assignment, method-assign]
    ScriptRunContext.on_script_start = _begin_in_turn  # type: ignore[assignment, method-assign]
    ScriptRunner._run_script = _run_to_the_end  # type: ignore[assignment, method-assign]
    SafeSessionState.on_script_will_rerun = _hear_whole  # type: ignore[assignment, method-assign]
    config.get_option = _option
    config.get_options_for_section = lambda section: dict(_section(section))
    config.on_config_parsed(_forget_options, force_connect=True)


def _forget_options() -> None:
    _option.cache_clear()
    _section.cache_clear()


class _Batch:
    """What a session's runs have said and the loop has not heard yet, in order.

    Does not know its session, which would then be freed by the garbage collector only.
    """

    def __init__(self) -> None:
        self._said: deque[Callable[[], None]] = deque()
        self._told = False  # whether the loop knows that there is something

    def add(
        self, session: AppSession, event: ScriptRunnerEvent, handle: Callable[[], None]
    ) -> None:
        """In any thread. All but elements is heard at once, with what was said before it."""
        self._said.append(handle)
        if event is not ScriptRunnerEvent.ENQUEUE_FORWARD_MSG:
            session._call_soon_on_event_loop(self._hear)
        elif not self._told:
            self._told = True
            session._call_soon_on_event_loop(partial(self._hear_soon, session._event_loop))

    def _hear_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_SOON, self._hear)

    def _hear(self) -> None:
        self._told = False  # before looking: what is added from here on tells the loop again
        while self._said:
            handle = self._said.popleft()
            try:
                handle()
            except Exception:  # of Streamlit; what comes after it is heard all the same
                _log.exception("what a page has said was not understood")


def _on_event(
    session: AppSession, sender: Any, event: ScriptRunnerEvent, *said: Any, **more: Any
) -> None:
    batch = session.__dict__.get("_strata_batch")
    if batch is None:
        batch = session.__dict__.setdefault("_strata_batch", _Batch())
    batch.add(session, event, partial(_handle, session, sender, event, *said, **more))


def _tell_loop_once(runtime: Runtime) -> None:
    if not runtime._get_async_objs().need_send_data.is_set():  # cleared before queues are emptied
        _tell_loop(runtime)


def _hear_whole(state: SafeSessionState, *said: Any, **more: Any) -> None:
    """A callback's `st.stop` and `st.switch_page` act when all callbacks are done."""
    runner: Any = state._yield_callback.__self__  # type: ignore[attr-defined]
    runner._execing = False  # it gives way only where it executes a page
    try:
        _hear(state, *said, **more)
    finally:
        runner._execing = True


def _begin_in_turn(context: ScriptRunContext) -> None:
    _begin(context)
    turns.take()


def _run_to_the_end(runner: ScriptRunner, asked: Any) -> None:
    try:
        _run(runner, asked)
    finally:
        turns.give_back()
