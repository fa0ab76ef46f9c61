"""Classes take turns, then those whom a class counts as one, then learners."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pandas as pd
import pytest

from strata.concepts import apart
from strata.engine import Limits, LocalEngine
from strata.errors import BusyError
from strata.runtime.stepping_aside import step_aside
from strata.trace import Trace
from tests.engine.fakes import (
    PATIENCE,
    Clock,
    FakeModel,
    Gate,
    engine,
    hold,
    job,
    plain,
    until,
    words,
)
from tests.engine.test_limits import order

MANY = [f"eve{n}" for n in range(12)]  # members made by one hand
PARTIES = {
    "ann": ("3b", "ann", "ann"),
    "ben": ("3b", "ben", "ben"),
    **{name: ("3b", "new", name) for name in MANY},
    "tom": ("4a", "tom", "tom"),
}


@pytest.fixture
def busy(gate: Gate) -> Iterator[LocalEngine]:
    """An engine that is busy, with views v0 to v3."""

    def view(prompt: str) -> pd.DataFrame:
        return pd.DataFrame({"text": [prompt]})

    views: dict[str, Callable[..., pd.DataFrame]] = {f"v{i}": view for i in range(4)}
    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    with engine({"gate": gate.view, **views}, clock=Clock(), limits=limits) as made:
        hold(made, gate)
        yield made
        gate.open.set()


def test_twelve_members_of_one_hand_have_the_turns_of_one(busy: LocalEngine) -> None:
    for name in MANY:
        for i in range(2):
            busy.submit(job(f"v{i}", f"{name}.{i}"), name)
    anns = [busy.submit(job(f"v{i}", f"ann{i}"), "ann") for i in range(2)]
    busy.submit(job("v0", "ben0"), "ben")
    assert [future.position for future in anns] == [1, 4]
    assert order(busy).split()[:6] == ["eve0.0", "ann0", "ben0", "eve1.0", "ann1", "eve2.0"]


def test_they_take_turns_among_themselves(busy: LocalEngine) -> None:
    """A whole class has just joined from the school's address."""
    for i in range(3):
        busy.submit(job(f"v{i}", f"eve0.{i}"), "eve0")
    busy.submit(job("v0", "eve1.0"), "eve1")
    assert order(busy) == "eve0.0 eve1.0 eve0.1 eve0.2"


def test_a_class_waits_for_one_of_another_not_for_all(busy: LocalEngine) -> None:
    for name in ("ann", "ben", *MANY[:3]):
        busy.submit(job("v0", name), name)
    busy.submit(job("v0", "tom"), "tom")
    assert order(busy).split() == ["ann", "tom", "ben", "eve0", "eve1", "eve2"]


def test_who_has_had_a_turn_is_not_overtaken_for_ever(busy: LocalEngine) -> None:
    for name in MANY[:2]:
        busy.submit(job("v0", name), name)
    with busy.desk.lock:
        taken = busy.desk.take(busy._owners["fake"].line)
    assert taken is not None
    busy.submit(job("v0", "ann"), "ann")
    assert order(busy) == "eve1 ann", "eve1 is the first of hers by now, and came before"
    busy.desk.finish(taken, None, BusyError("put back"))


def test_asking_for_the_same_takes_the_better_place(busy: LocalEngine) -> None:
    for name in MANY[:4]:
        busy.submit(job("v0", name), name)
    shared = busy.submit(job("v0", "eve3"), "ann")
    assert order(busy) == "eve0 eve3 eve1 eve2"
    assert shared.position == 1
    busy.submit(job("v0", "eve0"), "tom")
    assert order(busy) == "eve0 eve3 eve1 eve2", "and never a worse one"


@pytest.mark.parametrize("works", [lambda view: view, apart], ids=["", "apart"])
def test_others_always_find_a_place(gate: Gate, works: Callable[..., Any]) -> None:
    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    views = {
        "plain": works(lambda prompt: plain(prompt)),
        "words": works(lambda trace: words(trace)),
    }

    @works
    def held(prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        return gate.view(prompt, progress)

    with engine({"gate": held, **views}, clock=Clock(), limits=limits, queue_size=8) as made:
        hold(made, gate)
        if works is apart:  # of which two are done at a time
            made.submit(job("gate", "hold too"))
            until(lambda: gate.runs == 2)
        for name in MANY[:4]:
            made.submit(job("plain", name), name)
        until(lambda: works is not apart or len(made.apart.line.works) == 4)
        just = "4 jobs of those who have just joined are already waiting"
        with pytest.raises(BusyError, match=just):
            made.submit(job("plain", "fifth"), "eve5")
        made.submit(job("plain", "ann"), "ann")
        made.submit(job("plain", "ben"), "ben")
        until(lambda: works is not apart or len(made.apart.line.works) == 6)
        with pytest.raises(BusyError, match="6 jobs of your class are already waiting"):
            made.submit(job("words", "ann again"), "ann")
        made.submit(job("plain", "tom"), "tom")
        gate.open.set()


# -- one run at a time: who is in it, and who need not wait for its end ------------------------


def test_who_has_just_joined_is_not_run_together_with_others(gate: Gate) -> None:
    """A run of eight prompts takes five times as long as one of a single prompt."""
    model = FakeModel()
    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    limits["una"] = Limits(party=("4a", "new", "una"))
    made = engine({"gate": gate.view}, lambda name, progress: model, limits=limits)
    with made:
        hold(made, gate)
        waiting = [
            made.submit(job("words", f"of {name}"), name)
            for name in (*MANY[:3], "ann", "ben", "tom", "una")
        ]
        gate.open.set()
        for each in waiting:
            each.result(PATIENCE)
    together = [{text.removeprefix("of ") for text in run} for run in model.called("capture_many")]
    assert sorted(map(sorted, together)) == [["ann", "ben", "tom"], ["eve0", "eve1", "eve2"]]
    assert model.called("capture") == [("of una",)]


class Steps:
    """A short view of two steps: it has begun, and goes on when it may."""

    def __init__(self) -> None:
        self.begun, self.go_on = Event(), Event()
        self.ran: list[str] = []

    def view(self, trace: Trace) -> pd.DataFrame:
        first = not self.begun.is_set()
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        if first:
            step_aside()
        self.ran.append(trace.text)
        return pd.DataFrame({"text": [trace.text]})


@pytest.mark.parametrize(
    ("whose", "order"),
    [("eve0", "tom eve0 eve1 ann ben"), ("ann", "ann eve0 tom ben eve1")],
    ids=["of those who have just joined", "of anybody else"],
)
def test_between_two_steps_others_pass_who_has_just_joined(whose: str, order: str) -> None:
    steps = Steps()
    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    with engine({"steps": steps.view}, limits=limits) as made:
        begun = [made.submit(job("steps", whose), whose)]
        assert steps.begun.wait(PATIENCE)
        others = [name for name in ("eve0", "eve1", "ann", "ben", "tom") if name != whose]
        begun += [made.submit(job("steps", name), name) for name in others]
        steps.go_on.set()
        for each in begun:
            each.result(PATIENCE)
    assert steps.ran == order.split()
