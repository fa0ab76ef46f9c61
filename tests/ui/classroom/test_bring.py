"""What the teacher brings a class to must be what its learners may run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from strata.classroom.roster import Class
from strata.errors import InputError
from strata.ui.classroom import bring
from tests.engine.fakes import engine

CLASS = Class("an id", "a code", "3b", model="fake")


def test_a_prompt_beyond_the_limit_of_the_class_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine() as made:
        known = made._find_view("words")
        made._find_view = {"run.tokens": known}.__getitem__
        monkeypatch.setattr(bring, "engine", lambda: made)
        limited = replace(CLASS, limits={"prompt_tokens": 3})
        bring._refuse_if_too_long("one two three", limited)
        bring._refuse_if_too_long("", limited)
        bring._refuse_if_too_long("one two three four", CLASS)
        with pytest.raises(InputError, match="4 tokens, and a learner of 3b may use 3"):
            bring._refuse_if_too_long("one two three four", limited)
