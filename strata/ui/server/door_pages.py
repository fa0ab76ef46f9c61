"""What the door shows: plain pages, whole in themselves, since nothing else answers without a seat.
Only those that wait have a script."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse, Response

from strata.classroom.roster import Seat
from strata.ui.server.seats import change, home, whose


def join_page(
    code: str, name: str, next_page: str, wrong: str = "", here: str = "", keep: str = ""
) -> Response:
    """How a learner comes in. `here`: who sits at this browser, and `keep`: a field that asks what
    becomes of the teacher's seat; both in HTML."""
    # Who sends this very form twice is let in once, so no two browsers may have the same.
    form = secrets.token_urlsafe(24)
    body = f"""{warning(wrong)}{here}
      <form method=post action="/join?next={escape(quote(next_page))}">
      <input type=hidden name=form value="{form}">
      <label>Class code <input name=code value="{escape(code)}" maxlength=40 autocomplete=off
        autocapitalize=none spellcheck=false></label>
      <label>Your name, as your teacher knows you <input name=name value="{escape(name)}"
        maxlength=60 autocomplete=off></label>{keep}
      <button>Join</button>
      <details{" open" if wrong and not code else ""}><summary>I was here before</summary>
      <label>Resume code <input name=resume maxlength=40 autocomplete=off autocapitalize=none
        spellcheck=false></label><button>Come back</button></details></form>
      <p>No account, no e-mail. Your teacher sees your name, your answers and the prompts that you
      type; nobody else in the class does.</p><p><a href="/teach">I teach this class</a></p>"""
    return page("Join your class", body, status=403 if wrong else 200)


def waiting_page(typed: Mapping[str, str], next_page: str, why: str) -> Response:
    """What was typed at the door, which sends itself again until there is another answer."""
    fields = "".join(
        f'<input type=hidden name={name} value="{escape(typed[name])}">'
        for name in ("form", "code", "name", "resume", "keep")
        if typed.get(name)
    )
    who = f"<p>You typed the name <b>{escape(typed['name'])}</b>.</p>" if typed.get("name") else ""
    body = f"""<p role=status>{escape(why)}</p>
      <p>There is nothing to do and nothing to type again: this page goes on trying, and you are let
      in as soon as that can be done. <span id=tries></span></p>{who}
      <form method=post action="/join?next={escape(quote(next_page))}">{fields}
      <noscript><button>Try again</button></noscript></form><script>{_AGAIN}</script>"""
    answer = page("Wait a moment", body, status=503)
    answer.headers["retry-after"] = "3"
    return answer


_AGAIN = """
let tries = 1;
async function again() {
  const form = document.forms[0];
  try {
    const body = new URLSearchParams(new FormData(form));
    const answer = await fetch(form.action, { method: "POST", body });
    if (answer.status < 500) {
      if (answer.redirected) return location.replace(answer.url);
      const page = await answer.text();
      document.open();
      document.write(page);
      return document.close();
    }
  } catch {} // the server itself is away
  tries += 1;
  document.getElementById("tries").textContent = `Tried ${tries} times.`;
  later();
}
const later = () => setTimeout(again, 2000 + 2000 * Math.random()); // not the whole class at once
later();
"""


def leave_page(seat: Seat | None, beside: Seat | None, wrong: str = "") -> Response:
    """Whether to give the seat back, or both, and why that did not work."""
    said = "Your answers are kept. To come back you need your resume code."
    if seat is not None and seat.is_teacher:
        said = "To come back you need the teacher's secret or account."
    both = ""
    if beside is not None:
        said += f" This browser then is that of {whose(beside)} again."
        both = "<p><button name=both value=1 class=quiet>Leave both seats</button></p>"
    stay = home(seat) if seat is not None else "/lessons"
    body = f"""{warning(wrong)}<p>{escape(said)}</p>
      <form method=post><button>Leave</button>{both}</form><p><a href="{stay}">Stay</a></p>"""
    return page("Leave the class?", body, status=503 if wrong else 200)


