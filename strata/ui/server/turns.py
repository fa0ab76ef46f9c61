"""Pages take turns: of all that would run at once in a server, two do, in the order in which they
came.

Python runs one thread at a time and goes on to the next every 5 ms, and at each look at a file or
a database. Ten pages at once are therefore all done late; in turns the first is done in a tenth of
the time, and the last is no later. A page that waits for the model lets others go on.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_AT_ONCE = 2  # one runs while the other waits for a disk
_PATIENCE = 3.0  # seconds in which nobody was done: those who run hang, and nobody waits for them


class Line:
    """Who waits for one of `n` turns. Safe to share between threads."""

    def __init__(self, n: int) -> None:
        self.free = n
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._moved = 0.0  # when a turn was last taken or given back

    def take(self) -> bool:
        """Wait for a turn; False where it was not worth waiting any longer."""
        with self._lock:
            if self.free:
                self.free -= 1
                self._moved = time.monotonic()
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        while not mine.wait(_PATIENCE):
            with self._lock:
                if not mine.is_set() and time.monotonic() - self._moved >= _PATIENCE:
                    self._waiting.remove(mine)
                    return False
        return True

    def give_back(self) -> None:
        """Let the next one go on."""
        with self._lock:
            self._moved = time.monotonic()
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self.free += 1


class _Mine(threading.local):
    held = False


_line, _mine = Line(_AT_ONCE), _Mine()


def take() -> None:
    """Wait for a turn, which this thread then holds until `give_back`; nothing if it has one."""
    if not _mine.held:
        _mine.held = _line.take()


def give_back() -> None:
    """Let another thread have this one's turn, if it has one."""
    if _mine.held:
        _mine.held = False
        _line.give_back()


@contextmanager
def let_others() -> Iterator[None]:
    """Without a turn, wait for something; then go on with one, unless what came is an error."""
    held = _mine.held
    give_back()
    yield
    if held:
        take()
