"""The door of a server that holds classes: nobody reaches a page without a seat.

It stands before Streamlit, so that no page, file or socket can be had past it. What it keeps in the
browser is one cookie, a random token; only its hash is stored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from html import escape
from types import MappingProxyType
from typing import TypeVar
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from strata.classroom.codes import fingerprint, is_password
from strata.classroom.roster import Roster, Seat
from strata.errors import InputError, StrataError, UnknownCodeError
from strata.runtime.attempts import Attempts
from strata.storage.database import PAUSE, AwayError, shared
from strata.ui.server import seats, tabs
from strata.ui.server.door_pages import (
    closed_page,
    join_page,
    leave_page,
    page,
    refused_page,
    switch_page,
    waiting_page,
    warning,
)
from strata.ui.server.forms import local, typed
from strata.ui.server.origin import changes, is_foreign
from strata.ui.server.seats import BESIDE, COOKIE
from strata.ui.server.waiting_room import LONGEST_WAIT, WaitingRoom

# For Streamlit (`trustedUserHeaders` of its settings), which lets a browser go on with a session
# only if this is what it was when the session began: to know another's session id is not enough.
_SEAT = b"x-strata-seat"
_OPEN = frozenset(
    ("/join", "/teach", "/leave", "/switch", "/readyz", "/_stcore/health", "/favicon.png")
)
_SHORTEST_FORM = 24  # characters of what tells one form from all others
_FRESH = 60.0  # seconds for which a seat is not looked up again while its class is as it was
_TEACHERS = ("/class", "/projector")  # pages
_MANY_WRONG = "Many wrong codes have come from your network; a right one is let in all the same."
_AWAY = "The class's database does not answer just now."
_T = TypeVar("_T")


@dataclass
class Reception:
    """What the door knows: the roster, the teacher's hash, who has just been seen.

    `accounts`: where teachers may sign in by an account elsewhere, the paths that this takes.
    """

    roster: Roster
    teacher: str
    accounts: tuple[str, ...] = ()
    # A school shares an address, and its classes come in at once.
    wrong_codes: Attempts = field(default_factory=lambda: Attempts(300, 0.5))  # until it is said
    joins: WaitingRoom = field(default_factory=lambda: WaitingRoom(Attempts(200, 0.2)))
    secrets_typed: Attempts = field(default_factory=lambda: Attempts(5, 12.0))
    _seen: dict[str, tuple[float, Seat]] = field(default_factory=dict)
    _changes: int = 0

    def seated(self, token: str) -> Seat | None:
        """Who has this cookie. StrataError if the database cannot say."""
        now = time.monotonic()
        at, seat = self._seen.get(token, (0.0, None))
        if seat is not None and now - at < _FRESH:
            return seat
        changes = self._changes
        try:
            seat = self.roster.seated(token)
        except StrataError:
            if seat is None:
                raise
            return seat  # who was in stays in while the database is away
        self._seen.pop(token, None)
        if seat is not None:
            if len(self._seen) > 5_000:
                self._seen.clear()
            self._seen[token] = now, seat
            if changes != self._changes:  # what was looked up may be what was before
                self._seen.pop(token, None)
        return seat

    def changed(self, class_ids: set[str]) -> None:
        """Look up anew who is in these classes: who is told of a change meets it too."""
        self._changes += 1
        for token, (_, seat) in list(self._seen.items()):
            if seat.group is not None and seat.group.id in class_ids:
                self._seen.pop(token, None)

    def forget(self, token: str) -> None:
        """Let a browser out."""
        self.roster.leave(token)
        self._changes += 1
        self._seen.pop(token, None)


reception: Reception | None = None


def open_door(teacher: str, accounts: tuple[str, ...] = ()) -> Reception:
    """From now on this server holds classes."""
    global reception
    reception = Reception(Roster(shared()), teacher, accounts)
    return reception


class Door:
    """Lets in who has a seat in an open class; sends others to `/join`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or reception is None:
            await self.app(scope, receive, send)
            return
        connection, path = HTTPConnection(scope), str(scope["path"])  # not what its Host says
        if changes(connection) and is_foreign(connection):
            await _refuse(scope, receive, send, "This came from a page of another site.")
            return
        if path in _OPEN or path in reception.accounts or path.startswith("/static/"):
            await self.app(scope, receive, send)
            return
        if path.rstrip("/") == "/_stcore/metrics":
            await _refuse(scope, receive, send, "Numbers about this server are not public.")
            return
        try:
            token = connection.cookies.get(COOKIE, "")
            seat = await run_in_threadpool(reception.seated, token)
        except StrataError:
            again = {"refresh": "5", "retry-after": "5"}
            await _refuse(scope, receive, send, f"{_AWAY} This page tries again.", 503, again)
            return
        closed = seat.group.closed() if seat is not None and seat.group else ""
        is_page = scope["type"] == "http" and not path.startswith("/_stcore")
        if seat is not None and not closed:
            if is_page and path in _TEACHERS and not seat.is_teacher:
                beside = await _sits(connection, BESIDE)
                if beside is not None and beside.is_teacher:
                    await RedirectResponse("/switch", 303)(scope, receive, send)
                    return
            headers = [each for each in scope["headers"] if each[0] != _SEAT]
            browser = fingerprint(token)
            whose = (_SEAT, browser.encode())
            who = tabs.member(seat.member.id) if seat.member else tabs.teacher(browser)
            await self.app({**scope, **who, "headers": [*headers, whose]}, receive, send)
        elif seat is not None and is_page:
            await closed_page(seat, closed)(scope, receive, send)
        elif seat is not None or not is_page:
            await _refuse(scope, receive, send, closed or "Enter by /join first.")
        else:
            query = scope["query_string"].decode("latin-1")
            wanted = path + (f"?{query}" if query else "")
            await RedirectResponse(f"/join?next={quote(wanted)}", 303)(scope, receive, send)


