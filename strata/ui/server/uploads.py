"""How much one browser tab may leave with the server, whatever the page asks for.

Streamlit bounds the size of a file (`server.maxUploadSize`) but not how many are sent to a session,
and keeps all of them in memory until the session ends.
"""

from __future__ import annotations

from threading import Lock

from cachetools import LRUCache
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MOST_FILES = 8  # of a session at a time
_SESSIONS = 10_000  # whose files are counted
_PATH = "/_stcore/upload_file/"


class FewUploads:
    """Refuses a session's ninth file until another one has been taken back."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._files: LRUCache[str, set[str]] = LRUCache(_SESSIONS)
        self._lock = Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, uploads, rest = scope.get("path", "").partition(_PATH)
        if scope["type"] == "http" and uploads:
            session, _, file = rest.partition("/")
            if not self._count(scope["method"], session, file):
                refusal = PlainTextResponse("Too many files; reload the page.", status_code=429)
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _count(self, method: str, session: str, file: str) -> bool:
        with self._lock:
            files = self._files.setdefault(session, set())
            if method == "DELETE":
                files.discard(file)
            elif method == "PUT":
                if len(files) >= MOST_FILES and file not in files:
                    return False
                files.add(file)
        return True
