"""An event loop for a test that must not be inside another one."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_apart(play: Coroutine[Any, Any, T]) -> T:
    """Run `play` in a thread of its own: the browser of other tests keeps a loop in this one."""
    with ThreadPoolExecutor(1) as apart:
        return apart.submit(asyncio.run, play).result()
