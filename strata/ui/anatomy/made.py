"""What pages have made of runs, kept for all who ask again: most of a class sees the same thing.

Whatever is kept follows from the run alone, model, prompt and edits, so one learner's is another's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import pandas as pd

from strata.charts import Chart
from strata.engine.cache import ByteCache, kept_bytes
from strata.ui.server import turns

_MOST = 48 * 1024 * 1024  # bytes: what a hundred learners look at just now takes about 30 MB
_THING = 4096  # bytes that anything takes besides its cells

T = TypeVar("T")


def made(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` returns, made once for a key. It is shared: nobody may change it."""
    found = _made.get(key)
    if found is None:
        turns.stand_back()
        found = make()
        _made.put(key, found)
    return cast(T, found)


def frame(key: Hashable, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A table, made once for a key; each caller's is their own.

    A shallow copy would be as quick, and pandas would keep a note of each in the kept table.
    """
    return made(key, make).copy()


def _size(thing: Any) -> int:
    if isinstance(thing, Chart):
        thing = thing.frame
        return 2 * _size(thing)  # once more as it is sent
    if isinstance(thing, pd.DataFrame):
        return kept_bytes(thing)
    if isinstance(thing, list | tuple):
        return sum(map(_size, thing)) + sys.getsizeof(thing)
    return sys.getsizeof(thing) + (_THING if isinstance(thing, dict) else 0)


_made: ByteCache[Hashable, Any] = ByteCache(_MOST, _size)
