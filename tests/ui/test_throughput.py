"""What a run has made reaches the server's loop in order, and soon, in few batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit import config
from streamlit.runtime.scriptrunner import ScriptRunnerEvent

from strata.ui import throughput

ELEMENT = ScriptRunnerEvent.ENQUEUE_FORWARD_MSG
STARTED, STOPPED = (
    ScriptRunnerEvent.SCRIPT_STARTED,
    ScriptRunnerEvent.SCRIPT_STOPPED_WITH_SUCCESS,
)


class Session:
    """Of a session: how it calls the loop, which it counts, and what it heard there."""

    def __init__(self) -> None:
        self._event_loop = asyncio.get_running_loop()
        self.calls, self.heard = 0, list[Any]()

    def _call_soon_on_event_loop(self, callback: Callable[[], None]) -> None:
        self.calls += 1
        self._event_loop.call_soon_threadsafe(callback)


@pytest.fixture(autouse=True)
def _heard(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(session: Session, sender: object, event: object, forward_msg: object = None) -> None:
        assert asyncio.get_running_loop() is session._event_loop
        session.heard.append((event, forward_msg))

    monkeypatch.setattr(throughput, "_handle", handle)


def elements(session: Any, first: int, n: int) -> list[Any]:
    """`n` elements said, as a page's thread says them."""
    for number in range(first, first + n):
        throughput._on_event(session, None, event=ELEMENT, forward_msg=number)
    return [(ELEMENT, number) for number in range(first, first + n)]


def test_a_run_is_heard_in_order_and_at_once_when_it_ends() -> None:
    def run(session: Any) -> list[Any]:
        throughput._on_event(session, None, event=STARTED)
        said = elements(session, 0, 100)
        throughput._on_event(session, None, event=STOPPED)
        return [(STARTED, None), *said, (STOPPED, None)]

    async def play() -> None:
        session = Session()
        said = await asyncio.to_thread(run, session)
        await asyncio.sleep(0)
        assert session.heard == said
        assert session.calls == 3  # started, the first element, stopped

    asyncio.run(play())


def test_elements_are_heard_while_the_page_waits() -> None:
    async def play() -> None:
        session = Session()
        said = await asyncio.to_thread(elements, session, 0, 3)
        await asyncio.sleep(0)
        assert session.heard == []
        await asyncio.sleep(3 * throughput._SOON)
        assert session.heard == said
        said += await asyncio.to_thread(elements, session, 3, 2)
        await asyncio.sleep(3 * throughput._SOON)
        assert session.heard == said
        assert session.calls == 2

    asyncio.run(play())


def test_nothing_is_lost_between_a_page_that_adds_and_a_loop_that_hears() -> None:
    async def play() -> None:
        session = Session()
        said = await asyncio.to_thread(elements, session, 0, 100_000)
        await asyncio.sleep(3 * throughput._SOON)
        assert session.heard == said
        assert session.calls < 1_000

    asyncio.run(play())


def test_the_loop_is_told_once_that_there_is_something_to_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    monkeypatch.setattr(throughput, "_tell_loop", told.append)
    needed = asyncio.Event()
    runtime: Any = SimpleNamespace(_get_async_objs=lambda: SimpleNamespace(need_send_data=needed))
    throughput._tell_loop_once(runtime)
    assert told == [runtime]
    needed.set()
    throughput._tell_loop_once(runtime)
    assert told == [runtime]


def test_settings_are_those_of_streamlit_and_change_with_them() -> None:
    throughput._forget_options()
    try:
        assert throughput._option("server.maxUploadSize") == config.get_option(
            "server.maxUploadSize"
        )
        assert throughput._section("theme") == config.get_options_for_section("theme")
        before = throughput._option("server.maxUploadSize")
        config._set_option("server.maxUploadSize", before + 1, "a test")
        throughput._forget_options()
        assert throughput._option("server.maxUploadSize") == before + 1
        with pytest.raises(RuntimeError, match="not defined"):
            throughput._option("server.nothing")
    finally:
        config._set_option("server.maxUploadSize", before, "a test")
        throughput._forget_options()
