"""What the C library does with free memory: by itself, glibc keeps most of it, in pieces."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from functools import cache

_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def few_pools() -> None:
    """Of this process: share two pools of memory between all threads.

    A server's threads come and go with every rerun of a page, and glibc gives each of up to eight a
    core a pool of its own: what one has freed, another cannot use. That large pieces are given back
    as soon as they are free was tried too, and cost a tenth of a run, in pages asked for anew.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


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
