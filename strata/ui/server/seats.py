"""The seats of one browser: the one that it sits on, and at most one that is kept beside it.

A teacher who looks at what learners see keeps the teacher's seat beside the learner's, and a
learner's seat waits while a teacher uses the machine. Two learners' are never kept together: a
shared computer would give one's work to the other.
"""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import Response

from strata.classroom.roster import SEAT_HOURS, Seat

COOKIE, BESIDE = "strata_seat", "strata_beside"
TEACHER_HOURS = 12.0


def scheme(request: Request) -> str:
    """http or https, as the browser speaks it to the outermost proxy."""
    return request.headers.get("x-forwarded-proto", request.url.scheme)


def put(
    answer: Response, request: Request, token: str, is_teacher: bool, name: str = COOKIE
) -> None:
    """Have the browser keep a seat's token, for as long as such a seat lasts."""
    seconds = int((TEACHER_HOURS if is_teacher else SEAT_HOURS) * 3600)
    secure = scheme(request) == "https"
    answer.set_cookie(name, token, seconds, httponly=True, samesite="lax", secure=secure)
    answer.headers["cache-control"] = "no-store"


def home(seat: Seat) -> str:
    """Where who has this seat begins."""
    return "/class" if seat.is_teacher else "/lessons"


def whose(seat: Seat) -> str:
    """Who sits there, in words."""
    if seat.member is None or seat.group is None:
        return "the teacher"
    return f"{seat.member.name} in {seat.group.name}"


def change(to: Seat) -> str:
    """A form, in HTML, that makes the seat beside the one that the browser sits on."""
    return (
        f'<form method=post action="/switch"><button>Go on as {escape(whose(to))}</button></form>'
    )


def told_at_the_door(seat: Seat | None, beside: Seat | None) -> str:
    """For who is about to join: who sits at this browser already, and what becomes of that seat."""
    said = change(beside) if beside is not None else ""
    if seat is not None and seat.is_teacher:
        said = '<p>You sit here as the teacher. <a href="/class">Back to the class page</a></p>'
    elif seat is not None and seat.member is not None:
        name = escape(seat.member.name)
        said += f"""<p>This browser is now that of {escape(whose(seat))}.
          <a href="/lessons">Go on as {name}</a>. Whoever joins below takes it over; {name} then
          comes back with the resume code.</p>"""
    return f"<section class=here>{said}</section>" if said else ""


def told_to_a_teacher(seat: Seat | None, beside: Seat | None) -> str:
    """The same for who is about to enter as the teacher."""
    if seat is not None and seat.is_teacher:
        said = '<p>You are in already. <a href="/class">To the class page</a></p>'
    elif beside is not None and beside.is_teacher:
        said = change(beside)
    elif seat is not None:
        said = f"""<p>This browser is now that of {escape(whose(seat))}. That seat is kept while you
          are the teacher here, and taken again when you leave.</p>"""
    else:
        return ""
    return f"<section class=here>{said}</section>"


def keep_the_teachers(seat: Seat | None, beside: Seat | None) -> str:
    """For a teacher who joins as a learner: whether this browser keeps the teacher's seat as well;
    '' for others."""
    if not any(each is not None and each.is_teacher for each in (seat, beside)):
        return ""
    return """<label class=keep><input type=checkbox name=keep value=1 checked>
      Keep the teacher's seat beside it: both have a link to change over. Not on a machine that
      learners use.</label>"""
