"""The file that every page's address answers with: Streamlit's, the server's place, the style."""

from __future__ import annotations

import re

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from strata.concepts.views import concepts
from strata.ui.anatomy import style
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


@pytest.mark.parametrize("height", [-5, 0, 19, 333, 380, 5000])
def test_a_room_has_a_rule_of_at_most_its_height(
    monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    keys: list[str] = []
    monkeypatch.setattr(st, "container", lambda key: keys.append(key))
    style.room(height, "figure")
    found = re.search(
        rf'\[class\*="st-key-{keys[0][:-6]}"\] {{ min-height: (\d+)px; }}', index.STYLE
    )
    assert found
    assert int(found[1]) <= max(0, height)
    assert int(found[1]) > min(height, 880) - 20
