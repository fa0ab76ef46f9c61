"""A session cannot fill the server's memory with files."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from strata.ui.server.uploads import MOST_FILES, FewUploads


async def kept(request: Request) -> PlainTextResponse:
    return PlainTextResponse("kept")


def test_a_session_has_so_many_files_at_a_time() -> None:
    route = Route("/{path:path}", kept, methods=["GET", "PUT", "DELETE"])
    client = TestClient(Starlette(routes=[route], middleware=[Middleware(FewUploads)]))

    def put(session: str, file: int) -> int:
        return client.put(f"/_stcore/upload_file/{session}/{file}").status_code

    for file in range(MOST_FILES):
        assert put("one", file) == 200
    assert put("one", 100) == 429
    assert put("one", 0) == 200, "the same again is no other file"
    assert put("two", 0) == 200
    assert client.delete("/_stcore/upload_file/one/0").status_code == 200
    assert put("one", 100) == 200
    assert put("one", 101) == 429
    assert client.get("/logit_lens").status_code == 200
