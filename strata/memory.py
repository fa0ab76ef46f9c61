"""What the C library does with free memory: by itself, glibc keeps most of it, in pieces."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
_LARGE = 256 * 1024  # bytes
_ARENAS = 2


def return_large() -> None:
    """Of this process: give back large pieces the moment that they are free, and keep few pools.

    A server's threads come and go with every rerun of a page. Left to itself, glibc gives up to
    eight pools a core to them, and from the first large piece that is freed on it keeps such
    pieces in a pool, where what is small and lives long soon stands in the way.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _LARGE)


def trim() -> None:
    """Give back what is free now, as far as it is in whole pages."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            library = ctypes.CDLL("libc.so.6")
            _ = library.mallopt, library.malloc_trim
            return library
    return None
