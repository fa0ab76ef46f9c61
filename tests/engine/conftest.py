"""An engine that a test can hold in mid-job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strata.engine import LocalEngine
from strata.engine.runner import Runner
from strata.model import Model
from tests.engine.fakes import Clock, Gate, engine
from tests.engine.stand_in import stand_in
from tests.tiny import PROMPT


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


@pytest.fixture
def quickly(
    tiny: Callable[[str], Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Model]:
    """`quickly(name)`: a tiny model, whose processes from now on are stand-ins."""

    def model(name: str) -> Model:
        program = stand_in(tiny(name), [PROMPT, "b", "c"], tmp_path / "answers")
        monkeypatch.setattr("strata.runtime.side_process._PROGRAM", program)
        return tiny(name)

    return model


@pytest.fixture
def expendable(quickly: Callable[[str], Model]) -> Iterator[Runner]:
    """One whose process may end."""
    running = Runner(quickly("gpt2"))
    yield running
    running.close()
