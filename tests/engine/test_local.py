"""Waiting: shared answers, latest wins, cancelling, deadlines, limits, errors that stay apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.engine import LocalEngine
from strata.errors import (
    BusyError,
    CancelledError,
    InputError,
    ModelError,
    StrataError,
)
from strata.trace import Trace
from tests.engine.fakes import PATIENCE, Clock, Gate, engine, job


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


def clock_of(made: LocalEngine) -> Clock:
    assert isinstance(made.clock, Clock)
    return made.clock


def hold(made: LocalEngine, gate: Gate) -> Any:
    """A job that keeps the model's thread busy until the gate opens."""
    future = made.submit(job("gate", "hold"))
    assert gate.started.wait(PATIENCE)
    return future


# -- answers ------------------------------------------------------------------------------------


def test_run_gives_the_views_table() -> None:
    with engine() as made:
        frame = made.run(job("words", "one two"))
        assert frame["token"].tolist() == ["one", "two"]
        assert made.run(job("plain", params={"number": 3}))["number"].tolist() == [3.0]


def test_views_of_several_prompts_get_their_traces_in_order() -> None:
    with engine(batch_size=2) as made:
        prompts = ("c d", "a", "c d", "b")
        assert tuple(made.run(job("texts", prompts=prompts))["text"]) == prompts


def test_a_known_answer_needs_no_thread(gate: Gate, gated: LocalEngine) -> None:
    known = gated.run(job("plain"))
    hold(gated, gate)
    future = gated.submit(job("plain"))
    assert future.done()
    assert future.position is None
    pd.testing.assert_frame_equal(future.result(0), known)


def test_identical_jobs_run_once(gate: Gate, gated: LocalEngine) -> None:
    futures = [gated.submit(job("gate", "same"), f"learner {i}") for i in range(5)]
    assert gate.started.wait(PATIENCE)
    futures += [gated.submit(job("gate", "same")) for _ in range(3)]
    gate.open.set()
    assert [f.result(PATIENCE)["text"].tolist() for f in futures] == [["same"]] * 8
    gated.run(job("gate", "same"))
    assert gate.runs == 1


def test_only_the_owner_thread_runs_views_and_model() -> None:
    seen = set()

    def who(model: Any, trace: Trace) -> pd.DataFrame:
        seen.update(model.threads)
        return pd.DataFrame({"token": trace.tokens})

    with engine({"who": who}) as made:
        made.run(job("who"))
    assert seen == {"strata-fake"}


def vandalise(frame: pd.DataFrame) -> None:
    """Every way that pandas leaves to write into a table."""
    frame["number"].array[0] = 99.0
    loose = frame["number"].to_numpy()
    loose.flags.writeable = True
    loose[0] = 98.0
    frame.loc[0, "text"] = "changed"
    np.asarray(frame.index).flags.writeable = False
    frame.attrs["x"] = "changed"
    frame["new"] = 1


def test_a_result_that_was_written_to_reaches_nobody_else(gate: Gate) -> None:
    def both(prompt: str) -> pd.DataFrame:
        gate.view(prompt, lambda fraction, message: None)
        return pd.DataFrame({"text": [prompt], "number": [1.0]})

    with engine({"both": both}) as made:
        one, other = (made.submit(job("both"), name) for name in ("one", "other"))
        gate.open.set()
        vandalise(one.result(PATIENCE))
        vandalise(made.run(job("both")))
        for frame in (one.result(), other.result(), made.run(job("both"))):
            assert frame.to_dict("list") == {"text": ["a b"], "number": [1.0]}
            assert not frame.attrs


def test_cells_that_could_be_shared_are_refused() -> None:
    def lists(prompt: str) -> pd.DataFrame:
        return pd.DataFrame({"cells": [[1, 2], [3]]})

    with engine({"lists": lists}) as made, pytest.raises(StrataError, match="Something went wrong"):
        made.run(job("lists"))


# -- what is refused before it is queued -----------------------------------------------------------


def test_bad_jobs_never_reach_the_model() -> None:
    loads = []
    with engine(load=lambda name, progress: loads.append(name)) as made:
        with pytest.raises(InputError, match="no parameter 'bogus'"):
            made.submit(job("plain", params={"bogus": 1}))
        with pytest.raises(InputError, match="20,001 characters and the limit is 20,000"):
            made.submit(job("plain", "x" * 20_001))
        with pytest.raises(InputError, match="20,001 characters"):
            made.submit(job("texts", prompts=("x" * 20_001,)))
        with pytest.raises(InputError, match="65 prompts and the limit is 64"):
            made.submit(job("texts", prompts=("x",) * 65))
    assert not loads


