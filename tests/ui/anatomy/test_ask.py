"""A page waits for its answer where it can be seen, with a place and a time, and not for ever."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from strata.engine import Future, Limits, LocalEngine
from strata.errors import BusyError, InputError
from strata.ui.anatomy import ask
from tests.engine.fakes import PATIENCE, Clock, Gate, engine, hold, job


class Screen:
    """What a page shows, one text after another; time passes while it sleeps."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.shown = clock, [""]
        self.asleep: Callable[[], object] = lambda: None

    def empty(self) -> Screen:
        self.shown.append("")
        return self

    def progress(self, fraction: float, text: str = "") -> Screen:
        assert 0 <= fraction <= 1
        if text != self.shown[-1]:
            self.shown.append(text)
        return self

    def container(self) -> Screen:
        return self

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        self.asleep()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen(Clock())
    monkeypatch.setattr(ask, "time", SimpleNamespace(monotonic=screen.clock, sleep=screen.sleep))
    drawn = SimpleNamespace(empty=screen.empty, progress=screen.progress, session_state={})
    monkeypatch.setattr(ask, "st", drawn)
    monkeypatch.setattr(ask, "learner", lambda: "ann")
    return screen


def use(monkeypatch: pytest.MonkeyPatch, made: LocalEngine) -> None:
    monkeypatch.setattr(ask, "engine", lambda: made)


def test_a_page_waits_for_a_place_and_then_for_its_answer(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock, queue_size=1) as made:
        use(monkeypatch, made)
        hold(made, gate)
        other = made.submit(job("words"))
        tries = iter(range(100))

        def asleep() -> None:
            if next(tries) == 5:
                gate.open.set()
                other.result(PATIENCE)

        screen.asleep = asleep
        assert len(ask.run(job("plain"))) == 1
    told = "1 job is already waiting for this model; try again in a moment."
    assert screen.shown[:4] == ["", "", f"Waiting for a place: {told}", ""]


def test_a_page_gives_up_when_there_is_no_place_for_long(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock, queue_size=1) as made:
        use(monkeypatch, made)
        hold(made, gate)
        made.submit(job("words"))
        began = screen.clock.now
        with pytest.raises(BusyError, match="already waiting"):
            ask.run(job("plain"))
        assert 50 < screen.clock.now - began <= 60
        gate.open.set()


class Rerun(BaseException):
    """As Streamlit ends a run that gives way to another."""


def interrupted(*_: Any, **__: Any) -> None:
    raise Rerun


def test_a_rerun_ends_the_wait_for_an_answer_at_a_glance(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock) as made:
        use(monkeypatch, made)
        hold(made, gate)
        monkeypatch.setattr(ask.st, "session_state", SimpleNamespace(get=interrupted))
        with pytest.raises(Rerun):
            ask.run(job("plain"))
        assert screen.shown == [""]  # before any progress was drawn
        gate.open.set()


def test_a_rerun_ends_the_wait_for_a_place(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock, queue_size=1) as made:
        use(monkeypatch, made)
        hold(made, gate)
        made.submit(job("words"))
        monkeypatch.setattr(screen, "progress", interrupted)
        with pytest.raises(Rerun):
            ask.run(job("plain"))
        gate.open.set()


def test_an_empty_bucket_is_waited_for_as_long_as_it_takes(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(clock=screen.clock, limits={"ann": Limits(burst=1, per_minute=20)}) as made:
        use(monkeypatch, made)
        ask.run(job("plain", "a"))
        began = screen.clock.now
        ask.run(job("plain", "b"))
        assert screen.clock.now - began == pytest.approx(3)
    assert "Waiting for a place: You have asked for much in a short time; the next" in "".join(
        screen.shown
    )


def test_what_is_shown_is_the_place_and_the_time(screen: Screen, gate: Gate) -> None:
    with engine({"gate": gate.view}, clock=screen.clock) as made:
        hold(made, gate)
        futures = [made.submit(job("plain", text)) for text in "abc"]
        assert ask._waiting(futures[2]) == (0.0, "2 ahead of you")
        with made.desk.lock:
            made._owners["fake"].line.pace.note("gate", 3)
        assert ask._waiting(futures[2]) == (0.0, "2 ahead of you, about 9 s")
        assert ask._waiting(futures[0]) == (0.0, "Next in the queue, about 3 s")
        screen.clock.now += 2.5
        assert ask._waiting(futures[0]) == (0.0, "Next in the queue")
        gate.open.set()


def test_a_page_knows_the_limit_of_its_learner_and_loads_no_forged_model(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(frozenset({"fake"}), prompt_tokens=50)
    with engine(limits={"ann": limits}) as made:
        use(monkeypatch, made)
        made.describe("fake")
        assert ask.until_ready("fake")["prompt_limit"] == 50
        with pytest.raises(InputError, match="works with fake only"):
            ask.until_ready("other")
        assert made.status("other").state == "absent"
        monkeypatch.setattr(ask, "learner", lambda: "bob")
        assert ask.until_ready("fake")["prompt_limit"] == 1_000


def test_what_is_wanted_in_passing_never_waits_for_a_place(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock) as made:
        use(monkeypatch, made)
        held = hold(made, gate)
        assert ask.in_passing(job("words", "typed")) is None
        gate.open.set()
        held.result(PATIENCE)
        assert ask.in_passing(job("words", "typed")).equals(made.run(job("words", "typed")))
        with pytest.raises(InputError, match="cannot be read"):
            ask.in_passing(job("words", "unreadable"))
    assert screen.shown == [""]


def test_what_makes_way_for_others_has_no_answer(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    with engine({"gate": gate.view}, clock=screen.clock) as made:
        use(monkeypatch, made)
        made.run(job("words"))

        def looked(*_: object) -> None:
            assert gate.started.wait(PATIENCE)
            made.submit(job("plain"), "bob")

        monkeypatch.setattr(ask.st, "session_state", SimpleNamespace(get=looked), raising=False)
        assert ask.in_passing(job("gate", "typed")) is None
        gate.open.set()


def test_what_was_drawn_while_it_waited_is_gone_when_it_fails(screen: Screen) -> None:
    class Failing(Future):
        """Fails once there has been a wait that is worth showing."""

        glances = 0
        progress, position, seconds = (0.0, "Running"), 0, None

        def done(self) -> bool:
            return self.glances > 3 * ask._PATIENCE

        def result(self, timeout: float | None = None) -> pd.DataFrame:
            self.glances += 1
            if self.done():
                raise InputError("It is refused.")
            raise TimeoutError

    with pytest.raises(InputError):
        ask._awaited(Failing.__new__(Failing), None, None)
    assert any("Running" in shown for shown in screen.shown)
    assert screen.shown[-1] == ""
