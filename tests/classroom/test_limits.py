"""A member of a class asks under one name with the limits of the class, in however many tabs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from strata.classroom.roster import Class, Member, Seat
from strata.engine import Limits, Settings, open_engine
from strata.errors import InputError
from strata.ui.anatomy import ask
from strata.ui.server import resources


def group(**fields: Any) -> Class:
    return Class("class1", "abcd-efgh", "3b", **fields)


Sit = Callable[[Seat | None, str], str | None]


@pytest.fixture
def sit(monkeypatch: pytest.MonkeyPatch) -> Sit:
    """Who asks, from a seat and a browser session."""

    def sit(seat: Seat | None, session: str) -> str | None:
        monkeypatch.setattr(ask, "seat", lambda: seat)
        context = SimpleNamespace(session_id=session)
        monkeypatch.setattr(ask, "get_script_run_ctx", lambda: context)
        return ask.learner()

    monkeypatch.setattr(ask.st, "context", SimpleNamespace(ip_address="192.0.2.1"))
    monkeypatch.setattr(resources, "_limits", {})
    return sit


def member(name: str, of: Class) -> Seat:
    return Seat(Member(name, of.id, name.title(), datetime.now(UTC)), of)


def test_a_member_is_one_learner_in_all_tabs_and_the_teacher_is_not(sit: Sit) -> None:
    ann = member("ann", group())
    assert sit(ann, "tab 1") == sit(ann, "tab 2") == "ann"
    assert sit(Seat(), "tab 1") == "tab 1", "the teacher"
    assert sit(None, "tab 1") == "tab 1", "no classes here"


def test_the_limits_are_those_of_the_class_as_it_is_now(sit: Sit) -> None:
    model = next(iter(resources.models()))
    limits = {"prompt_tokens": 50, "prompt_characters": 300, "per_minute": 30, "unheard_of": 1}
    sit(member("ann", group(model=model, limits=limits)), "tab")
    sit(member("bob", group(limits={"prompt_tokens": 60})), "tab")
    sit(member("cleo", group(model="no longer in the catalogue")), "tab")
    assert {name: replace(each, party=()) for name, each in resources._limits.items()} == {
        "ann": Limits(frozenset({model}), 300, 50, burst=30, per_minute=30),
        "bob": Limits(prompt_tokens=60),
        "cleo": Limits(),
    }
    sit(member("ann", group()), "tab")
    assert replace(resources._limits["ann"], party=()) == Limits()


def test_who_has_just_joined_counts_as_one_with_others_of_the_same_address(sit: Sit) -> None:
    here, now = group(), datetime.now(UTC)
    came = {"ann": (6, "a"), "eve": (1, "a"), "tom": (1, "a"), "kim": (1, "b")}
    for name, (minutes, address) in came.items():
        joined = (now - timedelta(minutes=minutes)).replace(tzinfo=None if name == "tom" else UTC)
        resources.limit(Member(name, here.id, name, joined), here, address)
    parties = {name: each.party for name, each in resources._limits.items()}
    assert {party[0] for party in parties.values()} == {here.id}
    assert parties["ann"] == (here.id, "ann", "ann")
    assert parties["eve"][:2] == parties["tom"][:2] != parties["kim"][:2]
    assert parties["eve"] != parties["tom"]


def test_the_servers_engine_holds_a_member_to_them(
    sit: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = list(resources.models())[:2]
    with open_engine(Settings(), lambda learner: resources._limits.get(learner)) as made:
        monkeypatch.setattr(ask, "engine", lambda: made)
        sit(member("ann", group(model=first)), "tab")
        with pytest.raises(InputError, match=f"works with {first} only"):
            ask.until_ready(second)
        assert made.status(second).state == "absent"
