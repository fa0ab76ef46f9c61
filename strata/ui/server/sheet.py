"""A sheet to print: how to come into a class, for everybody or cut into a slip for each learner."""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs

import segno
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from strata.classroom.roster import Class, Member, Roster
from strata.errors import StrataError
from strata.ui.server import door, seats
from strata.ui.server.door_pages import page

_ROWS = 8  # empty slips, on one sheet of paper


async def sheet(request: Request) -> Response:
    """The sheet of the class that the address names, for a teacher. A POST gives every learner, or
    the one that it names, a new resume code, on a slip: only its hash is stored."""
    reception = door.reception
    token = request.cookies.get(door.COOKIE, "")
    try:
        seat = None if reception is None else await run_in_threadpool(reception.seated, token)
        if reception is None or seat is None or not seat.is_teacher:
            return _refused("This page is the teacher's.", 403)
        class_id = request.query_params.get("of", "")
        group = await run_in_threadpool(reception.roster.get, class_id)
        if group is None:
            return _refused("This class is not there any more.", 404)
        members = await run_in_threadpool(reception.roster.members, group.id)
        link = f"{seats.scheme(request)}://{request.url.netloc}/join?code={group.code}"
        if request.method != "POST":
            return _answer(group, link, members, [("", "")] * _ROWS)
        one = parse_qs((await request.body())[:1_000].decode("ascii", "replace")).get(
            "learner", [""]
        )
        chosen = [member for member in members if one[0] in ("", member.id)]
        codes = await run_in_threadpool(_renewed, reception.roster, chosen)
        return _answer(group, link, [], codes)
    except StrataError as error:
        return _refused(str(error), 503)


def _renewed(roster: Roster, members: list[Member]) -> list[tuple[str, str]]:
    return [(member.name, roster.renew(member.id)) for member in members]


def _refused(why: str, status: int) -> Response:
    return page("Sheet to print", f"<p>{escape(why)}</p>", status)


def _answer(
    group: Class, link: str, members: list[Member], slips: list[tuple[str, str]]
) -> Response:
    """`members`: those who can be given new codes; `slips`: the name and the code on each."""
    picture = segno.make(link, error="m").svg_data_uri(scale=4, border=1, light="#fff")
    head = f"""<section class=head><div><h1>{escape(group.name)}</h1>
      <p>Open <b class=link>{escape(link)}</b>, or scan the picture.</p>
      <p>Class code: <b class=code>{group.code}</b></p></div>
      <img src="{picture}" alt="The link as a QR code"></section>"""
    printed = "".join(_slip(group, link, picture, *slip) for slip in slips)
    body = f"{_ways(group, members)}{head}<section class=slips>{printed}</section>"
    answer = HTMLResponse(_FRAME.format(title=escape(group.name), body=body))
    answer.headers["cache-control"] = "no-store"
    answer.headers["referrer-policy"] = "same-origin"  # see `door_pages.page`
    return answer


def _slip(group: Class, link: str, picture: str, name: str, code: str) -> str:
    named = f"<b>{escape(name)}</b>" if name else "Name: <i class=blank></i>"
    known = f"<b class=code>{code}</b>" if code else "<i class=blank></i>"
    return f"""<article><img src="{picture}" alt=""><div><p>{named}</p>
      <p>{escape(group.name)}, class code <b class=code>{group.code}</b></p>
      <p class=link>{escape(link)}</p><p>My resume code: {known}</p></div></article>"""


def _ways(group: Class, members: list[Member]) -> str:
    """What is on the screen only."""
    told = "<p>Print this page with your browser: Ctrl + P, or ⌘ P.</p>"
    if members:
        ones = "".join(f"<option value={m.id}>{escape(m.name)}</option>" for m in members)
        told += f"""<form method=post action="/sheet?of={group.id}"><p>The slips below are to be
          filled in by hand. Resume codes are stored nowhere, so a slip with a code gets a new one:
          the code that its learner had before is then worth nothing.</p>
          <label>Slips with new resume codes for
          <select name=learner><option value="">everyone ({len(members):,})</option>{ones}</select>
          </label> <button>Make them</button></form>"""
    return f"<section class=screen>{told}</section>"


_FRAME = """<!doctype html><html lang=en><meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1"><title>{title} · Strata</title>
<style>
:root {{ color-scheme: light; }}
body {{ background: #fff; color: #1f2330; font: 1rem/1.45 system-ui, sans-serif;
  max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem; overflow-wrap: anywhere; }}
h1 {{ margin: 0 0 .4rem; font-size: 1.8rem; }} p {{ margin: .25rem 0; }}
.screen {{ background: #f3f2fb; border-left: .3rem solid #5a45c9; padding: .7rem 1rem;
  margin-bottom: 1.5rem; }}
button, select {{ font: inherit; padding: .4rem .8rem; border-radius: .4rem; max-width: 100%;
  border: 1px solid #7a7d8a; background: #fff; color: inherit; }}
button {{ background: #5a45c9; color: #fff; font-weight: 600; border: 0; cursor: pointer; }}
.head {{ display: flex; gap: 1.5rem; justify-content: space-between; align-items: start; }}
.head img {{ width: 11rem; height: 11rem; flex: none; }}
.code {{ font: 600 1.15em ui-monospace, monospace; letter-spacing: .05em; white-space: nowrap; }}
.slips {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
  gap: 0 1rem; margin-top: 1rem; }}
article {{ display: flex; gap: .9rem; padding: .8rem 0; border-top: 1px dashed #7a7d8a;
  break-inside: avoid; }}
article img {{ width: 5.5rem; height: 5.5rem; flex: none; }}
.blank {{ display: inline-block; min-width: 11rem; border-bottom: 1px solid #1f2330; }}
@media print {{ .screen {{ display: none; }} body {{ margin: 0; max-width: none; }} }}
</style><main>{body}</main></html>"""

routes = [Route("/sheet", sheet, methods=["GET", "POST"])]
