"""The words of the banner: whose changes wait, and nothing is called stored before it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from strata.ui.anatomy import kept


def said(monkeypatch: pytest.MonkeyPatch, who: str, durable: bool = True) -> str:
    counts = {None: 12, "ann": 1, "bob": 0, "cid": 3}
    progress = SimpleNamespace(waiting=counts.get, is_durable=durable, is_away=True)
    monkeypatch.setattr(kept, "progress", lambda: progress)
    monkeypatch.setattr(kept, "learner", lambda: who)
    return kept.sentence()


@pytest.mark.parametrize(
    ("who", "count"),
    [
        ("ann", "1 thing waits"),
        ("bob", "nothing waits"),
        ("cid", "3 things wait"),
        (kept.TEACHER, "12 things wait"),
    ],
)
def test_everyone_is_told_of_their_own(
    monkeypatch: pytest.MonkeyPatch, who: str, count: str
) -> None:
    monkeypatch.setenv("STRATA_MODE", "class")
    sentence = said(monkeypatch, who)
    assert count in sentence
    assert sentence.startswith("The class's database")
    assert "saved" not in sentence


def test_what_is_in_memory_only_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRATA_MODE", raising=False)
    sentence = said(monkeypatch, "ann", durable=False)
    assert "only as long as the server runs" in sentence
    assert "class" not in sentence
    assert "only as long" not in said(monkeypatch, "ann")
