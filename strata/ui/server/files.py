"""Files of a page belong to the seat whose page has them.

Streamlit keeps a page's downloads and pictures under an address that is made of their content, and
serves it to whoever asks: who knows a class's gradebook by its address, from a browser's history
say, would get it with any seat. It makes a file that is made at the press of a button for whichever
page asks, and takes one that is sent for whichever page is named.
"""

from __future__ import annotations

import os
from threading import Lock

from cachetools import LRUCache
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackendOperationRequest
from streamlit.proto.ForwardMsg_pb2 import BackendOperationResponse
from streamlit.runtime import exists, get_instance
from streamlit.runtime.backend_operation_handler import DeferredFileHandler
from streamlit.runtime.media_file_storage import MediaFileKind
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.scriptrunner import get_script_run_ctx

_SEATS, _FILES = 5_000, 500  # the latest seats, and of each the latest files
_MEDIA, _UPLOADS = "/media/", "/_stcore/upload_file/"
_HEADER = "x-strata-seat"  # the door's
_keep = MemoryMediaFileStorage.load_and_get_id
_make = DeferredFileHandler.handle


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


async def make_for_its_page(
    handler: DeferredFileHandler, asked: BackendOperationRequest, session: str
) -> BackendOperationResponse:
    """Make a file as Streamlit does, for the page that has its button, and note whose that is."""
    button = get_instance().media_file_mgr._deferred_callables.get(asked.deferred_file.file_id)
    if button is not None and button["session_id"] != session:
        return BackendOperationResponse(
            request_id=asked.request_id, error_msg="There is no such file on this page."
        )
    answer = await _make(handler, asked, session)
    if answer.deferred_file.url:
        given.give(_seat_of(session), _named(answer.deferred_file.url))
    return answer


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
    seat = Headers(scope=scope).get(_HEADER, "")
    if path.startswith(_MEDIA):
        return given.has(seat, _named(path))
    if path.startswith(_UPLOADS) and seat:
        return _seat_of(path.removeprefix(_UPLOADS).partition("/")[0]) == seat
    return True


def _named(path: str) -> str:
    """A file as Streamlit's storage names it, by its address."""
    return os.path.splitext(path.removeprefix(_MEDIA))[0]


def _seat_of(session: str) -> str:
    """Whose page this is, "" if it is open nowhere."""
    page = get_instance().get_client(session) if exists() else None
    asked = page.client_context if page is not None else None
    return dict(asked.headers).get(_HEADER, "") if asked is not None else ""
