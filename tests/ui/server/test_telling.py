"""Elements reach the loop in their order, several at a time, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
from streamlit.proto.NewSession_pb2 import NewSession

from strata.ui.server import telling, throughput


def test_elements_come_in_their_order_and_wake_the_loop_seldom() -> None:
    came: list[int] = []
    woken: list[Any] = []
    wrong: list[Any] = []

    async def all_of_them() -> None:
        loop = asyncio.get_running_loop()
        own = loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *told: (woken.append(told), own(*told))[1]  # type: ignore[method-assign]
        loop.set_exception_handler(lambda _, said: wrong.append(said["exception"]))
        session = SimpleNamespace(_event_loop=loop)

        def tell(number: int) -> None:
            came.append(number)
            if number == 50:
                raise KeyError(number)

        def page() -> None:
            for number in range(200):
                telling.soon(session, lambda number=number: tell(number))  # type: ignore[misc]

        with ThreadPoolExecutor(1) as thread:
            await loop.run_in_executor(thread, page)
        async with asyncio.timeout(10):
            while len(came) < 200:
                await asyncio.sleep(0.01)
        telling.soon(session, lambda: came.append(-1))  # one that comes alone wakes it too
        async with asyncio.timeout(10):
            while came[-1] != -1:
                await asyncio.sleep(0.01)

    asyncio.run(all_of_them())
    assert came == [*range(200), -1]
    assert len(woken) < 100, "of the page's thread and of its executor"
    assert [type(each) for each in wrong] == [KeyError]


def test_a_loop_that_has_ended_is_told_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    telling.soon(SimpleNamespace(_event_loop=loop), lambda: pytest.fail("it was told"))


def test_the_loop_is_woken_only_by_other_threads() -> None:
    asked: list[Any] = []

    async def here() -> None:
        needed = asyncio.Event()
        told = SimpleNamespace(eventloop=asyncio.get_running_loop(), need_send_data=needed)
        server = SimpleNamespace(_get_async_objs=lambda: told)
        telling.wanted(server, asked.append)
        assert needed.is_set()
        assert asked == []
        await asyncio.to_thread(telling.wanted, server, asked.append)
        assert asked == [server]

    asyncio.run(here())


def test_the_theme_is_streamlits_own() -> None:
    whole = []
    for make in (throughput._own_theme, throughput._theme_once, throughput._theme_once):
        theme = NewSession().custom_theme
        for section, part in (
            ("theme", theme),
            ("theme.light", theme.light),
            ("theme.dark", theme.dark),
            ("theme.sidebar", theme.sidebar),
            ("theme.light.sidebar", theme.light.sidebar),
        ):
            make(part, section)
        whole.append(theme.SerializeToString())
    assert whole[0]
    assert whole[0] == whole[1] == whole[2]
