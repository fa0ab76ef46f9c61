"""How pages look is in the document that a browser asks for first, and nowhere else."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from strata.ui.server.first_paint import ROOMS, STYLE, FirstPaint

DOCUMENT = f'<html><body><div id="root"></div>{"ä" * 2000}</body></html>'
ASKS = {"accept": "text/html,*/*", "accept-encoding": "gzip"}


async def document(request: Request) -> HTMLResponse:
    return HTMLResponse(DOCUMENT, headers={"etag": '"file"', "x-kept": "yes"})


async def of_the_door(request: Request) -> HTMLResponse:
    return HTMLResponse("<html><body><form></form></body></html>")


async def facts(request: Request) -> JSONResponse:
    return JSONResponse({"text": '<div id="root"></body>'})


@pytest.fixture
def client() -> TestClient:
    routes = [Route("/", document), Route("/join", of_the_door), Route("/facts", facts)]
    middleware = [Middleware(FirstPaint), Middleware(GZipMiddleware)]
    return TestClient(Starlette(routes=routes, middleware=middleware))


def test_the_document_ends_with_the_style(client: TestClient) -> None:
    answer = client.get("/", headers=ASKS)
    assert answer.text == DOCUMENT.replace("</body>", f"<style>{STYLE}</style></body>")
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert "etag" not in answer.headers
    assert answer.headers["x-kept"] == "yes"


@pytest.mark.parametrize("path", ["/join", "/facts"])
def test_nothing_else_is_touched(client: TestClient, path: str) -> None:
    assert "<style>" not in client.get(path, headers=ASKS).text


def test_what_is_no_page_stays_compressed(client: TestClient) -> None:
    answer = client.get("/", headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text == DOCUMENT


def test_every_room_has_its_rule() -> None:
    assert all(f"st-key-room{tall}_" in STYLE for tall in ROOMS)