async def _refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    why: str,
    status: int = 403,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
        return
    answer = refused_page(why, again=scope["method"] == "GET", status=status)
    answer.headers.update(headers)
    await answer(scope, receive, send)


async def _sits(connection: HTTPConnection, cookie: str = COOKIE) -> Seat | None:
    """Who has the seat that this cookie of the browser names; None also if nobody can say."""
    assert reception is not None
    with suppress(StrataError):
        return await run_in_threadpool(reception.seated, connection.cookies.get(cookie, ""))
    return None


async def join(request: Request) -> Response:
    """Enter by class code and name, or come back by resume code."""
    asked = request.query_params
    next_page = local(asked.get("next", ""))
    both = await _both(request)
    told = seats.told_at_the_door(*both), seats.keep_the_teachers(*both)
    if request.method != "POST":
        return join_page(asked.get("code", ""), "", next_page, "", *told)
    assert reception is not None
    filled = await typed(request)
    code, name, resume, form = (filled.get(n, "") for n in ("code", "name", "resume", "form"))
    turn = ""
    whose = request.client.host if request.client else ""
    try:
        if resume.strip():
            member, new = await run_in_threadpool(reception.roster.resume, resume), ""
        else:
            group = await run_in_threadpool(reception.roster.by_code, code)
            turn = f"{group.id} {whose}"
            if not await reception.joins.turn(turn):
                return waiting_page(filled, next_page, "Many are joining just now.")
            form = form if _SHORTEST_FORM <= len(form) <= 64 else ""
            member, new = await run_in_threadpool(reception.roster.join, code, name, form)
        token = await run_in_threadpool(reception.roster.seat, member.id)
    except UnknownCodeError as error:  # a right one is let in, however many wrong ones came before
        many = f" {_MANY_WRONG}" if reception.wrong_codes.wait(whose) else ""
        reception.wrong_codes.take(whose)
        return join_page(code, name, next_page, f"{error}{many}", *told)
    except InputError as error:
        return join_page(code, name, next_page, str(error), *told)
    except StrataError:
        if turn:
            reception.joins.give_back(turn)
        return waiting_page(filled, next_page, _AWAY)
    answer: Response = RedirectResponse(next_page, 303)
    if new:
        body = f"""<p>Welcome, {escape(member.name)}. If you come back on another machine, or this
          one forgets you, this code brings your work back. Write it down; it is shown this
          once.</p>
          <p class=code id=resume>{new}</p>
          <p><a class=button href="{escape(next_page)}">Begin</a></p>"""
        answer = page("You are in", body)
    await _sit(request, answer, token, member.id, keep="keep" in filled)
    return answer


async def _both(request: Request) -> tuple[Seat | None, Seat | None]:
    """The seat that the browser sits on, and the one beside it."""
    return await _sits(request), await _sits(request, BESIDE)


async def _sit(request: Request, answer: Response, token: str, member: str, keep: bool) -> None:
    """Give the browser a seat, a member's or ("") a teacher's. Of those that it had, the latest of
    the other kind is kept beside it, a teacher's only if `keep`. A teacher's that is not kept, and
    another learner's over which one joins, is given back."""
    assert reception is not None
    seats.put(answer, request, token, not member)
    had = [
        (request.cookies[name], seat)
        for name, seat in zip((COOKIE, BESIDE), await _both(request), strict=True)
        if seat is not None
    ]
    others = [each for each in had if each[1].is_teacher != (not member)]
    kept = others[0] if others and keep else None
    if kept is not None:
        seats.put(answer, request, kept[0], kept[1].is_teacher, BESIDE)
    elif BESIDE in request.cookies:
        answer.delete_cookie(BESIDE)
    for each in had:
        of = "" if each[1].member is None else each[1].member.id
        # A member's own earlier one stays good: it may be all that a lost answer leaves.
        if member and of != member and each is not kept:
            with suppress(StrataError):
                await run_in_threadpool(reception.forget, each[0])


