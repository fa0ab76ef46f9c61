"""What the forms of the door send, from anybody."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.requests import Request

_LONGEST = 10_000  # bytes


async def typed(request: Request) -> dict[str, str]:
    """The fields by name; none of a form that is too long, or has too many."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=20)
    except ValueError:  # more fields than that
        return {}
    return {name: values[0] for name, values in fields.items()}


def local(address: str) -> str:
    """An address of this server, whatever was asked for."""
    # Browsers leave out line feeds and tabs, and take a backslash for a slash.
    safe = address.startswith("/") and address.isprintable() and "\\" not in address
    return address if safe and "//" not in address[:2] and address != "/" else "/lessons"
