"""The one HTML file with which the address of every page answers: Streamlit's, told where its
server is, how pages look, what the terms on them mean, and which scripts will be needed. A style
that comes with a page's run comes after its first elements, which then jump; and what is the same
in every run need not be sent with each.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route
from streamlit import file_util

from strata.classroom import class_mode
from strata.display.terms import forms
from strata.errors import StrataError
from strata.lessons import glossary
from strata.ui.server.first_page import early_guess

# At /scaling its script cannot tell whether "scaling" is a page or a folder that holds the app, and
# asks for two files below it, in vain, before it asks where they are.
# A page that a browser has kept whole, as behind the one of a tab that rests, has lost its session.
_WHERE = (
    '<script>window.__streamlit = {BACKEND_BASE_URL: new URL(".", location).href};'
    'addEventListener("pageshow", (shown) => shown.persisted && location.reload())</script>'
)
_HEAD, _HEAD_END, _TITLE, _END = "<head>", "</head>", "<title>Streamlit</title>", "</body>"
_ROOT = '<div id="root">'
# What Streamlit's head asks for: six files come at a time, and before the style nothing is painted.
_ASKED = re.compile(
    r'\s*<(script type="module" [^>]*></script|link rel="(modulepreload|stylesheet)" [^>]*)>'
)

# Of Streamlit's sources, what the first page draws. Their scripts, and those that these import,
# would be asked for only once the page runs: 29 kB and 196 kB.
EARLY = (
    "widgets/TextInput/TextInput.tsx",
    "widgets/Button/Button.tsx",
    "widgets/BidiComponent/BidiComponent.tsx",
)

ROOMS = range(0, 900, 20)  # pixels that `style.room` may keep for what is yet to come
_ANATOMY = Path(__file__).parents[1] / "anatomy"
_FILES = (
    "style.css",
    "access.css",
    "layout.css",
    "loading.css",
    "print.css",
    "terms.css",
    "space.css",
)
STYLE = "".join((_ANATOMY / name).read_text("utf-8") for name in _FILES) + "".join(
    f'[class*="st-key-room{tall}_"] {{ min-height: {tall}px; }}' for tall in ROOMS
)

# Holds while a class votes, see live.js.
COVER = (_ANATOMY.parent / "classroom" / "cover.css").read_text("utf-8")

_SCRIPT = (_ANATOMY / "terms.js").read_text("utf-8")


class _Name(Convertor[str]):
    """A page's name in an address, "" for the bare address; files have a dot."""

    regex = "[a-z_]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


def early(static: Path) -> list[str]:
    """The scripts behind `EARLY` that Streamlit's own file does not ask for, below its folder of
    static files; none where its list of them has changed."""
    try:
        listed = json.loads((static / "manifest.json").read_text("utf-8"))
        known: dict[str, None] = {}
        _add_imports(listed, "index.html", known)
        main = set(known)
        for source in listed:
            if source.endswith(EARLY):
                _add_imports(listed, source, known)
        return [listed[each]["file"] for each in known if each not in main]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []


def _add_imports(listed: dict[str, Any], name: str, known: dict[str, None]) -> None:
    if name not in known:
        known[name] = None
        for other in listed[name].get("imports", ()):
            _add_imports(listed, other, known)


@lru_cache(maxsize=4)
def _index(terms: str, begins: bool) -> str:
    static = Path(file_util.get_static_dir())
    html = (static / "index.html").read_text("utf-8")
    # At the end, so that of rules of the same weight ours hold.
    cover = f'<style id="strata-cover" media="not all">{COVER}</style>'
    html = html.replace(_END, f"<style>{STYLE}</style>{cover}{terms}{_END}")
    links = (f'<link rel="modulepreload" crossorigin href="./{file}">' for file in early(static))
    html = html.replace(_HEAD_END, f"{''.join(links)}{_HEAD_END}", 1)
    if begins:  # it is painted, and what draws the page is asked for after it
        asked = "".join(found[0] for found in _ASKED.finditer(html))
        html = _ASKED.sub("", html).replace(_ROOT, f"{early_guess(html)}{asked}{_ROOT}", 1)
    return html.replace(_HEAD, _HEAD + _WHERE, 1).replace(_TITLE, "<title>Strata</title>", 1)


def _terms() -> str:
    """The script that explains terms, and those it explains; none if they cannot be read."""
    try:
        known = glossary()
    except StrataError:
        return ""
    told = forms(known)
    said = json.dumps({"forms": told, "meanings": {term: known[term] for term in told.values()}})
    inert = said.replace("<", r"\u003c")  # nothing in it ends the script
    return f'<script>window.strataTerms = {inert}</script><script type="module">{_SCRIPT}</script>'


async def _page(request: Request) -> HTMLResponse:
    # Of a class it is not known yet whether it is open, and who comes is to see that first.
    begins = not request.path_params["name"] and not class_mode()
    return HTMLResponse(_index(_terms(), begins), headers={"cache-control": "no-cache"})


register_url_convertor("page_name", _Name())
route = Route("/{name:page_name}", _page)  # after all others of one word
