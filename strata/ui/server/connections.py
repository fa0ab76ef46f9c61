"""Whoever keeps the server waiting is not waited for without end, and hanging up is no error.

Uvicorn closes a connection that is idle after an answer, and a socket that does not answer its
pings. A request that is begun and never ended, a body that does not come, and an answer that nobody
reads it waits for as long as the other end likes, with a descriptor for each.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from strata.runtime import descriptors

HEAD = 10.0  # seconds for a request's first lines, since the connection or the answer before
BODY = 120.0  # for what is sent with it: an upload of 5 MB at 0.35 Mbit/s
UNREAD = 60.0  # in which nothing at all was taken of what is sent to a browser
_EVERY = 2.5  # seconds between two looks
_OTHERS = 80  # descriptors for all but connections: databases, the model's process, own files
_WITH_A_FILE = 2
_OF_A_LEARNER = 3  # two sockets as long as a page is open, and what a page loads now and then
_log = logging.getLogger("strata")


def room() -> int:
    """How many descriptors this process has for connections."""
    return max(descriptors.limit() - _OTHERS, _OF_A_LEARNER)


def learners() -> int:
    """How many learners this process has descriptors for."""
    return room() // _OF_A_LEARNER


class Connections:
    """All connections of a server, each with what it was doing when it was last looked at, and
    since when. `most`: how many descriptors there are for them and the files that they are answered
    from; of more, those give way that have kept the server waiting longest. Not to be shared
    between threads."""

    def __init__(
        self, most: Callable[[], int] = room, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most, self._clock = most, clock
        self._seen: dict[asyncio.Transport, tuple[object, float]] = {}
        self._held = 0  # descriptors, at most
        self._looks: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._seen)

    def begin(self, transport: asyncio.Transport) -> None:
        """From now on look after this one; end it where there is no room for it."""
        if self._held + _WITH_A_FILE > self._most() and not self._make_room():
            transport.abort()
            return
        self._seen[transport] = _doing(transport)[1], self._clock()
        self._held += _WITH_A_FILE  # for what it will ask
        if self._looks is None:
            self._looks = asyncio.get_running_loop().call_later(_EVERY, self._look_again)

    def look(self) -> None:
        """Close who has kept the server waiting for too long, and forget who is gone."""
        now, self._held = self._clock(), 0
        for transport, (before, since) in list(self._seen.items()):
            patience, doing = _doing(transport)
            if doing is None and transport.is_closing():
                del self._seen[transport]
                continue
            if doing != before:
                self._seen[transport] = doing, now
            elif now - since >= patience:
                self._end(transport)
                continue
            self._held += _holds(transport)

    def _look_again(self) -> None:
        self.look()
        self._looks = None
        if self._seen:
            self._looks = asyncio.get_running_loop().call_later(_EVERY, self._look_again)

    def _make_room(self) -> bool:
        """Whether there is room for another one now."""
        self.look()
        wanted = self._most() - _WITH_A_FILE
        if self._held > wanted:
            waited_for = [each for each in self._seen if _doing(each)[0] < math.inf]
            for transport in sorted(waited_for, key=lambda each: self._seen[each][1]):
                # More than have to, so that not each that comes is followed by a look at all.
                if self._held <= 0.9 * wanted:
                    break
                self._held -= _holds(transport)
                self._end(transport)
        return self._held <= wanted

    def _end(self, transport: asyncio.Transport) -> None:
        del self._seen[transport]
        transport.abort()


def _holds(transport: asyncio.Transport) -> int:
    """Descriptors, at most: an answer may come from a file."""
    cycle = getattr(transport.get_protocol(), "cycle", None)
    return 1 if cycle is None or cycle.response_complete else _WITH_A_FILE


def _doing(transport: asyncio.Transport) -> tuple[float, object]:
    """How long the server waits for this to change, in seconds, and what it waits for: something
    that is another as soon as the connection has moved on, None if nothing."""
    if unsent := transport.get_write_buffer_size():
        return UNREAD, unsent
    protocol = transport.get_protocol()
    if transport.is_closing() or not hasattr(protocol, "cycle"):  # a socket, which has its pings
        return math.inf, None
    cycle = protocol.cycle  # one request and its answer
    if cycle is None or cycle.response_complete:
        return HEAD, ("head", cycle)
    return (BODY, ("body", cycle)) if cycle.more_body else (math.inf, ("answer", cycle))


class HangingUp:
    """A browser that goes away while it sends is a line in the log, and so is a socket that says
    words where Streamlit listens to bytes only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        closed = False

        async def hear() -> Message:
            nonlocal closed
            message = await receive()
            if message["type"] == "websocket.receive" and message.get("bytes") is None:
                _log.warning("A socket sent text, which nothing here listens to")
                closed = True
                await send({"type": "websocket.close", "code": 1003})
                return {"type": "websocket.disconnect", "code": 1003}
            return message

        async def say(message: Message) -> None:
            if closed:
                raise WebSocketDisconnect(1003)
            await send(message)

        try:
            if scope["type"] == "websocket":
                await self.app(scope, hear, say)
            else:
                await self.app(scope, receive, send)
        except (ClientDisconnect, WebSocketDisconnect):
            _log.warning("A browser went away while it was sending")


connections = Connections()
