"""Whose texts a link opens for whom."""

from __future__ import annotations

import pytest

from strata.classroom.roster import Class, Roster, Seat
from strata.storage.database import Database
from strata.storage.prompts import PromptStore
from strata.ui.figures import beside
from strata.ui.server import learner


def test_a_learners_link_opens_for_the_teacher_and_in_no_other_class(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster, store = Roster(database), PromptStore(database)

    def joined(group: Class) -> Seat:
        return Seat(roster.join(group.code, "Ann")[0], group)

    mine, other = (joined(roster.create(name)) for name in ("3b", "other"))
    sits: Seat | None = mine
    monkeypatch.setattr(learner, "prompt_store", lambda: store)
    monkeypatch.setattr(learner, "seat", lambda: sits)
    prompt = learner.keep_prompt("by Ann")
    sits = other
    assert learner.kept_prompt(prompt) is None
    sits = None  # nobody sits anywhere on a laptop
    assert learner.kept_prompt(prompt) is None
    sits = Seat()
    assert learner.kept_prompt(prompt) == "by Ann"
    sits = mine
    assert learner.kept_prompt(prompt) == "by Ann"
    assert learner.kept_prompt("gone") is None


class State(dict[str, str]):
    """A session's, which has its entries as attributes too."""

    def __setattr__(self, name: str, value: str) -> None:
        self[name] = value


def test_nor_does_the_second_prompt_of_one_or_the_source_of_an_edit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second prompt of *Patching* and the source of a changed head come from one box."""
    roster, store = Roster(database), PromptStore(database)
    seats = [Seat(roster.join(group.code, "Ann")[0], group) for group in map(roster.create, "ab")]
    sits: Seat | None = seats[0]
    monkeypatch.setattr(learner, "prompt_store", lambda: store)
    monkeypatch.setattr(learner, "seat", lambda: sits)
    prompt = learner.keep_prompt("by Ann")
    for each, text in ((seats[0], "by Ann"), (seats[1], ""), (None, "")):
        sits, state = each, State()
        monkeypatch.setattr(beside.st, "session_state", state)
        monkeypatch.setattr(beside.st, "query_params", {"second_text": prompt})
        beside._restore()
        assert state["second_text"] == text
