"""The teacher's pages without a browser."""

from __future__ import annotations

from importlib import import_module

import pytest
import streamlit as st

from strata.classroom.roster import Roster, Seat
from strata.classroom.votes import Votes
from strata.storage.database import Database

# Of strata.ui.classroom: what asks who is there and what is stored.
PAGES = """answered_before bring class_page class_settings coming_in entrance names projector
vote_tab""".split()


@pytest.fixture
def teacher(database: Database, monkeypatch: pytest.MonkeyPatch) -> Roster:
    """The classes that these pages know; who opens them is the teacher."""
    roster = Roster(database)
    for page in PAGES:
        module = import_module(f"strata.ui.classroom.{page}")
        for name, known in (("roster", roster), ("database", database), ("seat", Seat())):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda known=known: known)
        if hasattr(module, "votes"):
            monkeypatch.setattr(module, "votes", lambda: Votes(database))
    return roster


@pytest.fixture
def boxes_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """What tells whether it is open is."""

    class Opened:
        open = True

        def __enter__(self) -> Opened:
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(st, "expander", lambda *_, **__: Opened())
