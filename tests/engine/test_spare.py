"""Spare jobs: only while the model has nothing else to do, first to go, and nothing is kept."""

from __future__ import annotations

import pandas as pd
import pytest

from strata.concepts import unhurried
from strata.engine import Limits, LocalEngine
from strata.errors import BusyError, CancelledError, InputError
from strata.trace import Trace
from tests.engine.fakes import PATIENCE, Clock, FakeModel, Gate, engine, hold, job

BUSY = "The model has other work"


def ready(made: LocalEngine) -> LocalEngine:
    """Once its model is loaded, which is work too."""
    with pytest.raises(BusyError, match=BUSY):
        made.submit(job("words"), "early", spare=True)
    made.describe("fake", PATIENCE)
    return made


def test_a_busy_model_takes_no_spare_job(gate: Gate, gated: LocalEngine) -> None:
    held = hold(gated, gate)
    with pytest.raises(BusyError, match=BUSY):
        gated.submit(job("words"), "ann", spare=True)
    gated.submit(job("plain"), "bob")
    assert held.cancel()  # nobody waits for what runs, and yet it runs
    with pytest.raises(BusyError, match=BUSY):
        gated.submit(job("words"), "ann", spare=True)
    gate.open.set()
    gated.run(job("plain", "after it"))
    spare = gated.submit(job("words", "c d"), "ann", spare=True)
    assert spare.result(PATIENCE)["token"].tolist() == ["c", "d"]


def test_a_spare_job_makes_way_for_any_other(gate: Gate, gated: LocalEngine) -> None:
    spare = ready(gated).submit(job("gate", "typed"), "ann", spare=True)
    assert gate.started.wait(PATIENCE)
    with pytest.raises(BusyError, match=BUSY):  # one at a time
        gated.submit(job("gate", "bob's"), "bob", spare=True)
    other = gated.submit(job("plain"), "bob")
    with pytest.raises(CancelledError, match=BUSY):
        spare.result(0)
    gate.open.set()
    assert len(other.result(PATIENCE)) == 1


def test_of_spare_jobs_too_the_latest_wins(gate: Gate, gated: LocalEngine) -> None:
    older = ready(gated).submit(job("gate", "the c"), "ann", spare=True)
    assert gate.started.wait(PATIENCE)
    newer = gated.submit(job("gate", "the cat"), "ann", spare=True)
    with pytest.raises(CancelledError, match="newer request"):
        older.result(0)
    gate.open.set()
    assert newer.result(PATIENCE)["text"].tolist() == ["the cat"]


def test_nothing_of_a_spare_job_is_kept() -> None:
    model = FakeModel()
    with engine(load=lambda name, progress: model) as made:
        ready(made)
        for _ in range(2):
            assert len(made.submit(job("words", "typed only"), spare=True).result(PATIENCE)) == 2
        assert model.called("capture") == [("typed only",)] * 2
        assert (len(made.results), len(made.traces)) == (0, 0)
        made.run(job("words", "typed only"))
        assert made.submit(job("words", "typed only"), spare=True).done()  # of what is known anyway
        assert len(model.calls) == 3


def test_but_the_answer_of_an_unhurried_view_is() -> None:
    @unhurried
    def drawn(trace: Trace) -> pd.DataFrame:
        return pd.DataFrame({"text": [trace.text]})

    model = FakeModel()
    with engine({"drawn": drawn}, load=lambda name, progress: model) as made:
        ready(made)
        for learner in ("ann", "bob"):
            frame = made.submit(job("drawn", "sent"), learner, spare=True).result(PATIENCE)
            assert frame["text"].tolist() == ["sent"]
        assert model.called("capture") == [("sent",)]
        assert (len(made.results), len(made.traces)) == (1, 0)


def test_spare_jobs_use_up_nothing_that_others_need() -> None:
    limits = {"ann": Limits(burst=2, per_minute=1, in_flight=1)}
    with engine(clock=Clock(), limits=limits) as made:
        ready(made)
        for text in "ab":
            made.submit(job("plain", text), "ann", spare=True).result(PATIENCE)
        with pytest.raises(BusyError, match="asked for much"):
            made.submit(job("plain", "c"), "ann", spare=True)
        for text in "de":
            made.run(job("plain", text), "ann")


def test_a_spare_job_in_flight_keeps_no_place_from_its_learner(gate: Gate) -> None:
    limits = {"ann": Limits(in_flight=1)}
    with engine({"gate": gate.view}, limits=limits) as made:
        ready(made).submit(job("gate", "typed"), "ann", spare=True)
        assert gate.started.wait(PATIENCE)
        committed = made.submit(job("plain"), "ann")
        gate.open.set()
        assert len(committed.result(PATIENCE)) == 1


def test_what_cannot_be_read_is_refused_as_ever() -> None:
    with engine() as made, pytest.raises(InputError, match="cannot be read"):
        ready(made).submit(job("words", "unreadable"), spare=True).result(PATIENCE)
