"""A cache bounded by bytes, not by entries; the least recently used goes first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

import pandas as pd
from cachetools import LRUCache
from pandas.api.types import is_object_dtype

_TABLE = 12 * 1024  # bytes that a table takes besides its cells: 8 to 14 thousand, as measured
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def table_bytes(frame: pd.DataFrame) -> int:
    """Memory that a table's cells take. (`memory_usage` says the same in five times the time.)"""
    return sum(
        int(cells.memory_usage(index=False, deep=True))
        if is_object_dtype(cells.dtype)
        else cells.array.nbytes
        for _, cells in frame.items()
    )


def kept_bytes(frame: pd.DataFrame) -> int:
    """Memory that a table takes which is kept, its cells and all around them: of a table of ten
    rows that is nearly all of it."""
    return table_bytes(frame) + _TABLE


class ByteCache(Generic[K, V]):
    """Keeps what was used last while it fits `max_bytes`; an item larger than that is not kept.

    `size_of` gives an item's bytes. Safe to share between threads.
    """

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        self.max_bytes = max_bytes
        self._size_of = size_of
        self._lock = Lock()
        self._items: LRUCache[K, tuple[V, int]] = LRUCache(max_bytes, getsizeof=lambda i: i[1])

    def get(self, key: K) -> V | None:
        with self._lock:
            item = self._items.get(key)
        return None if item is None else item[0]

    def put(self, key: K, value: V) -> None:
        size = self._size_of(value)
        with self._lock:
            self._items.pop(key, None)
            if size <= self.max_bytes:
                self._items[key] = (value, size)

    def drop(self, unwanted: Callable[[K], bool] = lambda key: True) -> None:
        """Forget the items whose key is unwanted; by default all of them."""
        with self._lock:
            for key in [key for key in self._items if unwanted(key)]:
                del self._items[key]

    @property
    def n_bytes(self) -> int:
        """What the kept items take, in bytes."""
        with self._lock:
            return int(self._items.currsize)

    def __len__(self) -> int:
        with self._lock:
            return len(self._items)

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._items
