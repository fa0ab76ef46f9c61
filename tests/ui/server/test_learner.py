"""Whose texts a link opens for whom, and with whom they go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from strata.classroom.backup import kept_of
from strata.classroom.roster import Class, Member, Roster, Seat
from strata.errors import InputError
from strata.storage.database import Database
from strata.storage.prompts import PromptStore
from strata.storage.tables import PromptRow
from strata.ui.classroom import bring
from strata.ui.figures import beside
from strata.ui.server import learner, resources

SET = "prompt,condition\n" + "".join(f"{a} of {n},{a}\n" for n in range(4) for a in ("one", "two"))


def stored(database: Database) -> list[tuple[str, str]]:
    """Whose texts there are, and of which class."""
    with database.session() as session:
        rows = session.execute(select(PromptRow.owner, PromptRow.class_id).order_by(PromptRow.id))
        return sorted((row[0], row[1]) for row in rows)


class Here:
    """Who sits at the browser, and a class with one member."""

    def __init__(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        self.roster, store = Roster(database), PromptStore(database)
        self.group = self.roster.create("3b", limits={"prompt_characters": 20})
        self.ann: Member = self.roster.join(self.group.code, "Ann")[0]
        self.sits = Seat(self.ann, self.group)
        self.session: dict[str, Any] = {}
        monkeypatch.setattr(learner.st, "session_state", self.session)
        monkeypatch.setattr(learner, "seat", lambda: self.sits)
        for module in (learner, bring):
            monkeypatch.setattr(module, "prompt_store", lambda: store)
        resources.limit(self.ann, self.group, "an address")


@pytest.fixture
def here(database: Database, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(database, monkeypatch)


def test_a_link_says_how_long_it_lasts_where_that_is_not_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert learner.kept_for() == ""
    monkeypatch.setattr(learner, "class_mode", lambda: True)
    assert learner.kept_for() == " for 2 days from when it was last sent"


def test_an_own_set_is_its_learners_and_one_that_is_refused_is_not_kept(
    here: Here, database: Database
) -> None:
    kept = learner.keep_set(SET)
    assert learner.kept_prompt(kept) == SET
    assert stored(database) == [(here.ann.id, here.group.id)]
    assert [each["text"] for each in kept_of(database, [here.ann.id])["prompts"]] == [SET]
    with pytest.raises(InputError, match="31 characters and the limit is 20"):
        learner.refuse_if_too_long("far more words than it may have")
    assert len(stored(database)) == 1
    here.roster.forget(here.ann.id)
    assert stored(database) == []


def test_a_learners_text_goes_with_them_where_the_teacher_sent_or_brought_it(
    here: Here, database: Database
) -> None:
    theirs = learner.keep_prompt("by Ann")
    elsewhere = here.roster.create("other")
    here.sits = Seat()
    assert learner.kept_prompt(theirs) == "by Ann"
    assert learner.keep_prompt("by Ann") == theirs  # sent again as it is
    own = learner.keep_prompt("the teacher's")
    assert learner.keep_prompt("the teacher's") == own
    mine, (ann, group) = ("", ""), (here.ann.id, here.group.id)
    assert stored(database) == sorted([mine, (ann, group)])
    assert bring._shared(f"{theirs}.an_example", here.group) == f"{theirs}.an_example"
    for value in (theirs, own):
        assert bring._shared(value, elsewhere) not in (theirs, own)
    left = sorted([mine, ("", elsewhere.id)])
    assert stored(database) == sorted([*left, (ann, group), (ann, elsewhere.id)])
    here.roster.forget(ann)
    assert stored(database) == left


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


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"Origin": "http://localhost:8501"}, True),
        ({"Origin": "http://192.168.1.7:8501"}, False),
        ({"Origin": "http://localhost", "X-Forwarded-For": "192.168.1.7"}, False),
        ({"Origin": "http://[half"}, False),
        ({}, False),
    ],
)
def test_who_is_on_this_machine(
    headers: dict[str, str], local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner.st, "context", SimpleNamespace(headers=headers))
    monkeypatch.setattr(learner.st, "get_option", lambda name: "127.0.0.1")
    assert learner.is_local() is local
