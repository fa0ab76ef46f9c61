"""How much one learner may leave with the server, whatever the page asks for.

Streamlit bounds the size of a file (`server.maxUploadSize`) but not how many are sent, to how many
tabs, and keeps all of them in memory until their session is closed.
"""

from __future__ import annotations

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from strata.ui.server.tabs import has_seat, tabs, who

MOST_FILES = 8  # at a time: of a learner of a class, in all tabs; of a tab where nobody has a seat
_PATH = "/_stcore/upload_file/"


class FewUploads:
    """Refuses a learner's ninth file until another one has been taken back, and files for a tab
    that is another's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, uploads, rest = scope.get("path", "").partition(_PATH)
        if scope["type"] == "http" and uploads:
            session, _, file = rest.partition("/")
            wrong = self._wrong(scope, session, file)
            if wrong:
                await PlainTextResponse(wrong, 429)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _wrong(self, scope: Scope, session: str, file: str) -> str:
        """Why it is refused, "" if it is not. One that is not refused is counted."""
        tab = tabs.of(session)
        if tab is None:
            return ""  # Streamlit refuses what is sent to no session
        if tab.who != who(scope):
            return "This tab is another's."
        if scope["method"] == "DELETE":
            tab.files.discard(file)
        elif scope["method"] == "PUT" and file not in tab.files:
            held = tabs.files(tab.who) if has_seat(scope) else len(tab.files)
            if held >= MOST_FILES:
                return "Too many files; close another page that has some, or reload this one."
            tab.files.add(file)
        return ""
