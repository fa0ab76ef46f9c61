"""What one learner may hold of this server at a time: tabs, sockets, files sent to them.

Streamlit knows sessions, one for each tab, and bounds nothing of all that a browser opens. Here
tabs are counted by whose they are: a member of a class in whatever browser, a teacher's browser, or
the address, where nobody has a seat. One tab too many is let in, and the one that was used longest
ago rests. What a closed tab held is given back at once, not when Streamlit no longer expects it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import NamedTuple

from cachetools import LRUCache
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

from strata.runtime.attempts import Attempts
from strata.ui.server.door_pages import page

MOST_TABS = 6  # of a learner
_TEACHERS, _AN_ADDRESS = 12, 60  # of a teacher's browser; where none has a seat, a school's address
_SOCKETS = 2  # other sockets for each tab: one, and one that has not ended yet
# Seconds for which a tab whose connection was lost can come back as it was: the latest of somebody,
# the others, each of which may hold files as well.
_EXPECTED, _THE_OTHERS = 120.0, 15.0
_PATIENCE = 5.0  # seconds in which a tab that is to rest has to hear of it
_LEFT = (1000, 1001)  # closed by a browser that does not come back: RFC 6455, section 7.4.1
_STREAM = "/_stcore/stream"
_RESTING = "/resting"
_WHO = "strata.who"  # of a request, put there by the door


class Who(NamedTuple):
    """Whose tabs are counted together, and how many there may be."""

    name: str
    tabs: int = MOST_TABS

    @property
    def is_one(self) -> bool:
        """Whether that is one learner or teacher, and not all at an address."""
        return self.tabs < _AN_ADDRESS


def member(id: str) -> dict[str, Who]:
    """What the door adds to a request of this member of a class."""
    return {_WHO: Who(named(id))}


def named(id: str) -> str:
    """Whose a member's tabs are."""
    return f"member {id}"


def teacher(seat: str) -> dict[str, Who]:
    """What the door adds to a request of a teacher's browser, known by a hash of its cookie."""
    return {_WHO: Who(f"teacher {seat}", _TEACHERS)}


def who(scope: Scope) -> Who:
    """Whose request it is."""
    client = scope.get("client")
    found: Who = scope.get(_WHO) or Who(f"address {client[0] if client else ''}", _AN_ADDRESS)
    return found


def has_seat(scope: Scope) -> bool:
    """Whether the door has let it in."""
    return _WHO in scope


@dataclass(eq=False)
class Tab:
    """One session of Streamlit. `end` ends its connection, and is None once that has ended."""

    who: Who
    end: Callable[[], None] | None
    session: str = ""
    files: set[str] = field(default_factory=set)
    crowds: bool = False  # another one rests since it came, which it has not said yet


class Tabs:
    """All tabs of this server. Changed by the event loop only."""

    def __init__(self) -> None:
        self._of: dict[str, list[Tab]] = {}  # what was used longest ago first
        self._by_session: dict[str, Tab] = {}
        self.resting: LRUCache[str, bool] = LRUCache(1_000)  # sessions that are not to come back

    def of(self, session: str) -> Tab | None:
        """The tab of a session."""
        return self._by_session.get(session)

    def files(self, whose: Who) -> int:
        """How many files all tabs of somebody hold."""
        return sum(len(tab.files) for tab in self._of.get(whose.name, ()))

    def crowds(self, session: str) -> int:
        """How many tabs there may be, if another rests since this one came; said once, else 0."""
        tab = self.of(session)
        if tab is None or not tab.crowds:
            return 0
        tab.crowds = False
        return tab.who.tabs

    def connected(self, session: str) -> None:
        """The connection that is served here is this session's, a new one or one that came back."""
        tab = _here.get()
        if tab is None:
            return
        before = self._by_session.get(session)
        if before is not None:
            tab.files = before.files
            self._forget(before)
        mine = self._of.setdefault(tab.who.name, [])
        while len(mine) >= tab.who.tabs:
            lost = next((each for each in mine if each.end is None), None)
            tab.crowds = tab.crowds or lost is None
            self._rest(lost or mine[0])
            mine = self._of.setdefault(tab.who.name, [])
        tab.session = session
        self._by_session[session] = tab
        mine.append(tab)

    def used(self, tab: Tab) -> None:
        """Somebody does something in it."""
        mine = self._of.get(tab.who.name, [])
        if tab in mine:
            mine.remove(tab)
            mine.append(tab)

    def ended(self, tab: Tab, for_good: bool) -> None:
        """Its connection has ended. Lost ones are kept for a while, since they may come back."""
        tab.end = None
        if self.of(tab.session) is not tab:
            return
        if for_good:
            self._close(tab)
            return
        later = asyncio.get_running_loop().call_later
        later(_EXPECTED, self._give_up, tab)
        if tab.who.is_one:
            for other in self._of[tab.who.name]:
                if other.end is None and other is not tab:
                    later(_THE_OTHERS, self._give_up, other)

    def _give_up(self, tab: Tab) -> None:
        if self.of(tab.session) is tab:  # and it has not come back
            self._close(tab)

    def _rest(self, tab: Tab) -> None:
        self.resting[tab.session] = True
        self._close(tab)
        if tab.end is not None:
            tab.end()

    def _close(self, tab: Tab) -> None:
        self._forget(tab)
        if runtime.exists():
            runtime.get_instance().close_session(tab.session)

    def _forget(self, tab: Tab) -> None:
        mine = self._of[tab.who.name]
        mine.remove(tab)
        if not mine:
            del self._of[tab.who.name]
        del self._by_session[tab.session]


