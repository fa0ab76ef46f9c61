"""Answers are shared and never damaged; errors stay with their own callers; closing is clean."""

from __future__ import annotations

import logging
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.corpus import sampling
from strata.engine import LocalEngine
from strata.errors import (
    CancelledError,
    InputError,
    ModelError,
    StrataError,
)
from strata.trace import Trace
from tests.engine.fakes import PATIENCE, FakeModel, Gate, engine, hold, job

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


def test_what_is_no_table_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    none = engine({"none": lambda prompt: None})
    with none, pytest.raises(StrataError, match="Something went wrong"):
        none.run(job("none"))
    assert "none returned NoneType, not a DataFrame" in caplog.text


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

    model = FakeModel()
    with engine({"huge": huge}, load=lambda name, progress: model) as made:
        made.run(job("words", "kept"))
        assert len(made.traces) == len(made.results) == 1
        with pytest.raises(ModelError, match=r"ran out of memory.* shorter prompt or a smaller"):
            made.run(job("huge"))
        assert len(made.traces) == len(made.results) == 0
        assert ("forget_sources", ()) in model.calls, "what edits named"
        assert len(made.run(job("words", "kept"))) == 1


def test_where_a_sample_runs_out_of_memory_no_shorter_prompt_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def begun(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr(sampling, "begun", begun)
    fewer = pytest.raises(ModelError, match="try fewer token positions or a smaller model")
    with engine({"drawn": lambda sample: sample}) as made, fewer:
        made.run(job("drawn", sample={"n": 4}))


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

    with engine(burst=1_000) as made:
        threads = [Thread(target=live, args=(made, i)) for i in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        assert len(answers) == n_threads * 40
        assert all(answers)
        assert not made.desk.works
        assert not made.desk._learners
