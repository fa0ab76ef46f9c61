"""Groups of words that a learner types on the page of the laminar profile."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from strata.ui.anatomy.page import Page
from tests.ui.test_small_models import PAGES, PROMPT, page, small

assert small  # a fixture


def test_groups_of_words_are_compared_as_they_are_typed(
    small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, script = [], Page.script
    monkeypatch.setattr(
        Page, "script", lambda *a, **k: programs.append(script(*a, **k)) or programs[-1]
    )
    arguments = (str(PAGES / "laminar_profile.py"), PROMPT, {"view": "Whole layers"})
    app = AppTest.from_function(page, args=arguments, default_timeout=120).run()
    assert not app.exception, app.exception[0].message
    before = said(app)
    assert "word in different contexts" in before
    app.text_input(key="groups").set_value("the a ; on in").run()
    assert not app.exception, app.exception[0].message
    assert "group of words" in said(app) != before
    assert "GROUPS = ()" in programs[0]
    assert "GROUPS = ('the a', 'on in')" in programs[-1]
    app.text_input(key="groups").set_value("the ; The").run()
    assert any("one group only" in text.value for text in app.text)


def said(app: AppTest) -> str:
    """What is said of the groups."""
    return next(
        (
            text.value
            for text in app.text
            if "in different contexts" in text.value or "group of words" in text.value
        ),
        "",
    )