def test_a_views_own_refusal_reaches_its_caller() -> None:
    def refuses(trace: Trace, position: int) -> pd.DataFrame:
        raise InputError(f"Position {position} is out of range.")

    with engine({"refuses": refuses}) as made:
        with pytest.raises(InputError, match="Position 9 is out of range"):
            made.run(job("refuses", params={"position": 9}))
        with pytest.raises(InputError, match="cannot be read"):
            made.run(job("words", "unreadable"))


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
        assert len(patient.result(PATIENCE)) == 1
        with pytest.raises(CancelledError, match="longer than 5 seconds"):
            future.result(0)


def test_work_past_its_deadline_is_not_begun(gate: Gate, gated: LocalEngine) -> None:
    hold(gated, gate)
    gated.submit(job("words", "late"), deadline=5)
    clock_of(gated).now += 5
    gate.open.set()
    gated.run(job("words", "last"))
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


# -- errors -------------------------------------------------------------------------------------


def test_a_bug_reaches_its_own_callers_as_one_sentence(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(prompt: str) -> pd.DataFrame:
        raise KeyError("secret detail")

    with engine({"gate": gate.view, "broken": broken}) as made:
        hold(made, gate)
        pair = [made.submit(job("broken")) for _ in range(2)]
        good = made.submit(job("plain"))
        gate.open.set()
        errors = []
        for future in pair:
            with pytest.raises(StrataError, match="while computing broken; it has been log") as e:
                future.result(PATIENCE)
            errors.append(e.value)
        assert len(good.result(PATIENCE)) == 1
    assert errors[0] is not errors[1]
    assert "secret" not in str(errors[0])
    assert any(record.exc_info for record in caplog.records if record.levelno == logging.ERROR)


def test_what_is_no_table_is_a_bug() -> None:
    none = engine({"none": lambda prompt: None})
    with none, pytest.raises(StrataError, match="Something went wrong"):
        none.run(job("none"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_running_out_of_memory_drops_the_caches_and_the_thread_lives_on(error: Exception) -> None:
    def huge(trace: Trace) -> pd.DataFrame:
        raise error

    with engine({"huge": huge}) as made:
        made.run(job("words", "kept"))
        assert len(made.traces) == len(made.results) == 1
        with pytest.raises(ModelError, match=r"ran out of memory.* shorter prompt or a smaller"):
            made.run(job("huge"))
        assert len(made.traces) == len(made.results) == 0
        assert len(made.run(job("words", "kept"))) == 1


def test_errors_are_not_kept() -> None:
    moods = iter([InputError("Not now."), None])

    def moody(prompt: str) -> pd.DataFrame:
        error = next(moods)
        if error:
            raise error
        return pd.DataFrame({"text": [prompt]})

    with engine({"moody": moody}) as made:
        with pytest.raises(InputError, match="Not now"):
            made.run(job("moody"))
        assert len(made.run(job("moody"))) == 1


# -- ending -------------------------------------------------------------------------------------


def test_closing_tells_everybody_and_ends_the_thread(gate: Gate) -> None:
    made = engine({"gate": gate.view})
    running = hold(made, gate)
    waiting = made.submit(job("plain"))
    thread = made._owners["fake"].thread
    closing = Thread(target=made.close)
    closing.start()
    for future in (running, waiting):
        with pytest.raises(CancelledError, match="shutting down"):
            future.result(PATIENCE)
    gate.open.set()
    closing.join(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with pytest.raises(CancelledError, match="shutting down"):
        made.submit(job("plain"))


def test_many_threads_of_jobs_that_come_and_go_all_get_an_answer() -> None:
    """Cancelling, replacing and deadlines at random never leave anybody waiting."""
    n_threads, answers, barrier = 16, [], Barrier(16)

    def live(made: LocalEngine, me: int) -> None:
        chance = np.random.default_rng(me)
        barrier.wait()
        for step in range(40):
            view = ("plain", "words", "texts")[step % 3]
            prompts = ("p", "q r") if view == "texts" else ()
            future = made.submit(
                job(view, f"text {chance.integers(8)}", prompts=prompts),
                f"learner {me % 4}",
                deadline=[None, 0.0, 30.0][chance.integers(3)],
            )
            if chance.integers(3) == 0:
                future.cancel()
            try:
                answers.append(len(future.result(PATIENCE)) > 0)
            except CancelledError:
                answers.append(True)

    with engine() as made:
        threads = [Thread(target=live, args=(made, i)) for i in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        assert len(answers) == n_threads * 40
        assert all(answers)
        assert not made.desk.works
        assert not made.desk._learners
