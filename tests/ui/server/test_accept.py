"""A prompt that is to be kept is counted first, and does not lose its place over it."""

from __future__ import annotations

import pytest

from strata.ui.server import resources
from tests.engine.fakes import PATIENCE, Gate, engine, hold, job, words


def test_what_is_counted_late_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page asks for the same, and has the turn that was waited for."""
    gate = Gate()
    with engine({"gate": gate.view, "run.tokens": words}) as made:
        monkeypatch.setattr(resources, "_engine", lambda: made)
        monkeypatch.setattr(resources, "_COUNTED_WITHIN", 0.05)
        made.describe("fake")
        hold(made, gate)
        resources.accept("a late one", "fake", "ann")
        another = made.submit(job("plain", "another"), "ben")
        page = made.submit(job("run.tokens", "a late one"), "ann")
        assert (page.position, another.position) == (0, 1)
        gate.open.set()
        assert len(page.result(PATIENCE)) == 3
        assert another.result(PATIENCE) is not None
