"""Long work in steps, between which what is more urgent may go first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_mine = threading.local()


@contextmanager
def between_steps(let_others: Callable[[], None]) -> Iterator[None]:
    """Inside, this thread does `let_others` wherever its work can be interrupted."""
    before = getattr(_mine, "let_others", None)
    _mine.let_others = let_others
    try:
        yield
    finally:
        _mine.let_others = before


def step_aside() -> None:
    """Said by long work between two of its steps, where nothing is open that others must not see:
    no lock, no hook. In a thread that has nobody to let through it is nothing."""
    let_others = getattr(_mine, "let_others", None)
    if let_others is not None:
        let_others()
