"""The cache holds what was used last, and never more bytes than it may."""

from __future__ import annotations

import random
import tracemalloc

import pandas as pd

from strata.engine.cache import ByteCache, kept_bytes, table_bytes


def test_the_bound_holds_whatever_is_put_in() -> None:
    cache: ByteCache[int, bytes] = ByteCache(1_000, len)
    chance = random.Random(0)
    last: dict[int, bytes] = {}
    for _ in range(5_000):
        key = chance.randrange(60)
        last[key] = bytes(chance.choice([0, 1, 10, 100, 400, 999, 1_000, 1_001, 5_000]))
        cache.put(key, last[key])
        kept = [k for k in range(60) if k in cache]
        assert sum(len(last[k]) for k in kept) == cache.n_bytes <= 1_000
        assert (key in kept) == (len(last[key]) <= 1_000)
    assert len(cache) > 1


def test_the_least_recently_used_goes_first() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    for key in "abc":
        cache.put(key, bytes(10))
    assert cache.get("a") is not None
    cache.put("d", bytes(10))
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]


def test_too_large_an_item_replaces_nothing_but_its_own_older_value() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    cache.put("a", bytes(10))
    cache.put("b", bytes(10))
    cache.put("a", bytes(31))
    assert cache.get("a") is None
    assert cache.get("b") == bytes(10)


def test_drop_forgets_what_is_unwanted() -> None:
    cache: ByteCache[str, bytes] = ByteCache(30, len)
    cache.put("a", bytes(10))
    cache.put("b", bytes(10))
    cache.drop(lambda key: key == "a")
    assert (cache.get("a"), cache.n_bytes) == (None, 10)
    cache.drop()
    assert (len(cache), cache.n_bytes) == (0, 0)


def test_a_table_takes_what_pandas_says() -> None:
    """Without the index; strings of both kinds, missing values, no rows, a column named twice."""
    frame = pd.DataFrame(
        {
            "number": [1.0, 2.0],
            "whole": pd.array([1, None], dtype="Int64"),
            "text": pd.array(["a", "longer"], dtype="str"),
            "thing": pd.Series(["a", "longer" * 100], dtype=object),
        }
    )
    for each in (frame, frame.iloc[:0], frame[["number", "number"]]):
        expected = int(each.memory_usage(index=False, deep=True).sum())
        assert table_bytes(each) == expected


def test_what_is_kept_of_a_table_is_counted_whole() -> None:
    """Of small ones, of which a class's pages keep thousands. Python does not see all they take."""
    tracemalloc.start()
    try:
        kept = [_of_a_page() for _ in range(100)]
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = sum(map(kept_bytes, kept))
    assert 0.3 * counted < taken < counted


def _of_a_page() -> pd.DataFrame:
    rows = range(10)
    numbers: dict[str, list[object]] = {
        "position": [*rows],
        "prob": [row / 10 for row in rows],
        "predicted": [f"token {row}" for row in rows],
        "rank": [row + 1 for row in rows],
    }
    return pd.DataFrame(numbers)
