"""How a page's elements come from its thread to the loop that sends them: several at a time.

By itself Streamlit wakes the loop for each element, twice, and at each the page's thread loses the
interpreter to it: of what threads hold that, the loop had two thirds while six learners worked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

_TOGETHER = 0.004  # seconds in which elements gather: none of a page waits longer for it


def soon(session: Any, tell: Callable[[], None]) -> None:
    """Have the loop of a session do this soon, after what it was asked to do before; nothing where
    it has ended. From whatever thread."""
    loop: asyncio.AbstractEventLoop = session._event_loop
    told: deque[Callable[[], None]] = session.__dict__.setdefault("_told", deque())
    told.append(tell)
    if len(told) > 1:  # whoever comes for the one before takes this one along
        return
    try:
        loop.call_soon_threadsafe(loop.call_later, _TOGETHER, _take, loop, told)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _take(loop: asyncio.AbstractEventLoop, told: deque[Callable[[], None]]) -> None:
    while told:
        tell = told[0]  # until it is done, so that one who comes meanwhile need not wake the loop
        try:
            tell()
        except Exception as error:
            said = "An element of a page was lost"
            loop.call_exception_handler({"message": said, "exception": error})
        told.popleft()


def wanted(server: Any, own: Callable[[Any], None]) -> None:
    """There is something to send: without waking the loop where this is the loop's own thread."""
    told = server._get_async_objs()
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is told.eventloop:
        told.need_send_data.set()
    else:
        own(server)
