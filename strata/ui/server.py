"""The server around the pages: start-up, `/readyz`, and the headers of every answer."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strata.classroom import class_mode

# Streamlit's own bundle needs inline styles; Vega compiles its expressions, and components are
# loaded as blobs. Nothing is loaded from, or sent to, anywhere else.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' ws: wss: blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """Adds `HEADERS` to every HTTP answer that does not carry them already."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                extra = [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in present
                ]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


@dataclass
class Readiness:
    """Whether the default model has answered a real prompt yet, and if not, why.

    Here, since an answer about it must not wait until torch is imported.
    """

    ready: bool = False
    reason: str = "starting"


readiness = Readiness()


async def readyz(request: Request) -> JSONResponse:
    """200 once the default model has answered a real prompt; until then 503 with the reason."""
    return JSONResponse(
        {"ready": readiness.ready, "reason": readiness.reason},
        status_code=200 if readiness.ready else 503,
    )


def _open_door() -> None:
    """Where classes are held, nobody passes without a seat. A bad setting ends the server."""
    if class_mode():
        from strata.classroom.settings import teacher_hash
        from strata.ui.door import open_door

        open_door(teacher_hash()).roster.remove_expired()


def _start() -> None:
    # A start makes a million objects, and they stay: to look for garbage after every 700 of them
    # costs a second of it.
    gc.set_threshold(100_000)
    from strata.ui.learner import progress

    progress()  # sends what a server before this one could not store
    from strata.ui.resources import warm_up  # takes seconds: torch and transformers

    warm_up()


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Warm up beside the server, so that the first page can already show how far it is."""
    _open_door()
    threading.Thread(target=_start, name="warm-up", daemon=True).start()
    yield {}
    from strata.ui.learner import progress
    from strata.ui.resources import engine

    engine().close()
    progress().close()


routes = [Route("/readyz", readyz)]
middleware = [Middleware(SecurityHeaders)]
if class_mode():  # else nothing of it is even imported
    from strata.ui import door

    routes += door.routes
    middleware.append(Middleware(door.Door))
