"""What a class's browsers hear without asking, and where they hand in their ballots.

Each browser of a class keeps a socket open; `watching` looks at the database twice a second, and
who is in a class of which something has changed is told its whole screen (see
`strata.classroom.board`). No page is run for it, so a class of hundreds follows at once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
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
from strata.ui.server import door

if TYPE_CHECKING:  # imported late: pandas and scipy take seconds
    from strata.classroom.board import Board
    from strata.classroom.votes import Votes
    from strata.lessons.progress import Progress

EVERY = 0.5  # seconds between two looks
_SWEEP = 300.0  # seconds between two looks for classes whose time is over
_LONGEST = 2_000  # bytes of a ballot
_log = logging.getLogger("strata")


@dataclass(eq=False)
class _Listener:
    class_id: str
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


@asynccontextmanager
async def watching() -> AsyncIterator[None]:
    """Tell the browsers of each class what has changed, until the server ends."""
    task = asyncio.create_task(_watch())
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


async def _watch() -> None:
    here = await run_in_threadpool(open_desk)
    down, swept = False, time.monotonic()
    while True:
        try:
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
            moved, down = set(), True
        except Exception:  # a bug: classes still hear of what changes next
            _log.exception("a look at the classes failed")
            moved = set()
        for listener in here.listeners:
            if listener.class_id in moved:
                listener.told.set()
        await asyncio.sleep(EVERY)


async def listen(socket: WebSocket) -> None:
    """A browser's socket: its class's screen now, and again whenever it has changed."""
    seat, here = await _seat(socket), desk
    if here is None or seat is None or seat.group is None or seat.member is None:
        await socket.close(1013 if here is None else 1008)
        return
    await socket.accept()
    zone = zone_named(socket.query_params.get("zone"))
    mine = await run_in_threadpool(_mine, seat.group.id, seat.member.id)
    listener = _Listener(seat.group.id)
    here.listeners.add(listener)
    gone = asyncio.ensure_future(_until_gone(socket))
    try:
        while not gone.done():
            listener.told.clear()
            screen = here.board.screen(listener.class_id, zone)
            await socket.send_json({**screen, "mine": mine})
            told = asyncio.ensure_future(listener.told.wait())
            await asyncio.wait({gone, told}, return_when=asyncio.FIRST_COMPLETED)
            told.cancel()
            mine = {}  # from here on the browser knows
    except WebSocketDisconnect:
        pass
    finally:
        here.listeners.discard(listener)
        gone.cancel()


async def cast(request: Request) -> JSONResponse:
    """Keep a ballot; a repeat of it with the same key is kept once. 409: not to be tried again."""
    seat = await _seat(request)
    if desk is None or seat is None or seat.group is None or seat.member is None:
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
        wrong = "Not kept yet: the class's database does not answer. It is tried again."
        return JSONResponse({"wrong": wrong}, 503)
    if not desk.progress.is_durable:
        wrong = "Not kept yet: the server can write neither to its database nor to its disk."
        return JSONResponse({"wrong": f"{wrong} It is tried again."}, 503)
    return JSONResponse({"kept": True})


def _keep(here: Desk, seat: Seat, body: bytes) -> None:
    assert seat.group is not None
    assert seat.member is not None
    try:
        said: Any = json.loads(body)
        vote_id, round_, guess, key = (said[name] for name in ("vote", "round", "guess", "key"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError("This is not a ballot.") from None
    if not isinstance(key, str) or not 8 <= len(key) <= 64 or type(round_) is not int:
        raise InputError("This is not a ballot.")
    guess = here.board.ballot(seat.group.id, vote_id, round_, guess)
    here.progress.vote(seat.member.id, vote_id, round_, guess, key)


def _mine(class_id: str, member: str) -> dict[str, Any]:
    """What the member has answered already in the vote that runs, by round; for a new browser."""
    assert desk is not None
    with suppress(StrataError):
        vote = desk.votes.running(class_id)
        if vote is not None:
            rounds = desk.votes.ballots(vote.id)[vote.id]
            return {str(n): cast[member] for n, cast in rounds.items() if member in cast}
    return {}


async def _seat(connection: HTTPConnection) -> Seat | None:
    if door.reception is None:
        return None
    with suppress(StrataError):
        token = connection.cookies.get(door.COOKIE, "")
        return await run_in_threadpool(door.reception.seated, token)
    return None


async def _until_gone(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_bytes()  # nothing is expected; a flood is not kept


routes = [WebSocketRoute("/live", listen), Route("/live/vote", cast, methods=["POST"])]
