"""Who waits at the door is let in as they came, by the places of their own class."""

from __future__ import annotations

import asyncio

import pytest

from strata.runtime.attempts import Attempts
from strata.ui.server import waiting_room
from strata.ui.server.waiting_room import WaitingRoom
from tests.loops import run_apart


def test_who_joins_waits_as_they_came_and_another_class_has_places_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting_room, "MOST_WAITING", 4)
    now, came = [0.0], list[int]()
    room = WaitingRoom(Attempts(1, 0.01, lambda: now[0]))

    async def join(number: int) -> bool:
        let_in = await room.turn("3b from here")
        came.append(number if let_in else -number)
        return let_in

    async def all_at_once() -> None:
        await room.turn("3b from here")
        tasks = [asyncio.create_task(join(number)) for number in range(1, 6)]
        while not came:  # who finds no place is told so at once
            await asyncio.sleep(0)
        assert await room.turn("4a from here")
        while len(came) < 6:
            now[0] += 0.01
            if len(came) == 2:
                tasks.append(asyncio.create_task(join(6)))  # comes when a turn can be had
            let_in = len(came)
            while len(came) == let_in:
                await asyncio.sleep(0.001)
        assert await asyncio.gather(*tasks) == [True] * 4 + [False, True]

    run_apart(asyncio.wait_for(all_at_once(), 20.0))
    assert came == [-5, 1, 2, 3, 4, 6]
    assert not room._queues
