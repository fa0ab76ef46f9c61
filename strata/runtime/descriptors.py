"""How many files and sockets this process may have open at once."""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

MOST = 10_240  # more than a class needs, and the most that macOS lets a process ask for


def raise_limit() -> None:
    """Ask for as many as this user may have, at most `MOST`: by itself a process has 256 on macOS
    and 1,024 on most of Linux. Where that is refused all stays as it is."""
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """How many there may be; `MOST` where the system sets no limit."""
    if sys.platform != "win32":
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY:
            return soft
    return MOST
