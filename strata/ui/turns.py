"""Pages take turns: of all that would run at once in a server, two do.

Python runs one thread at a time and goes on to the next every 5 ms, and at each look at a file or
a database. Ten pages at once are therefore all done late; one after the other, the first is done in
a tenth of the time, and the last is no later. A page that waits for the model lets others go on.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AT_ONCE = 2  # one runs while the other waits for a disk
_PATIENCE = 3.0  # seconds after which a page runs all the same: those before it may hang

_turns = threading.Semaphore(_AT_ONCE)


class _Mine(threading.local):
    held = False


_mine = _Mine()


@contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn and hold it; inside of another, that one."""
    if _mine.held:
        yield
        return
    _take()
    try:
        yield
    finally:
        _give_back()


@contextmanager
def let_others() -> Iterator[None]:
    """Give the turn to another while this thread waits for something, and then wait for one; does
    nothing where none is held."""
    held = _mine.held
    _give_back()
    try:
        yield
    finally:
        if held:
            _take()


def _take() -> None:
    _mine.held = _turns.acquire(timeout=_PATIENCE)


def _give_back() -> None:
    if _mine.held:
        _mine.held = False
        _turns.release()