async def _once_there(act: Callable[[], _T]) -> _T:
    """What this gives once the database answers. AwayError if that takes long."""
    until = time.monotonic() + LONGEST_WAIT
    while True:
        try:
            return await run_in_threadpool(act)
        except AwayError:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(PAUSE)


async def teach(request: Request) -> Response:
    """Enter as the teacher, by the secret."""
    if request.method != "POST":
        return teachers_page(here=seats.told_to_a_teacher(*await _both(request)))
    assert reception is not None
    secret = (await typed(request)).get("secret", "")
    whose = request.client.host if request.client else ""
    if wait := reception.secrets_typed.wait(whose):
        return teachers_page(f"Too many attempts; try again in {wait:.0f} seconds.")
    reception.secrets_typed.take(whose)  # before it is looked at: many may be sent at once
    known = bool(reception.teacher)
    if known and await run_in_threadpool(is_password, secret, reception.teacher):
        return await let_teacher_in(request)
    return teachers_page("This is not the teacher's secret.")


async def let_teacher_in(request: Request) -> Response:
    """Give the browser the teacher's seat, whoever the teacher is, and open the class page."""
    assert reception is not None
    try:
        token = await _once_there(partial(reception.roster.seat, "", seats.TEACHER_HOURS))
    except StrataError:
        return teachers_page(f"{_AWAY} Try again.")
    answer = RedirectResponse("/class", 303)
    await _sit(request, answer, token, "", keep=True)
    return answer


def teachers_page(wrong: str = "", here: str = "") -> Response:
    """How a teacher comes in, why it did not work, and who sits `here` already, in HTML."""
    assert reception is not None
    by_secret = """<form method=post action="/teach"><label>The teacher's secret
      <input name=secret type=password required autofocus autocomplete=current-password></label>
      <button>Enter</button></form>"""
    by_account = ""
    if reception.accounts:
        by_account = f'<p><a class=button href="{reception.accounts[0]}">Sign in</a></p>'
    body = f"""{warning(wrong)}{here}{by_account}{by_secret if reception.teacher else ""}
      <p><a href="/join">I am a learner</a></p>"""
    return page("For the teacher", body, status=403 if wrong else 200)


async def leave(request: Request) -> Response:
    """Give the seat back, for the one beside it if there is one; what was done is kept."""
    beside = await _sits(request, BESIDE)
    if request.method != "POST":
        return leave_page(await _sits(request), beside)
    both = "both" in await typed(request)
    assert reception is not None
    try:
        await _once_there(partial(reception.forget, request.cookies.get(COOKIE, "")))
    except StrataError:
        wrong = f"{_AWAY} You have not left yet."
        return leave_page(await _sits(request), beside, wrong)
    answer = RedirectResponse("/join", 303)
    if beside is not None and not both:
        answer = RedirectResponse(seats.home(beside), 303)
        seats.put(answer, request, request.cookies[BESIDE], beside.is_teacher)
    elif COOKIE in request.cookies:
        answer.delete_cookie(COOKIE)
    if BESIDE in request.cookies:
        answer.delete_cookie(BESIDE)
        if both:
            await run_in_threadpool(reception.forget, request.cookies[BESIDE])
    return answer


async def switch(request: Request) -> Response:
    """Sit on the seat that is kept beside this one, which is kept in its place."""
    seat, beside = await _both(request)
    if beside is None:
        return RedirectResponse("/join" if seat is None else seats.home(seat), 303)
    if request.method != "POST":
        return switch_page(seat, beside)
    answer = RedirectResponse(seats.home(beside), 303)
    seats.put(answer, request, request.cookies[BESIDE], beside.is_teacher)
    if seat is None:
        answer.delete_cookie(BESIDE)
    else:
        seats.put(answer, request, request.cookies[COOKIE], seat.is_teacher, BESIDE)
    return answer


routes = [
    Route("/join", join, methods=["GET", "POST"]),
    Route("/teach", teach, methods=["GET", "POST"]),
    Route("/leave", leave, methods=["GET", "POST"]),
    Route("/switch", switch, methods=["GET", "POST"]),
]
