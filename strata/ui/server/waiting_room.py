"""Where browsers wait until it is their turn at the door: first come, first served."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from strata.runtime.attempts import Attempts

LONGEST_WAIT = 30.0  # seconds that a browser is kept waiting
MOST_WAITING = 150  # of those who come by one name


@dataclass
class _Queue:
    """Who waits by one name."""

    waiting: int = 0
    next: asyncio.Lock = field(default_factory=asyncio.Lock)  # which lets in as they came


class WaitingRoom:
    """Room for so many of each name, whoever waits by others."""

    def __init__(self, turns: Attempts) -> None:
        self._turns = turns
        self._queues: dict[str, _Queue] = {}

    async def turn(self, whose: str) -> bool:
        """Wait until there is an attempt, and take it; False if many wait, or it takes long."""
        queue = self._queues.setdefault(whose, _Queue())
        if queue.waiting >= MOST_WAITING:
            return False
        until = time.monotonic() + LONGEST_WAIT
        queue.waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT), queue.next:
                while wait := self._turns.wait(whose):
                    if time.monotonic() + wait > until:
                        return False
                    await asyncio.sleep(wait)
                self._turns.take(whose)
                return True
        except TimeoutError:
            return False
        finally:
            queue.waiting -= 1
            if not queue.waiting:
                self._queues.pop(whose, None)

    def give_back(self, whose: str) -> None:
        """Nothing came of a turn, for no fault of theirs."""
        self._turns.give_back(whose)