def crowds() -> int:
    """Of the page that runs: how many tabs there may be, if another rests since this one came."""
    context = get_script_run_ctx()
    return tabs.crowds(context.session_id) if context else 0


tabs = Tabs()
_here: ContextVar[Tab | None] = ContextVar("tab", default=None)


class FewSockets:
    """Of each who has tabs here: so many at a time, opened so fast, and no more other sockets."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        # A seat opens two more at once than it may have, then one a second.
        self._opened = {most: Attempts(most + 2, 1.0) for most in (MOST_TABS, _TEACHERS)}
        self._others: dict[str, int] = {}  # sockets that are no tab's, or wait to become one

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self.app(scope, receive, send)
            return
        whose = who(scope)
        if self._others.get(whose.name, 0) >= _SOCKETS * whose.tabs:
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": "Too many sockets."})
            return
        if not scope["path"].endswith(_STREAM):
            await self._counted(whose, self.app(scope, receive, send))
            return
        if has_seat(scope):
            await self._counted(whose, self._turn(whose))
        asked = scope.get("subprotocols", [])
        if len(asked) > 2 and asked[2] in tabs.resting:  # a browser asks again by itself
            await receive()
            await send({"type": "websocket.accept", "subprotocol": asked[0]})
            await _say_that_it_rests(send)
            return
        await self._tab(whose, scope, receive, send)

    async def _counted(self, whose: Who, doing: Awaitable[None]) -> None:
        name = whose.name
        self._others[name] = self._others.get(name, 0) + 1
        try:
            await doing
        finally:
            self._others[name] -= 1
            if not self._others[name]:
                del self._others[name]

    async def _turn(self, whose: Who) -> None:
        opened = self._opened[whose.tabs]
        while wait := opened.wait(whose.name):
            await asyncio.sleep(wait)
        opened.take(whose.name)

    async def _tab(self, whose: Who, scope: Scope, receive: Receive, send: Send) -> None:
        rests = asyncio.Event()
        over: asyncio.Future[None] | None = None
        closed = 1006  # RFC 6455: without a word

        def end() -> None:
            nonlocal over
            over = asyncio.ensure_future(_say_that_it_rests(send))
            rests.set()

        async def hear() -> Message:
            nonlocal closed
            message = await _unless(rests, receive)
            if message is None:
                assert over is not None
                await over
                message = {"type": "websocket.disconnect", "code": 1008}
            elif message["type"] == "websocket.disconnect":
                closed = message.get("code", closed)
            else:
                tabs.used(tab)
            return message

        async def say(message: Message) -> None:
            if not rests.is_set():
                await send(message)

        tab = Tab(whose, end)
        token = _here.set(tab)
        try:
            await self.app(scope, hear, say)
        finally:
            _here.reset(token)
            tabs.ended(tab, for_good=closed in _LEFT)


async def _unless(event: asyncio.Event, receive: Receive) -> Message | None:
    """The next message, None if the event comes first."""
    message, happened = asyncio.ensure_future(receive()), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({message, happened}, return_when=asyncio.FIRST_COMPLETED)
        return message.result() if message.done() else None
    finally:
        message.cancel()
        happened.cancel()


async def _say_that_it_rests(send: Send) -> None:
    """Lead the browser to a page that says so. By itself it would connect again, at once."""
    message = ForwardMsg()
    message.auth_redirect.url = _RESTING
    with suppress(Exception):  # it may be gone already, or read nothing
        async with asyncio.timeout(_PATIENCE):
            await send({"type": "websocket.send", "bytes": message.SerializeToString()})
            await send({"type": "websocket.close", "code": 1008, "reason": "It rests."})


async def _resting(request: Request) -> Response:
    most = who(request.scope).tabs
    return page(
        "This tab rests",
        f"""<p>You have opened more than {most} tabs of Strata, so the one that you used longest ago
      rests. What you did in it is kept.</p>
      <p><button onclick="history.back()">Go on in this tab</button></p>""",
    )


route = Route(_RESTING, _resting)
