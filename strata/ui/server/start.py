"""The server around the pages: start-up, `/readyz`, and the headers of every answer."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from strata.classroom import class_mode
from strata.errors import StrataError
from strata.runtime import descriptors, memory
from strata.ui.server import connections, files, index, tabs, throughput
from strata.ui.server.connections import HangingUp
from strata.ui.server.log import Log
from strata.ui.server.readiness import readiness
from strata.ui.server.tabs import FewSockets
from strata.ui.server.uploads import FewUploads

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
_FEW = 100  # learners, for whom the hard limit of descriptors is hardly ever too low
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


async def readyz(request: Request) -> JSONResponse:
    """200 once the default model has answered a real prompt; until then 503 with the reason.

    With `?kept` 503 also while what learners do would be lost with the server. Not without it: a
    proxy that took all servers of a full disk out of service would help nobody. `learners`: for how
    many this process has descriptors.
    """
    durable, waiting = readiness.kept()
    said = {"ready": readiness.ready, "reason": readiness.reason, "kept": durable}
    well = readiness.ready and (durable or "kept" not in request.query_params)
    told = {**said, "waiting": waiting, "learners": connections.learners()}
    return JSONResponse(told, 200 if well else 503)


def _start() -> None:
    # A start makes a million objects, and they stay: to look for garbage after every 700 of them
    # costs a second of it. All objects are looked through only when `warm_up` says so.
    gc.set_threshold(100_000, 10, 1_000_000)
    if class_mode():
        print("  Strata: the teacher enters at /teach of this address", flush=True)
        print(f"  Strata: files and sockets for {_room()}", flush=True)
    from strata.ui.server.learner import progress

    kept = progress()  # sends what a server before this one could not store
    readiness.kept = lambda: (kept.is_durable, kept.waiting())
    from strata.ui.server.resources import warm_up  # takes seconds: torch and transformers

    warm_up()


def _room() -> str:
    """How many learners can be here at once, and what to do if that is a school class or less."""
    n = connections.learners()
    return f"{n:,} learners" + (
        f": this process may open only {descriptors.limit():,} files and sockets; for more, raise "
        "its hard limit (`ulimit -Hn`)"
        if n < _FEW
        else ""
    )


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    """Warm up beside the server, so that the first page can already show how far it is."""
    Log(nameless=class_mode()).begin()
    threading.Thread(target=_start, name="warm-up", daemon=True).start()
    async with _watching():
        yield {}
    from strata.ui.server.learner import progress
    from strata.ui.server.resources import engine

    engine().close()
    progress().close()


def _watching() -> AbstractAsyncContextManager[None]:
    """Where classes are held, their browsers hear what has changed."""
    if not class_mode():
        return nullcontext()
    from strata.ui.server import live

    return live.watching()


def _open_door() -> None:
    """Where classes are held, nobody passes without a seat. Raises StrataError before anything is
    served if a setting is wrong or the database cannot be used."""
    if not class_mode():
        return
    from strata.classroom.settings import class_settings
    from strata.ui.server import door, live, sheet

    settings = class_settings()
    accounts: tuple[str, ...] = ()
    if settings.has_oidc:
        from strata.ui.server import oidc

        accounts = (oidc.BEGIN, oidc.BACK)
        routes.extend(oidc.Accounts(settings).routes())
    routes.extend([*door.routes, *live.routes, *sheet.routes])
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts, www_redirect=False)
    middleware.extend((hosts, Middleware(door.Door), Middleware(files.OwnFiles)))
    door.open_door(settings.teacher_hash, accounts).roster.remove_expired()


descriptors.raise_limit()
memory.few_pools()
throughput.mend()
routes: list[BaseRoute] = [Route("/readyz", readyz)]
middleware = [Middleware(SecurityHeaders), Middleware(HangingUp)]
try:
    _open_door()
except StrataError as error:  # one sentence, and no server that is open where it should be closed
    raise SystemExit(f"strata: {error}") from None
middleware.extend((Middleware(FewSockets), Middleware(FewUploads)))  # behind the door: by seat
routes.extend((tabs.route, index.route))
