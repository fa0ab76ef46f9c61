"""Whose page a request comes from: this server's own, or another site's in the same browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

_READS = ("GET", "HEAD", "OPTIONS")


def changes(connection: HTTPConnection) -> bool:
    """Whether a request could change something, as a form does or a socket."""
    return connection.scope["type"] == "websocket" or connection.scope["method"] not in _READS


def is_foreign(connection: HTTPConnection) -> bool:
    """Whether the browser says that a page of another site asks.

    A cookie alone does not tell: another site's form may come without one, and its answer would
    still change the cookies here. Browsers say `Sec-Fetch-Site` over TLS and to this machine only
    (W3C Fetch Metadata), `Origin` with every form and socket (RFC 6454), "null" where a page hides
    what it is. What says neither is a program, which has no cookies but its own.
    """
    site, origin = (connection.headers.get(name) for name in ("sec-fetch-site", "origin"))
    if site not in (None, "same-origin", "none"):
        return True
    if origin is None:
        return False
    try:
        asked = urlsplit(origin)
        own = urlsplit(f"{asked.scheme}://{connection.headers.get('host', '')}")
        return not asked.hostname or _place(asked.hostname, asked.port, asked.scheme) != _place(
            own.hostname, own.port, asked.scheme
        )
    except ValueError:  # a port that is none, half an address in brackets
        return True


def _place(host: str | None, port: int | None, scheme: str) -> tuple[str | None, int | None]:
    """Host and port, the usual port of the scheme as if it were not there."""
    return host, None if port == {"http": 80, "https": 443}.get(scheme) else port