def switch_page(seat: Seat | None, beside: Seat) -> Response:
    """Whether to go on as who sits beside."""
    said = ""
    if seat is not None:
        said = f"""<p>You sit here as {escape(whose(seat))}. The seat of {escape(whose(beside))} is
          kept beside it. Tabs that are open stay as they are until they are loaded anew.</p>"""
    stay = f'<p><a href="{home(seat)}">Stay</a></p>' if seat is not None else ""
    return page("Two seats", f"{said}{change(beside)}{stay}")


def closed_page(seat: Seat, why: str) -> Response:
    """A class is closed: why, and where somebody else can go who uses this machine."""
    name = escape(seat.member.name) if seat.member else ""
    body = f"""<p>{escape(why)}</p>
      <p>What {name} did is kept. This page opens by itself as soon as the class does.</p>
      <p><a class=button href="/join">Join another class</a></p>
      <p><a href="/leave">I am not {name}</a></p>{_UNTIL_OPEN}"""
    return page("Closed for now", body, status=403)


def refused_page(why: str, again: bool, status: int = 403) -> Response:
    """Why something cannot be had; `again`: it is asked for until it can."""
    body = f"<p>{escape(why)}</p><p><a href=''>Try again</a></p>{_UNTIL_OPEN if again else ''}"
    return page("Strata", body, status=status)


# Not all of a class at once. A page that came by a form is not sent again.
_UNTIL_OPEN = """<script>
const look = async () => {
  try {
    const { status } = await fetch(location.href, { redirect: "manual", cache: "no-store" });
    if (status !== 403 && status < 500) return location.replace(location.href);
  } catch { /* the server is away: it is asked again */ }
  setTimeout(look, 5000 + 10000 * Math.random());
};
setTimeout(look, 5000 + 5000 * Math.random());
</script>"""


def warning(wrong: str) -> str:
    return f"<p class=wrong role=alert>{escape(wrong)}</p>" if wrong else ""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    # With `no-referrer`, as all else has it, a browser would say of its forms `Origin: null`.
    headers = {"referrer-policy": "same-origin", "cache-control": "no-store"}
    return HTMLResponse(_FRAME.format(title=escape(title), body=body), status, headers)


_FRAME = """<!doctype html><html lang=en><meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1"><title>{title} · Strata</title>
<style>
:root {{ color-scheme: light dark;
  --back: #fff; --ink: #1f2330; --line: #c9c9d6; --main: #5a45c9; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #14161c; --ink: #e8e9ee; --line: #4a4d5a; --main: #8f82f4; }} }}
body {{ background: var(--back); color: var(--ink); font: 1.05rem/1.5 system-ui, sans-serif;
  max-width: 26rem; margin: 8vh auto; padding: 0 1.2rem; }}
h1 {{ font-size: 1.7rem; }} label {{ display: block; margin: 1rem 0; }}
input {{ font: inherit; width: 100%; box-sizing: border-box; padding: .55rem; margin-top: .25rem;
  border: 1px solid var(--line); border-radius: .4rem; background: var(--back); color: inherit; }}
button, .button {{ font: inherit; font-weight: 600; padding: .55rem 1.4rem; border: 0;
  border-radius: .4rem; background: #5a45c9; color: #fff; text-decoration: none; cursor: pointer; }}
.code {{ font: 600 1.6rem ui-monospace, monospace; letter-spacing: .06em; }}
.wrong {{ border-left: .3rem solid #d4472f; padding-left: .8rem; }} a {{ color: var(--main); }}
a.button {{ color: #fff; }} .quiet {{ background: #5f6272; }}
.here {{ border: 1px solid var(--line); border-radius: .4rem; padding: .2rem 1rem .6rem; }}
.keep input {{ width: auto; margin: 0 .4rem 0 0; }} details {{ margin-top: 1.6rem; }}
</style><main><h1>{title}</h1>{body}</main></html>"""
