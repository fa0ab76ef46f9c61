"""How pages look, in the document that a browser asks for first.

A style that comes with a page's run comes after its first elements, which then jump; one in the
document is there before them.
"""

from __future__ import annotations

from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ANATOMY = Path(__file__).parents[1] / "anatomy"
_FILES = ("style.css", "layout.css", "loading.css")
ROOMS = range(0, 900, 20)  # pixels that `style.room` may keep for what is yet to come
STYLE = "".join((_ANATOMY / name).read_text("utf-8") for name in _FILES) + "".join(
    f'[class*="st-key-room{tall}_"] {{ min-height: {tall}px; }}' for tall in ROOMS
)
# Behind Streamlit's root, so that of rules of the same weight ours hold.
_BEFORE = b"</body>"
_ADDED = f"<style>{STYLE}</style>".encode()


class FirstPaint:
    """Adds `STYLE` to the document in which Streamlit draws all pages."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        if b"text/html" in dict(scope["headers"]).get(
            b"accept", b""
        ):  # nothing is added to what is compressed
            plain = [each for each in scope["headers"] if each[0] != b"accept-encoding"]
            scope = {**scope, "headers": plain}
        started: Message | None = None
        body = b""

        async def send_styled(message: Message) -> None:
            nonlocal started, body
            if message["type"] == "http.response.start" and _is_document(message):
                started = message
            elif started is None:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body"):
                    await send(_with_length(started, body := _styled(body)))
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, send_styled)


def _is_document(start: Message) -> bool:
    headers = dict(start["headers"])
    return bool(
        start["status"] == 200
        and headers.get(b"content-type", b"").startswith(b"text/html")
        and b"content-encoding" not in headers
    )


def _styled(body: bytes) -> bytes:
    """Only where Streamlit draws: pages of the door bring their own."""
    return body.replace(_BEFORE, _ADDED + _BEFORE, 1) if b'id="root"' in body else body


def _with_length(start: Message, body: bytes) -> Message:
    """What named the file's own bytes no longer does."""
    own = {b"content-length", b"etag", b"last-modified"}
    kept = [(name, value) for name, value in start["headers"] if name.lower() not in own]
    return {**start, "headers": [*kept, (b"content-length", str(len(body)).encode())]}
