"""The file that every page's address answers with: Streamlit's, the server's place, the style."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from strata.concepts.views import concepts
from strata.ui.server import index


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=[index.route]))


@pytest.mark.parametrize("name", ["", "lessons", "class", "projector", *concepts()])
def test_a_page_comes_with_its_style(client: TestClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    assert answer.text.index('id="root"') < answer.text.index(
        f"<style>{index.STYLE}</style></body>"
    )
    assert "<title>Strata</title>" in answer.text
    assert "BACKEND_BASE_URL" in answer.text


@pytest.mark.parametrize("name", ["favicon.png", "static/js/index.js", "predictions/x", "a-b"])
def test_a_file_is_none_of_its(client: TestClient, name: str) -> None:
    assert client.get(f"/{name}").status_code == 404


def test_every_room_has_its_rule() -> None:
    assert all(f"st-key-room{tall}_" in index.STYLE for tall in index.ROOMS)
