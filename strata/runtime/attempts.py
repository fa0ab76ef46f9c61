"""How often something may be tried: a token bucket for each name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Attempts:
    """How often something may be tried: `burst` at once, then one every `seconds`; by whom."""

    def __init__(
        self, burst: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._seconds, self._clock = burst, seconds, clock
        self._free_at: dict[str, float] = {}  # when all of a name's attempts are there again
        self._lock = threading.Lock()

    def wait(self, whose: str) -> float:
        """The seconds until there is an attempt; 0 if there is one."""
        now = self._clock()
        with self._lock:
            left = self._free_at.get(whose, now) - now - (self._burst - 1) * self._seconds
        return left if left > 1e-9 else 0.0

    def take(self, whose: str) -> None:
        """Use one attempt, whether or not there is one."""
        now = self._clock()
        with self._lock:
            if len(self._free_at) > 10_000:
                self._free_at = {name: at for name, at in self._free_at.items() if at > now}
            free_at = max(self._free_at.get(whose, now), now) + self._seconds
            self._free_at[whose] = min(free_at, now + self._burst * self._seconds)

    def give_back(self, whose: str) -> None:
        """Undo a `take`: nothing came of it, for no fault of theirs."""
        with self._lock:
            if whose in self._free_at:
                self._free_at[whose] -= self._seconds
