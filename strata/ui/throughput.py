"""What Streamlit does at every element of every page, done so that many pages can run at once.

Elements go to the server's loop in batches. By itself Streamlit wakes the loop twice for each, a
hundred times a run, and each time the page and the loop take the interpreter from each other. The
loop sends what there is every 10 ms anyway, so nothing is seen later than a frame of the screen.

Settings are read without a lock. By itself Streamlit takes one lock at each reading, some hundred
times a run, and where ten pages run at once most of them stand in line for it.

Pages run in turns, see `strata.ui.turns`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from streamlit import config
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import ScriptRunner, ScriptRunnerEvent

from strata.ui import turns

_SOON = 0.02  # seconds from an element to its batch

_handle = AppSession._handle_scriptrunner_event_on_event_loop
_tell_loop = Runtime._enqueued_some_message
_run = ScriptRunner._run_script
_option = cache(config.get_option)
_section = cache(config.get_options_for_section)


def mend() -> None:
    """From now on, in this process."""
    AppSession._on_scriptrunner_event = _on_event  # type: ignore[assignment, method-assign]
    Runtime._enqueued_some_message = _tell_loop_once  # type: ignore[assignment, method-assign]
    ScriptRunner._run_script = _run_in_turn  # type: ignore[assignment, method-assign]
    config.get_option = _option
    config.get_options_for_section = lambda section: dict(_section(section))
    config.on_config_parsed(_forget_options, force_connect=True)


def _forget_options() -> None:
    _option.cache_clear()
    _section.cache_clear()


class _Batch:
    """What a session's runs have said and the loop has not heard yet, in order."""

    def __init__(self, session: AppSession) -> None:
        self._session = session
        self._said: deque[Callable[[], None]] = deque()
        self._told = False  # whether the loop knows that there is something

    def add(self, event: ScriptRunnerEvent, handle: Callable[[], None]) -> None:
        """In any thread. All but elements is heard at once, with what was said before it."""
        self._said.append(handle)
        if event is not ScriptRunnerEvent.ENQUEUE_FORWARD_MSG:
            self._session._call_soon_on_event_loop(self._hear)
        elif not self._told:
            self._told = True
            self._session._call_soon_on_event_loop(self._hear_soon)

    def _hear_soon(self) -> None:
        self._session._event_loop.call_later(_SOON, self._hear)

    def _hear(self) -> None:
        self._told = False  # before looking: what is added from here on tells the loop again
        while self._said:
            self._said.popleft()()


def _on_event(
    session: AppSession, sender: Any, event: ScriptRunnerEvent, *said: Any, **more: Any
) -> None:
    batch = session.__dict__.get("_strata_batch")
    if batch is None:
        batch = session.__dict__.setdefault("_strata_batch", _Batch(session))
    batch.add(event, partial(_handle, session, sender, event, *said, **more))


def _tell_loop_once(runtime: Runtime) -> None:
    if not runtime._get_async_objs().need_send_data.is_set():  # cleared before queues are emptied
        _tell_loop(runtime)


def _run_in_turn(runner: ScriptRunner, asked: Any) -> None:
    with turns.turn():
        _run(runner, asked)
