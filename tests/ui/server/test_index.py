"""The file that every page's address answers with: Streamlit's, the server's place, the style."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit import file_util
from streamlit.testing.v1 import AppTest

from strata.concepts.views import concepts
from strata.lessons import LessonError
from strata.ui.anatomy import style
from strata.ui.server import first_page, index


@pytest.fixture(scope="module")
def client() -> TestClient:
    return TestClient(Starlette(routes=[index.route]))


@pytest.mark.parametrize("name", ["", "lessons", "class", "projector", *concepts()])
def test_a_page_comes_with_its_style(client: TestClient, name: str) -> None:
    answer = client.get(f"/{name}")
    assert answer.status_code == 200
    style, end = f"<style>{index.STYLE}</style>", answer.text.index("</body>")
    assert answer.text.index('id="root"') < answer.text.index(style) < end
    assert answer.text.index(style) < answer.text.index("window.strataTerms") < end
    assert "<title>Strata</title>" in answer.text
    assert "BACKEND_BASE_URL" in answer.text


def test_the_first_page_comes_with_its_guess(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begins(name: str) -> bool:
        text = client.get(f"/{name}").text
        assert 'id="root"' in text
        return 'id="strata-first"' in text and text.count(first_page.LINE) == 1

    font = re.search(r'"Source Sans";[^}]*url\("\./(static/[^"]*)"\)', client.get("/").text)
    assert font
    assert (Path(file_util.get_static_dir()) / font[1]).is_file()
    assert begins("")
    assert not begins("lessons")
    first, other = client.get("/").text, client.get("/lessons").text
    for asked in ('.js"', "stylesheet", '.css"'):  # all is asked for, after the guess is there
        assert first.count(asked) == other.count(asked)
        assert first.index(first_page.LINE) < first.index(asked)
    monkeypatch.setattr(index, "class_mode", lambda: True)
    assert not begins(""), "a class may be closed"


def test_a_meaning_of_a_term_is_no_markup(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "</script><script>alert(1)</script>"
    monkeypatch.setattr(index, "glossary", lambda: {"token": hostile, "<b>": "x"})
    text = client.get("/scaling").text
    assert hostile not in text
    assert json.dumps(hostile).replace("<", "\\u003c") in text

    def unreadable() -> dict[str, str]:
        raise LessonError("glossary.toml cannot be read.")

    monkeypatch.setattr(index, "glossary", unreadable)
    assert "strataTerms" not in client.get("/scaling").text, "the page is there all the same"


@pytest.mark.parametrize("name", ["favicon.png", "static/js/index.js", "predictions/x", "a-b"])
def test_a_file_is_none_of_its(client: TestClient, name: str) -> None:
    assert client.get(f"/{name}").status_code == 404


def test_what_the_first_page_draws_is_asked_for_at_once(client: TestClient) -> None:
    static = Path(file_util.get_static_dir())
    files = index.early(static)
    text = client.get("/").text
    for source in index.EARLY:
        name = source.rpartition("/")[2].removesuffix("tsx")
        assert any(f"/{name}" in file for file in files), f"{source}: Streamlit calls it otherwise"
    for file in files:
        assert (static / file).is_file()
        assert text.count(file) == 1


@pytest.mark.parametrize(
    "listed",
    [
        None,
        "",
        "[]",
        "{}",
        '{"index.html": {"imports": ["gone"]}}',
        '{"index.html": {}, "widgets/TextInput/TextInput.tsx": 1}',
    ],
)
def test_where_streamlit_lists_its_scripts_otherwise_none_is_asked_for(
    tmp_path: Path, listed: str | None
) -> None:
    if listed is not None:
        (tmp_path / "manifest.json").write_text(listed, "utf-8")
    assert index.early(tmp_path) == []


@pytest.mark.parametrize("height", [-5, 0, 19, 333, 380, 5000])
def test_a_room_has_a_rule_of_at_most_its_height(
    monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    keys: list[str] = []
    place = st.container()
    monkeypatch.setattr(st, "container", lambda key: keys.append(key) or place)
    style.room(height, "figure")
    found = re.search(
        rf'\[class\*="st-key-{keys[0][:-6]}"\] {{ min-height: (\d+)px; }}', index.STYLE
    )
    assert found
    assert int(found[1]) <= max(0, height)
    assert int(found[1]) > min(height, 880) - 20


def test_a_place_is_there_before_anything_is_in_it() -> None:
    """A figure that is waited for came into no place, and moved what was drawn below it: up to 0.19
    of layout shift on the Gaussian baseline, whose figure is drawn anew as its texts are read."""

    def page() -> None:
        from strata.ui.anatomy import style

        style.room(400, "figure")
        style.leads()

    run = AppTest.from_function(page).run()
    room, leads = run.main.children.values()
    assert room.children  # Streamlit draws no container that has none
    assert leads.children
