"""Views that work long and without the model leave it to others meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from threading import current_thread, get_native_id
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts import apart, quick
from strata.engine import Limits, LocalEngine
from strata.errors import BusyError, CancelledError, InputError, StrataError
from strata.trace import Scale, Trace
from tests.engine.fakes import PATIENCE, FakeModel, Gate, engine, job, plain, until
from tests.engine.test_parties import MANY, PARTIES


class ApartGate(Gate):
    """A gate whose view is marked as working apart."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []
        gate = self

        @apart
        def view(trace: Trace, prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
            gate.seen.append((trace, current_thread().name))
            return Gate.view(gate, prompt, progress)

        self.view = view  # type: ignore[method-assign]


@pytest.fixture
def gate() -> Iterator[ApartGate]:
    made = ApartGate()
    yield made
    made.open.set()


@pytest.fixture
def gated(gate: ApartGate) -> Iterator[LocalEngine]:
    with engine({"gate": gate.view}) as made:
        yield made
        gate.open.set()


def test_the_model_is_free_while_a_view_works_apart(gate: ApartGate, gated: LocalEngine) -> None:
    future = gated.submit(job("gate", "long"))
    assert gate.started.wait(PATIENCE)
    assert gated.run(job("words"), deadline=PATIENCE)["token"].tolist() == ["a", "b"]
    assert not future.done()
    assert future.position == 0
    gate.open.set()
    assert future.result(PATIENCE)["text"].tolist() == ["long"]


def test_it_sees_states_but_no_model_and_no_logits(gate: ApartGate, gated: LocalEngine) -> None:
    gate.open.set()
    gated.run(job("gate", "a b c"))
    [(trace, thread)] = gate.seen
    assert thread.startswith("strata-apart")
    assert trace.hidden.shape == (3, 3, 4)
    assert trace.tokens == ("a", "b", "c")
    assert trace.verify is None
    assert trace.writes is None
    assert trace.logits.numel() == 0


def test_its_answer_is_shared_and_kept(gate: ApartGate, gated: LocalEngine) -> None:
    futures = [gated.submit(job("gate", "same"), f"learner {i}") for i in range(3)]
    assert gate.started.wait(PATIENCE)
    futures.append(gated.submit(job("gate", "same")))
    gate.open.set()
    assert [f.result(PATIENCE)["text"].tolist() for f in futures] == [["same"]] * 4
    gated.run(job("gate", "same"))
    assert gate.runs == 1


def test_it_stops_at_its_next_word_after_the_last_waiter_left(
    gate: ApartGate, gated: LocalEngine
) -> None:
    future = gated.submit(job("gate"))
    assert gate.started.wait(PATIENCE)
    assert future.cancel()
    gate.open.set()
    assert gate.ended.wait(PATIENCE)
    with pytest.raises(CancelledError):
        future.result(0)
    gated.run(job("gate"))
    assert gate.runs == 2, "what was cancelled is not kept"


def test_a_refusal_and_a_bug_reach_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    @apart
    def refusing(prompt: str) -> pd.DataFrame:
        raise InputError("Too few states.")

    @apart
    def broken(prompt: str) -> pd.DataFrame:
        raise ZeroDivisionError

    with engine({"refusing": refusing, "broken": broken}) as made:
        with pytest.raises(InputError, match="Too few states"):
            made.run(job("refusing"))
        with pytest.raises(StrataError, match="Something went wrong"):
            made.run(job("broken"))
        assert made.run(job("plain"))["text"].tolist() == ["a b"]
    assert "ZeroDivisionError" in caplog.text


def test_what_waits_apart_counts_for_the_queue(gate: ApartGate) -> None:
    with engine({"gate": gate.view}, queue_size=2) as made:
        waiting = [made.submit(job("gate", "0"))]
        assert gate.started.wait(PATIENCE)
        waiting.append(made.submit(job("gate", "1")))
        until(lambda: gate.runs == 2)
        waiting += [made.submit(job("gate", number)) for number in "23"]
        until(lambda: len(made.apart.line.works) == 2)
        with pytest.raises(BusyError, match="already waiting"):
            made.submit(job("gate", "4"))
        gate.open.set()
        assert [future.result(PATIENCE)["text"][0] for future in waiting] == ["0", "1", "2", "3"]
        made.run(job("gate", "4"))


def test_twelve_members_of_one_hand_have_the_turns_of_one(gate: ApartGate) -> None:
    """Also of what goes on without the model, where else the last of all would be Ann."""
    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    views = {f"v{i}": apart(lambda prompt: plain(prompt)) for i in range(2)}
    with engine({"gate": gate.view, **views}, limits=limits) as made:
        held = [made.submit(job("gate", f"hold {n}")) for n in range(2)]
        until(lambda: gate.runs == 2)
        eves = [made.submit(job(f"v{i}", f"{who}.{i}"), who) for who in MANY for i in range(2)]
        until(lambda: len(made.apart.line.works) == len(eves))
        anns = [made.submit(job(f"v{i}", f"ann{i}"), "ann") for i in range(2)]
        until(lambda: len(made.apart.line.works) == len([*eves, *anns]))
        shared = made.submit(job("v0", "eve11.0"), "ben")
        assert [future.position for future in (*anns, shared)] == [1, 4, 2]
        assert anns[0].progress == (0.0, "Waiting, 1 before this one")
        assert anns[0].seconds is None
        gone = made.submit(job("v1", "nobody's"))
        until(lambda: len(made.apart.line.works) == len([*eves, *anns, gone]))
        assert gone.work
        assert gone.work.rest
        assert gone.cancel()
        assert gone.work.rest is None, "it would keep the run"
        gate.open.set()
        for future in (*held, *eves, *anns, shared):
            future.result(PATIENCE)


def test_closing_tells_who_waits(gate: ApartGate) -> None:
    made = engine({"gate": gate.view})
    future = made.submit(job("gate"))
    assert gate.started.wait(PATIENCE)
    made.close()
    with pytest.raises(CancelledError, match="shutting down"):
        future.result(PATIENCE)
    gate.open.set()


def test_gradients_are_supplied_and_are_those_of_the_clean_run() -> None:
    class WithGradients(FakeModel):
        def gradients(self, text: str) -> Tensor:
            self._note("gradients", text)
            return torch.full((3, len(text.split()), 4), 2.0)

    seen: list[str] = []

    @apart
    def sizes(trace: Trace, gradients: Tensor) -> pd.DataFrame:
        seen.append(current_thread().name)
        return pd.DataFrame({"token": trace.tokens, "norm": gradients[0].norm(dim=-1)})

    model = WithGradients()
    with engine({"sizes": sizes}, load=lambda name, progress: model) as made:
        assert made.run(job("sizes", "a b c"))["norm"].tolist() == [4.0, 4.0, 4.0]
        with pytest.raises(InputError, match="leave out the edits"):
            made.run(job("sizes", edits=(Scale(0, 0.5),)))
    assert model.called("gradients") == [("a b c",)]
    assert model.threads == {"strata-fake"}
    assert seen[0].startswith("strata-apart")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of theirs")
def test_what_works_long_lets_pages_go_first() -> None:
    def nice(prompt: str) -> pd.DataFrame:
        return pd.DataFrame({"nice": [os.getpriority(os.PRIO_PROCESS, get_native_id())]})

    def alike(trace: Trace) -> pd.DataFrame:
        return nice("")

    mine = os.getpriority(os.PRIO_PROCESS, get_native_id())
    views = {"turn": nice, "apart": apart(alike), "quick": quick(lambda trace: nice(""))}
    with engine(views) as made:
        given = {view: made.run(job(view))["nice"][0] for view in views}
        assert made.run(job("words")) is not None
    assert given["turn"] > mine
    assert given["apart"] > mine
    assert given["quick"] == mine
    assert os.getpriority(os.PRIO_PROCESS, get_native_id()) == mine, "theirs alone"
