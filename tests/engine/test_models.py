"""Models come, fail, are remembered as failed, and make room for one another."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from strata.engine import LocalEngine, Settings, open_engine
from strata.engine.owner import Owner
from strata.errors import CancelledError, InputError, ModelError, NotEnoughMemory
from tests.engine.fakes import PATIENCE, Clock, FakeModel, engine, job


def test_a_model_is_loaded_once_and_described() -> None:
    loads = []

    def load(name: str, progress: Callable[[float, str], None]) -> FakeModel:
        loads.append(name)
        return FakeModel(name)

    with engine(load=load) as made:
        assert made.status("one").state == "absent"
        made.ensure("one")
        facts = made.describe("one", PATIENCE)
        assert made.status("one").state == "ready"
        made.ensure("one")
        made.run(job("plain", model="one"))
        assert (facts["n_layers"], facts["d_model"], facts["device"]) == (2, 4, "cpu")
        assert (facts["dtype"], facts["lens_ok"], facts["title"]) == ("float32", True, "one")
        facts["n_layers"] = 99
        assert made.describe("one")["n_layers"] == 2
    assert loads == ["one"]


def test_loading_is_seen_and_not_waited_for() -> None:
    begun, go = Event(), Event()

    def load(name: str, progress: Callable[[float, str], None]) -> FakeModel:
        progress(0.4, "Fetching")
        begun.set()
        assert go.wait(PATIENCE)
        return FakeModel(name)

    with engine(load=load) as made:
        made.ensure("one")
        assert begun.wait(PATIENCE)
        status = made.status("one")
        assert (status.state, status.fraction, status.message) == ("loading", 0.4, "Fetching")
        future = made.submit(job("plain", model="one"))
        assert future.progress == (0.4, "Fetching")
        assert future.position == 0
        with pytest.raises(TimeoutError):
            made.describe("one", 0.01)
        go.set()
        assert len(future.result(PATIENCE)) == 1


class Failing:
    """A loader that fails until told otherwise."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error
        self.loads, self.go = 0, Event()

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> FakeModel:
        self.loads += 1
        assert self.go.wait(PATIENCE)
        if self.error:
            raise self.error
        return FakeModel(name)


def test_a_failed_load_is_remembered_and_tried_again_after_a_time() -> None:
    load, clock = Failing(ModelError("The file is broken.")), Clock()
    with engine(load=load, clock=clock, retry_seconds=30) as made:
        waiting = [made.submit(job("plain", str(i))) for i in range(10)]
        load.go.set()
        for future in waiting:
            with pytest.raises(ModelError, match="is broken; asking again in 30 sec"):
                future.result(PATIENCE)
        clock.now += 20
        for ask in (made.ensure, made.describe, lambda name: made.submit(job("words"))):
            with pytest.raises(ModelError, match="broken; asking again in 10 seconds"):
                ask("fake")
        assert made.status("fake").state == "failed"
        assert "broken" in made.status("fake").reason
        assert load.loads == 1

        load.error = None
        clock.now += 10
        assert len(made.run(job("plain"))) == 1
        assert load.loads == 2
        assert made.status("fake").state == "ready"


def test_a_failure_wakes_who_waits_for_a_description() -> None:
    load = Failing(ModelError("The file is broken."))
    load.go.set()
    with engine(load=load) as made, pytest.raises(ModelError, match="broken"):
        made.describe("fake", PATIENCE)


def test_a_bug_in_loading_is_logged_and_told_in_one_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    load = Failing(KeyError("secret"))
    load.go.set()
    said = "fake could not be loaded; the reason has been logged"
    with engine(load=load) as made, pytest.raises(ModelError, match=said) as e:
        made.run(job("plain"))
    assert "secret" not in str(e.value)
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


def test_a_thread_that_ends_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go, clock = Event(), Event(), Clock()

    def broken(owner: Owner, work: Any) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        raise SystemExit("a bug of the engine")

    with engine(clock=clock) as made:
        with monkeypatch.context() as patch:
            patch.setattr(Owner, "_answer", broken)
            running = made.submit(job("plain"))
            assert begun.wait(PATIENCE)
            waiting = made.submit(job("words"))
            go.set()
            for future in (running, waiting):
                with pytest.raises(ModelError, match="fake stopped unexpectedly"):
                    future.result(PATIENCE)
        clock.now += 60
        assert len(made.run(job("plain"))) == 1
    assert "a bug of the engine" in caplog.text


