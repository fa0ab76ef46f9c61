"""What a class's browsers hear without asking, and where they hand in their ballots.

Each browser of a class keeps a socket open; `watching` looks at the database when that tells of a
change, or twice a second where it tells nothing, and who is in a class of which something has
changed is told its whole screen (see `strata.classroom.board`). No page is run for it, so a class
of hundreds follows at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from strata.classroom.roster import Roster, Seat, zone_named
from strata.errors import InputError, StrataError
from strata.runtime.attempts import Attempts
from strata.storage.database import AwayError
from strata.ui.server import door

if TYPE_CHECKING:  # imported late: pandas and scipy take seconds
    from strata.classroom.board import Board
    from strata.classroom.votes import Votes
    from strata.lessons.progress import Progress

EVERY = 0.5  # seconds between two looks
_RARELY = 10.0  # the same where the database tells of changes
_LISTEN_AGAIN = 5.0  # seconds until it is asked to once more
_SWEEP = 300.0  # seconds between two looks for classes whose time is over
_LONGEST = 2_000  # bytes of a ballot
_WALL_RESTS = 0.5  # seconds at least between two times that a wall is told, however many vote
_NOT_YET = "Not kept yet: the class's database does not answer. It is tried again."
_GONE = "You were taken out of the class {}. What you did there was deleted."
_log = logging.getLogger("strata")


@dataclass(eq=False)
class _Listener:
    class_id: str
    hears_ballots: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Desk:
    """What sockets and ballots share."""

    board: Board
    votes: Votes
    progress: Progress
    roster: Roster
    ballots: Attempts = field(default_factory=lambda: Attempts(20, 0.5))
    listeners: set[_Listener] = field(default_factory=set)


desk: Desk | None = None


@dataclass
class _Ear:
    """What the database tells: whether it does at all, and that something has changed."""

    hears: bool = False
    told: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def watching() -> AsyncIterator[None]:
    """Tell the browsers of each class what has changed, until the server ends."""
    async with _beside(_watch()):
        yield


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def open_desk() -> Desk:
    """What sockets and ballots need; made once."""
    global desk
    from strata.classroom.board import Board
    from strata.classroom.votes import Votes
    from strata.ui.server.learner import database, progress, roster

    if desk is None:
        desk = Desk(Board(database()), Votes(database()), progress(), roster())
    return desk


async def _listen(here: Desk, ear: _Ear) -> None:
    """Hear what the database tells, where it does, and look anew where that ends."""
    while True:
        try:
            async for _ in here.board.notices():
                ear.hears = True
                ear.told.set()
        except OSError:
            pass
        except Exception:  # a bug, or a library's: it goes on as where nothing is told
            _log.exception("the database's notices cannot be heard")
        if ear.hears:
            ear.hears = False
            ear.told.set()
        await asyncio.sleep(_LISTEN_AGAIN)


async def _watch() -> None:
    here, ear = await run_in_threadpool(open_desk), _Ear()
    async with _beside(_listen(here, ear)):
        await _look(here, ear)


async def _look(here: Desk, ear: _Ear) -> None:
    down, swept, looked = False, time.monotonic(), -math.inf
    while True:
        since = time.monotonic() - looked
        if ear.hears and not (ear.told.is_set() or here.board.has_turned or since > _RARELY):
            await _told_within(ear, EVERY)
            continue
        ear.told.clear()
        looked = time.monotonic()
        try:
            with suppress(AwayError):  # it could be read only; the look says if not even that
                await run_in_threadpool(here.board.close_rounds)
            moved = await run_in_threadpool(here.board.look)
            if moved and door.reception is not None:
                door.reception.changed(moved)
            if time.monotonic() - swept > _SWEEP and door.reception is not None:
                swept = time.monotonic()
                await run_in_threadpool(here.roster.remove_expired)
            down = False
        except StrataError as error:
            if not down:
                _log.warning("%s", error)
            moved, down, looked = set(), True, -math.inf
        except Exception:  # a bug: classes still hear of what changes next
            _log.exception("a look at the classes failed")
            moved, looked = set(), -math.inf
        for listener in here.listeners:
            if listener.class_id in moved:
                listener.told.set()
        await _told_within(ear, EVERY)


async def _told_within(ear: _Ear, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ear.told.wait()


async def listen(socket: WebSocket) -> None:
    """A browser's socket: its class's screen now, and again whenever it has changed."""
    seat, here = None, desk
    with suppress(StrataError):
        seat = await _seat(socket)
    if here is None or seat is None or seat.group is None or seat.member is None:
        await socket.close(1013 if here is None else 1008)
        return
    await socket.accept()
    zone = zone_named(socket.query_params.get("zone"))
    first: dict[str, Any] = {"who": seat.member.id}
    mine: dict[str, Any] | None = None
    listener = _Listener(seat.group.id)
    here.listeners.add(listener)
    gone = asyncio.ensure_future(_until_gone(socket))
    try:
        while not gone.done():
            listener.told.clear()
            screen = here.board.screen(listener.class_id, zone)
            if called := here.board.called(listener.class_id, seat.member.id):
                screen["called"] = called
            if mine is None and "closed" in screen:  # else it is not known yet
                vote_id = screen.get("vote", {}).get("id", "")
                mine = await run_in_threadpool(_mine, here, vote_id, seat.member.id)
                screen |= {} if mine is None else {"mine": mine}
            await socket.send_json(screen | first)
            first = {}
            told = asyncio.ensure_future(listener.told.wait())
            await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            if await _is_deleted(socket, seat.group.id, seat.member.id):
                await socket.send_json({"revision": -1, "gone": _GONE.format(seat.group.name)})
                await socket.close(1008)
                break
    except WebSocketDisconnect:
        pass
    finally:
        here.listeners.discard(listener)
        gone.cancel()


async def show(socket: WebSocket) -> None:
    """The socket of a wall, a teacher's: told that there is something new to show of a class, that
    its screens have changed or somebody has voted. What it is the page reads by itself."""
    seat, here = None, desk
    with suppress(StrataError):
        seat = await _seat(socket)
    if here is None or seat is None or not seat.is_teacher:
        await socket.close(1013 if here is None else 1008)
        return
    await socket.accept()
    listener = _Listener(socket.query_params.get("of", ""), hears_ballots=True)
    here.listeners.add(listener)
    gone = asyncio.ensure_future(_until_gone(socket))
    try:
        while not gone.done():
            told = asyncio.ensure_future(listener.told.wait())
            await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            listener.told.clear()
            await socket.send_json({"changed": True})
            await asyncio.sleep(_WALL_RESTS)
    except (WebSocketDisconnect, RuntimeError):  # it is gone
        pass
    finally:
        here.listeners.discard(listener)
        gone.cancel()


async def cast(request: Request) -> JSONResponse:
    """Keep a ballot; a repeat of it with the same key is kept once. 429 and 503: to be tried again,
    as a browser does that gets no answer; any other: not."""
    try:
        seat = await _seat(request)
    except StrataError:
        return JSONResponse({"wrong": _NOT_YET}, 503)
    if desk is None:
        return JSONResponse({"wrong": "Not kept yet: the server is starting."}, 503)
    if seat is None or seat.group is None or seat.member is None:
        return JSONResponse({"wrong": "You are in no class here."}, 403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            return JSONResponse({"wrong": "This is too long for an answer."}, 409)
    if wait := desk.ballots.wait(seat.member.id):
        return JSONResponse({"wrong": f"Try again in {wait:.0f} seconds."}, 429)
    desk.ballots.take(seat.member.id)
    try:
        await run_in_threadpool(_keep, desk, seat, body)
    except InputError as error:
        return JSONResponse({"wrong": str(error)}, 409)
    except StrataError:
        return JSONResponse({"wrong": _NOT_YET}, 503)
    for listener in desk.listeners:
        if listener.hears_ballots and listener.class_id == seat.group.id:
            listener.told.set()
    if not desk.progress.is_durable:
        wrong = "Not kept yet: the server can write neither to its database nor to its disk."
        return JSONResponse({"wrong": f"{wrong} It is tried again."}, 503)
    return JSONResponse({"kept": True})


def _keep(here: Desk, seat: Seat, body: bytes) -> None:
    assert seat.group is not None
    assert seat.member is not None
    from strata.classroom.board import ClosedVoteError

    try:
        said: Any = json.loads(body)
        vote_id, round_, guess, key = (said[name] for name in ("vote", "round", "guess", "key"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError("This is not a ballot.") from None
    if said.get("who") not in (None, seat.member.id):
        raise InputError("Somebody else sits here by now: reload this page.")
    if not isinstance(key, str) or not 8 <= len(key) <= 64 or type(round_) is not int:
        raise InputError("This is not a ballot.")
    try:
        guess = here.board.ballot(seat.group.id, vote_id, round_, guess)
    except ClosedVoteError:
        if here.progress.has_vote(seat.member.id, vote_id, round_, key):
            return  # it was kept while it could be, and the answer did not arrive
        raise
    here.progress.vote(seat.member.id, vote_id, round_, guess, key)


def _mine(here: Desk, vote_id: str, member: str) -> dict[str, Any] | None:
    """What the member has answered already in the vote that runs, by round; for a new browser,
    which from then on knows by itself. None where the database cannot say."""
    if not vote_id:
        return {}
    try:
        rounds = here.progress.ballots(member, vote_id)
    except StrataError:
        return None
    return {str(number): guess for number, guess in rounds.items()}


async def _seat(connection: HTTPConnection) -> Seat | None:
    if door.reception is None:
        return None
    token = connection.cookies.get(door.COOKIE, "")
    return await run_in_threadpool(door.reception.seated, token)


async def _is_deleted(socket: WebSocket, class_id: str, member: str) -> bool:
    """Whether the member was deleted since the socket was opened. The database is asked only of
    who was not there at the latest look."""
    if desk is None or desk.board.knows(class_id, member):
        return False
    with suppress(StrataError):
        assert door.reception is not None
        token = socket.cookies.get(door.COOKIE, "")
        return await run_in_threadpool(door.reception.roster.seated, token) is None
    return False


async def _until_gone(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_bytes()  # nothing is expected; a flood is not kept


routes = [
    WebSocketRoute("/live", listen),
    WebSocketRoute("/live/wall", show),
    Route("/live/vote", cast, methods=["POST"]),
]
