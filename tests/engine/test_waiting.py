"""Waiting: place in the queue, latest wins, limits, cancelling, deadlines."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from strata.engine import LocalEngine
from strata.errors import BusyError, CancelledError
from tests.engine.fakes import PATIENCE, Clock, Gate, clock_of, engine, hold, job

# -- queue and limits ---------------------------------------------------------------------------


def test_position_is_the_live_place(gate: Gate, gated: LocalEngine) -> None:
    running = hold(gated, gate)
    first, second, third = (gated.submit(job("plain", text)) for text in "abc")
    assert [f.position for f in (running, first, second, third)] == [0, 0, 1, 2]
    assert running.progress == (0.0, "Running")
    assert third.progress == (0.0, "Waiting, 2 before this one")
    first.cancel()
    assert [f.position for f in (first, second, third)] == [None, 0, 1]
    gate.open.set()
    third.result(PATIENCE)
    assert third.position is None
    assert third.progress == (1.0, "Done")


def test_a_full_queue_refuses_at_once(gate: Gate) -> None:
    with engine({"gate": gate.view}, queue_size=2) as made:
        hold(made, gate)
        made.submit(job("plain", "1"))
        older = made.submit(job("plain", "2"), "ann")
        with pytest.raises(BusyError, match="2 jobs are already waiting"):
            made.submit(job("plain", "3"))
        made.submit(job("plain", "1"))  # joins
        newer = made.submit(job("plain", "4"), "ann")  # takes the place of ann's older one
        gate.open.set()
        assert newer.result(PATIENCE)["text"].tolist() == ["4"]
        with pytest.raises(CancelledError):
            older.result(0)


def test_a_refused_job_leaves_the_learners_older_one_alone(gate: Gate) -> None:
    with engine({"gate": gate.view}, queue_size=1) as made:
        running = made.submit(job("gate", "hold"), "ann")
        assert gate.started.wait(PATIENCE)
        made.submit(job("plain", "1"))
        with pytest.raises(BusyError):
            made.submit(job("gate", "other"), "ann")
        gate.open.set()
        assert running.result(PATIENCE)["text"].tolist() == ["hold"]


def test_the_latest_of_a_learners_jobs_wins(gate: Gate, gated: LocalEngine) -> None:
    hold(gated, gate)
    older = gated.submit(job("plain", "older"), "ann")
    others = [gated.submit(job("plain", "bob"), "bob"), gated.submit(job("words"), "ann")]
    newer = gated.submit(job("plain", "newer"), "ann")
    with pytest.raises(CancelledError, match="newer request"):
        older.result(0)
    gate.open.set()
    assert newer.result(PATIENCE)["text"].tolist() == ["newer"]
    assert all(len(other.result(PATIENCE)) for other in others)


def test_asking_again_for_the_same_keeps_the_work(gate: Gate, gated: LocalEngine) -> None:
    older = gated.submit(job("gate"), "ann")
    assert gate.started.wait(PATIENCE)
    newer = gated.submit(job("gate"), "ann")
    with pytest.raises(CancelledError, match="newer request"):
        older.result(0)
    gate.open.set()
    assert len(newer.result(PATIENCE)) == gate.runs == 1


def test_a_known_answer_replaces_the_older_job_too(gate: Gate, gated: LocalEngine) -> None:
    gated.run(job("plain", "known"))
    hold(gated, gate)
    older = gated.submit(job("plain", "older"), "ann")
    assert gated.submit(job("plain", "known"), "ann").done()
    assert older.done()


def test_a_learner_has_at_most_so_many_in_flight(gate: Gate) -> None:
    views = {f"v{i}": lambda prompt: pd.DataFrame({"text": [prompt]}) for i in range(5)}
    with engine({"gate": gate.view, **views}, per_learner=4) as made:
        hold(made, gate)
        futures = [made.submit(job(f"v{i}"), "ann") for i in range(4)]
        with pytest.raises(BusyError, match="already have 4"):
            made.submit(job("v4"), "ann")
        made.submit(job("v4"), "bob")
        for _ in range(6):
            made.submit(job("v4"))  # nobody's
        made.submit(job("v0", "newer"), "ann")  # instead of the older one
        futures[1].cancel()
        last = made.submit(job("v4"), "ann")
        gate.open.set()
        assert len(last.result(PATIENCE)) == 1
        assert len(made.run(job("v2", "again"), "ann")) == 1  # what is done does not count


# -- leaving ------------------------------------------------------------------------------------


def test_cancelling_detaches_one_waiter(gate: Gate, gated: LocalEngine) -> None:
    one, other = gated.submit(job("gate")), gated.submit(job("gate"))
    assert gate.started.wait(PATIENCE)
    assert one.cancel()
    assert not one.cancel()
    with pytest.raises(CancelledError, match="was cancelled"):
        one.result(0)
    gate.open.set()
    assert len(other.result(PATIENCE)) == 1
    assert not other.cancel()


def test_waiting_work_leaves_the_queue_with_its_last_waiter(gate: Gate, gated: LocalEngine) -> None:
    ran = []
    second = Gate()
    second.view = lambda prompt: ran.append(prompt)  # type: ignore[method-assign,assignment]
    hold(gated, gate)
    futures = [gated.submit(job("plain", "x")) for _ in range(2)]
    behind = gated.submit(job("plain", "y"))
    assert behind.position == 1
    futures[0].cancel()
    assert behind.position == 1
    futures[1].cancel()
    assert behind.position == 0
    assert gated.submit(job("plain", "x")).position == 1  # a new place, not the dead work's


def test_running_work_stops_at_its_next_word_after_the_last_waiter_left() -> None:
    gate, reached = Gate(), []

    def slow(prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        frame = gate.view(prompt, progress)
        reached.append("end")
        return frame

    with engine({"slow": slow}) as made:
        futures = [made.submit(job("slow")) for _ in range(2)]
        assert gate.started.wait(PATIENCE)
        for future in futures:
            future.cancel()
        gate.open.set()
        assert gate.ended.wait(PATIENCE)
        assert len(made.run(job("plain"))) == 1  # the thread lives on
        assert not reached
        assert len(made.run(job("slow"))) == 1  # and nothing of the cancelled run was kept
        assert gate.runs == 2


def test_progress_is_seen_while_running() -> None:
    gate, told = Gate(), Gate()

    def slow(progress: Callable[[float, str], None]) -> pd.DataFrame:
        progress(0.25, "a quarter")
        return gate.view("", lambda fraction, message: None)

    with engine({"slow": slow}) as made:
        future = made.submit(job("slow"))
        assert gate.started.wait(PATIENCE)
        assert future.progress == (0.25, "a quarter")
        assert not told.runs
        gate.open.set()
        future.result(PATIENCE)


def test_a_deadline_ends_waiting_and_drops_the_work(gate: Gate, gated: LocalEngine) -> None:
    hold(gated, gate)
    late = gated.submit(job("plain", "x"), deadline=5)
    behind = gated.submit(job("plain", "y"), deadline=50)
    clock_of(gated).now += 5
    with pytest.raises(CancelledError, match="longer than 5 seconds"):
        late.result(PATIENCE)
    assert behind.position == 0
    gate.open.set()
    assert len(behind.result(PATIENCE)) == 1


def test_a_deadline_stops_running_work_that_nobody_looks_at(gate: Gate, gated: LocalEngine) -> None:
    future = gated.submit(job("gate"), deadline=5)
    assert gate.started.wait(PATIENCE)
    clock_of(gated).now += 6
    gate.open.set()
    gated.run(job("plain"))  # so the other has ended
    assert job("gate").key not in gated.results
    with pytest.raises(CancelledError, match="longer than 5 seconds"):
        future.result(PATIENCE)


def test_an_answer_after_the_deadline_is_too_late_even_if_work_could_not_be_stopped() -> None:
    gate, clock = Gate(), Clock()

    def deaf(prompt: str) -> pd.DataFrame:
        return gate.view(prompt, lambda fraction, message: None)

    with engine({"deaf": deaf}, clock=clock) as made:
        future = made.submit(job("deaf"), deadline=5)
        patient = made.submit(job("deaf"))
        assert gate.started.wait(PATIENCE)
        clock.now += 5
        gate.open.set()
        made.run(job("plain"))  # so the other has ended, with nobody looking at it
        assert len(patient.result(0)) == 1
        with pytest.raises(CancelledError, match="longer than 5 seconds"):
            future.result(0)


def test_work_past_its_deadline_is_not_begun(gate: Gate, gated: LocalEngine) -> None:
    hold(gated, gate)
    gated.submit(job("words", "late"), deadline=5)
    last = gated.submit(job("words", "last"))
    clock_of(gated).now += 5
    gate.open.set()
    last.result(PATIENCE)
    assert job("words", "late").key not in gated.results


def test_an_abandoned_deadline_frees_the_learners_place(gate: Gate) -> None:
    clock = Clock()
    with engine({"gate": gate.view}, clock=clock, per_learner=1, queue_size=1) as made:
        hold(made, gate)
        made.submit(job("plain"), "ann", deadline=5)
        with pytest.raises(BusyError):
            made.submit(job("words"), "ann")
        clock.now += 5
        assert made.submit(job("words"), "ann").position == 0
        gate.open.set()


def test_a_short_wait_is_not_the_end(gate: Gate, gated: LocalEngine) -> None:
    future = hold(gated, gate)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    gate.open.set()
    assert len(future.result(PATIENCE)) == 1