class Room:
    """Room for so many models: a loader that counts those alive."""

    def __init__(self, places: int, error: type[BaseException] = NotEnoughMemory) -> None:
        self.places, self.error = places, error
        self.alive: weakref.WeakSet[FakeModel] = weakref.WeakSet()

    def __call__(self, name: str, progress: Callable[[float, str], None]) -> FakeModel:
        if len(self.alive) >= self.places:
            raise self.error(f"{name} does not fit.")
        model = FakeModel(name)
        self.alive.add(model)
        return model

    @property
    def names(self) -> set[str]:
        gc.collect()
        return {model.name for model in self.alive}


@pytest.mark.parametrize("error", [NotEnoughMemory, MemoryError])
def test_the_model_idle_longest_makes_room(error: type[BaseException]) -> None:
    room, clock = Room(2, error), Clock()
    with engine(load=room, clock=clock) as made:
        for name in ("a", "b", "a"):
            clock.now += 1
            made.run(job("words", f"text {clock.now}", model=name))
        old = made._owners["b"].thread
        made.run(job("words", model="c"))
        assert room.names == {"a", "c"}
        assert not old.is_alive()
        assert made.status("b").state == "absent"
        assert {key[0] for key in made.traces._items} == {"a", "c"}
        assert made.describe("b")["title"] == "b"  # shapes do not change; no load for that
        made.run(job("words", "new", model="b"))
        assert room.names == {"b", "c"}


def test_a_busy_model_is_not_evicted() -> None:
    begun, go = Event(), Event()

    def slow(trace: Any) -> Any:
        begun.set()
        assert go.wait(PATIENCE)
        raise InputError("Enough.")

    with engine({"slow": slow}, load=Room(1)) as made:
        busy = made.submit(job("slow", model="a"))
        assert begun.wait(PATIENCE)
        with pytest.raises(NotEnoughMemory, match="b does not fit; asking again"):
            made.run(job("plain", model="b"))
        go.set()
        with pytest.raises(InputError, match="Enough"):
            busy.result(PATIENCE)


def test_a_model_is_idle_as_soon_as_its_answer_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pause, following = Event(), Owner._next

    def late(owner: Owner) -> Any:
        if owner.work is not None:
            assert pause.wait(PATIENCE)
        return following(owner)

    monkeypatch.setattr(Owner, "_next", late)
    with engine(load=Room(1)) as made:
        made.run(job("plain", model="a"))
        assert made._owners["a"].idle  # though its thread has not gone back to its line yet
        pause.set()
        assert len(made.run(job("plain", model="b"))) == 1


def test_closing_stops_a_load_at_its_next_word() -> None:
    begun, go = Event(), Event()

    def load(name: str, progress: Callable[[float, str], None]) -> FakeModel:
        begun.set()
        assert go.wait(PATIENCE)
        progress(0.5, "half")
        raise AssertionError("not stopped")

    made = engine(load=load)
    future = made.submit(job("plain"))
    assert begun.wait(PATIENCE)
    owner = made._owners["fake"]
    with made.desk.lock:
        owner.leave()
    go.set()
    owner.thread.join(PATIENCE)
    made.close()
    with pytest.raises(CancelledError):
        future.result(PATIENCE)


def test_only_models_of_the_catalogue_are_served() -> None:
    made = LocalEngine(Settings(), load=lambda n, p: FakeModel(n), listed=lambda: ["one", "two"])
    with made:
        for ask in (made.ensure, made.describe, lambda name: made.submit(job("run.x", model=name))):
            with pytest.raises(InputError, match="'/etc' is not in the catalogue"):
                ask("/etc")
        made.ensure("one")


def test_open_engine_serves_the_shipped_catalogue() -> None:
    with open_engine(Settings()) as made:
        assert made.status("smollm2-135m").state == "absent"
        with pytest.raises(InputError, match="smollm2-135m"):
            made.ensure("no-such-model")
