"""Files of a page belong to the seat whose page has them.

Streamlit keeps a page's downloads and pictures under an address that is made of their content, and
serves it to whoever asks: who knows a class's gradebook by its address, from a browser's history
say, would get it with any seat. The same holds for a file that is sent to another's page.
"""

from __future__ import annotations

import os
from threading import Lock

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.runtime import exists, get_instance
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.scriptrunner import get_script_run_ctx

_SEATS, _FILES = 5_000, 500  # the latest seats, and of each the latest files
_MEDIA, _UPLOADS = "/media/", "/_stcore/upload_file/"
_keep = MemoryMediaFileStorage.load_and_get_id


class Given:
    """Which files each seat's pages have had lately. Safe to share between threads."""

    def __init__(self) -> None:
        self._files: LRUCache[str, LRUCache[str, bool]] = LRUCache(_SEATS)
        self._lock = Lock()

    def give(self, seat: str, file: str) -> None:
        with self._lock:
            self._files.setdefault(seat, LRUCache(_FILES))[file] = True

    def has(self, seat: str, file: str) -> bool:
        with self._lock:
            return file in self._files.get(seat, ())


given = Given()


def keep_and_note(
    storage: MemoryMediaFileStorage,
    content: str | bytes,
    mimetype: str,
    kind: MediaFileKind,
    filename: str | None = None,
) -> str:
    """Keep a file as Streamlit does, and note whose page has it."""
    file = _keep(storage, content, mimetype, kind, filename)
    run = get_script_run_ctx(suppress_warning=True)
    if run is not None and (seat := run.user_info.get("seat")):
        given.give(str(seat), file)
    return file


class OwnFiles:
    """Behind the door: a file is served to a seat whose page has it, and taken for a page of that
    seat only. For others there is none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_own(str(scope["path"]), scope):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _is_own(path: str, scope: Scope) -> bool:
    seat = Headers(scope=scope).get("x-strata-seat", "")
    if path.startswith(_MEDIA):
        return given.has(seat, os.path.splitext(path.removeprefix(_MEDIA))[0])
    if path.startswith(_UPLOADS) and exists():
        page = get_instance().get_client(path.removeprefix(_UPLOADS).partition("/")[0])
        return page is not None and dict(page.client_context.headers).get("x-strata-seat") == seat
    return True
