"""An engine that a test can hold in mid-job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from strata.engine import LocalEngine
from tests.engine.fakes import Clock, Gate, engine


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def gated(gate: Gate) -> Iterator[LocalEngine]:
    """An engine whose view "gate" waits for the gate."""
    with engine({"gate": gate.view}, clock=Clock()) as made:
        yield made
        gate.open.set()
