"""An event loop that is made when something is first run in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


class LaterLoop(asyncio.AbstractEventLoop):
    """Stands for an event loop of its own, which is made when it is first asked for anything but
    whether it runs: until then it holds none of a loop's three descriptors."""

    def __init__(self) -> None:
        self._made: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def is_closed(self) -> bool:
        return self._closed

    def is_running(self) -> bool:
        return self._made is not None and self._made.is_running()

    def close(self) -> None:
        if self._made is not None:
            self._made.close()
        self._closed = True

    def made(self) -> asyncio.AbstractEventLoop:
        """The loop itself. RuntimeError if this one is closed."""
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._made is None:
            self._made = asyncio.new_event_loop()
        return self._made


def _handed_on(name: str) -> Callable[..., Any]:
    def call(loop: LaterLoop, *told: Any, **more: Any) -> Any:
        return getattr(loop.made(), name)(*told, **more)

    return call


for _name in vars(asyncio.AbstractEventLoop):
    if not _name.startswith("_") and _name not in vars(LaterLoop):
        setattr(LaterLoop, _name, _handed_on(_name))
