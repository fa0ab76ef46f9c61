"""A model's runs in a process of its own: the same numbers, the same weights, lost and found."""

from __future__ import annotations

import math
import os
import queue
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch

from strata.concepts import quick
from strata.engine import Job, LocalEngine, Settings, runner
from strata.engine.runner import Runner
from strata.errors import InputError, StrataError
from strata.model import Model, load_model
from strata.trace import Edit, Keep, ModelCheck, Noise, Replace, Scale, Skip, State, Trace
from tests.tiny import LIMIT, PROMPT

Tiny = Callable[[str], Model]
PATIENCE = 180.0  # seconds: a process imports torch and transformers, on a machine that may be busy
PROMPTS = (PROMPT, "Where the river is wide", "a")
BUNDLED = "smollm2-135m"

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="weights are shared on Linux only"
)


def equal(one: Trace, other: Trace) -> bool:
    for a, b in ((one.token_ids, other.token_ids), (one.hidden, other.hidden)):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    torch.testing.assert_close(one.logits, other.logits, rtol=0, atol=0)
    assert (one.writes is None) == (other.writes is None)
    if one.writes is not None:
        torch.testing.assert_close(one.writes, other.writes, rtol=0, atol=0)
    plain = [(t.text, t.tokens, t.edits, t.refusal) for t in (one, other)]
    return plain[0] == plain[1]


def same_check(one: ModelCheck, other: ModelCheck) -> bool:
    errors = [(check.lens_error, check.write_error) for check in (one, other)]
    pairs = zip(*errors, strict=True)
    return one.reason == other.reason and all(
        a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs
    )


def until(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def captured(running: Runner, *prompts: str, edits: tuple[Edit, ...] = ()) -> list[Trace]:
    """What the process captures, once it is ready."""
    until(running.is_ready)
    traces = running.capture(prompts, edits)
    assert traces is not None
    return traces


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def running(tiny: Tiny) -> Iterator[Runner]:
    """The process of a tiny Gemma: caps, tied weights, local attention."""
    running = Runner(tiny("gemma2"))
    yield running
    running.close()


def test_shared_weights_give_the_same_run_in_every_family(name: str, tiny: Tiny) -> None:
    """Read back here: the process itself does no more."""
    model = tiny(name)
    before = model.capture_many(PROMPTS)
    file = runner._share(model)
    try:
        twin = runner._shared(os.dup(file))
    finally:
        os.close(file)
    assert (twin.name, twin.card, twin.n_bytes) == (model.name, model.card, model.n_bytes)
    assert same_check(twin.check, model.check)
    for one, here, there in zip(
        before, model.capture_many(PROMPTS), twin.capture_many(PROMPTS), strict=True
    ):
        assert equal(one, here)
        assert equal(one, there)
    # One memory, not a copy: what is written on one side is read on the other.
    mine, theirs = model.parameters[0], twin.parameters[0]
    kept = mine.data.flatten()[0].item()
    mine.data.view(-1)[0] = 7.5
    assert theirs.data.flatten()[0].item() == 7.5
    mine.data.view(-1)[0] = kept


@pytest.mark.usefixtures("two_threads")
def test_the_process_captures_what_the_model_does(running: Runner) -> None:
    model = running.model
    for here, there in zip(model.capture_many(PROMPTS), captured(running, *PROMPTS), strict=True):
        assert equal(here, there)
        assert there.measured
        # The product with the head is shared by the batch, so it may round another way.
        assert there.check.lens_error == pytest.approx(here.check.lens_error, abs=1e-6)
        assert there.check.write_error == here.check.write_error
    named = (Replace(0, "attn", State("A dog"), (1,)), Skip(1), Keep(0, 2, (PROMPT,)))
    of_heads = (
        Scale(0, -1.5, "attn", head=1),
        Replace(1, "attn", State("A dog", (1,)), (2,), head=0),
        Noise(1, "attn", 3, head=2),
        Skip(2, head=3),
    )
    for edits in ((Scale(1, 0.5, "mlp", (2,)), Scale(0, 2.0)), named, of_heads):
        [there] = captured(running, PROMPT, edits=edits)
        here = model.capture(PROMPT, edits)
        assert equal(here, there)
        assert same_check(here.check, there.check)


def test_what_it_refuses_is_left_to_the_caller(running: Runner) -> None:
    assert captured(running, PROMPT)
    pid = running.pid
    assert running.capture(["z" * (LIMIT + 1)]) is None
    assert running.capture(["a", ""]) is None
    assert captured(running, "a")
    assert running.pid == pid


def test_a_lost_process_is_one_sentence_and_another_takes_its_place(expendable: Runner) -> None:
    expected = captured(expendable, PROMPT)
    lost = expendable.pid
    assert lost is not None
    os.kill(lost, signal.SIGSTOP)  # so that the prompts are with it when it goes
    ended = threading.Timer(0.3, os.kill, (lost, signal.SIGKILL))
    ended.start()
    with pytest.raises(StrataError) as error:
        expendable.capture([PROMPT])
    assert str(error.value) == "The process that runs the model ended unexpectedly; ask again."
    assert expendable.capture([PROMPT]) is None  # until the next is ready, the caller's turn
    assert equal(expected[0], captured(expendable, PROMPT)[0])
    assert expendable.pid != lost

    # Lost while nobody asked: nobody is told.
    assert expendable.pid is not None
    os.kill(expendable.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(expendable.pid)], timeout=PATIENCE)
    assert expendable.capture([PROMPT]) is None
    assert equal(expected[0], captured(expendable, PROMPT)[0])


def test_a_process_that_never_gets_ready_is_tried_three_times(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "strata.runtime.side_process._PROGRAM", "import sys; sys.stdin.buffer.read(1)"
    )
    running, seen = Runner(tiny("gpt2")), set[int | None]()
    try:
        for _ in range(6):
            pid = running.pid
            if pid is not None:
                until(lambda pid=pid: not runs(pid))  # type: ignore[misc]
                time.sleep(0.1)  # until its end has been read
            seen.add(pid)
            assert not running.is_ready()
            assert running.capture([PROMPT]) is None
        assert len(seen - {None}) == 3
    finally:
        running.close()


def test_a_process_that_says_nothing_is_given_up(
    expendable: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    captured(expendable, PROMPT)
    monkeypatch.setattr(runner, "_PATIENCE", 0.05)
    monkeypatch.setattr(runner, "_SILENCE", 0.3)
    assert expendable.pid is not None
    stopped = expendable.pid
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(StrataError, match="ended unexpectedly"):
        expendable.capture([PROMPT])
    until(lambda: not runs(stopped))


def test_where_no_process_can_be_had_it_is_tried_again(
    quickly: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise BlockingIOError("too many processes")

    with monkeypatch.context() as full:
        full.setattr("strata.runtime.side_process.subprocess.Popen", refuse)
        running = Runner(quickly("gpt2"))
        assert not running.is_ready()
        assert running.pid is None
    try:
        assert running.capture([PROMPT]) is None
        assert equal(running.model.capture(PROMPT), captured(running, PROMPT)[0])
    finally:
        running.close()


def test_only_what_comes_back_exactly_is_run_there(tiny_folder: Callable[[str], Path]) -> None:
    folder = str(tiny_folder("gpt2"))
    assert runner.can_share(load_model(folder, device="cpu"))
    assert not runner.can_share(load_model(folder, device="cpu", dtype="bfloat16"))


def test_an_answer_is_kept_by_nobody_but_its_caller(running: Runner) -> None:
    """Neither side holds it while it waits for the next."""
    [trace] = captured(running, PROMPT)
    hidden = weakref.ref(trace.hidden)
    del trace
    until(lambda: hidden() is None)


def test_what_it_needed_goes_back_once_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, not while prompts come."""
    monkeypatch.setattr(runner, "_IDLE", 0.05)
    asked = queue.SimpleQueue[Any]()
    monkeypatch.setattr(runner.memory, "trim", lambda: asked.put("given back"))
    asked.put("soon")
    assert (runner._next(asked), asked.empty()) == ("soon", True)
    assert runner._next(asked) == "given back"


def test_close_ends_it_for_good(expendable: Runner) -> None:
    captured(expendable, PROMPT)
    pid = expendable.pid
    assert pid is not None
    expendable.close()
    expendable.close()
    assert not runs(pid)
    assert expendable.capture([PROMPT]) is None
    assert not expendable.is_ready()
    assert expendable.pid is None


# -- in the engine --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(model: Model) -> Iterator[LocalEngine]:
    with LocalEngine(Settings(model_process=True), load=lambda *asked: model) as opened:
        opened.describe(BUNDLED)
        yield opened


def owned(engine: LocalEngine) -> tuple[Model, Runner]:
    supply = engine._owners[BUNDLED].supply
    assert supply is not None
    assert supply.runner is not None
    return supply.model, supply.runner


@pytest.mark.usefixtures("two_threads")
def test_the_engine_answers_from_the_process(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, running = owned(engine)
    prompt, scale = "The capital of France is", (Scale(3, 0.5), Skip(23, head=4))
    alone, scaled = model.capture(prompt), model.capture(prompt, scale)
    captured(running, "ready")

    def refuse(*args: Any) -> Any:
        raise AssertionError("run in the server's own process")

    monkeypatch.setattr(model, "forward", refuse)
    job = Job(view="predictions.next_token", model=BUNDLED, prompt=prompt, params={"position": 4})
    frame = engine.run(job)
    expected = alone.logits[4].double().softmax(dim=-1).topk(20)
    assert frame["token_id"].tolist() == expected.indices.tolist()
    torch.testing.assert_close(
        torch.tensor(frame["prob"].tolist(), dtype=torch.float64), expected.values,
        rtol=1e-5, atol=1e-9,
    )  # fmt: skip
    trace = engine.traces.get((BUNDLED, prompt, ()))
    assert trace is not None
    assert trace.measured
    assert not engine._owners[BUNDLED].supply.unproved  # type: ignore[union-attr]
    assert engine.run(Job(view="run.check", model=BUNDLED, prompt=prompt))["ok"].all()
    edited = Job(
        view="predictions.entropy", model=BUNDLED, prompt=prompt, edits=scale,
        params={"position": 2},
    )  # fmt: skip
    logits = scaled.logits[2].double()
    assert engine.run(edited)["entropy"].item() == pytest.approx(
        torch.distributions.Categorical(logits=logits).entropy().item(), rel=1e-4
    )


def test_a_refusal_reaches_its_learner(engine: LocalEngine) -> None:
    captured(owned(engine)[1], "ready")
    with pytest.raises(InputError):
        engine.run(Job(view="predictions.surprisal", model=BUNDLED, prompt=""))


@pytest.mark.usefixtures("two_threads")
def test_a_lost_process_leaves_the_engine_answering(engine: LocalEngine) -> None:
    running = owned(engine)[1]
    captured(running, "ready")
    lost = running.pid
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(lost)], timeout=PATIENCE)
    job = Job(view="predictions.surprisal", model=BUNDLED, prompt="Nobody is told of this")
    assert len(engine.run(job)) == 5
    until(lambda: running.pid not in (None, lost))
    [trace] = captured(running, "Two and two make")  # of the same weights, in the same memory
    expected = running.model.capture(trace.text)
    torch.testing.assert_close(trace.logits, expected.logits, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a thread its own priority")
def test_the_process_lets_pages_go_first(engine: LocalEngine) -> None:
    running = owned(engine)[1]
    captured(running, "ready")
    pid = running.pid
    assert pid is not None
    assert psutil.Process(pid).nice() == 19


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a thread its own priority")
def test_only_what_takes_long_is_done_behind_the_pages(quickly: Callable[[str], Model]) -> None:
    model = quickly("llama")

    def nice(trace: Trace) -> pd.DataFrame:
        ran = threading.get_native_id(), threading.current_thread().name
        return pd.DataFrame([ran], columns=["id", "thread"]).assign(
            nice=os.getpriority(os.PRIO_PROCESS, ran[0])
        )

    views = {"quick": quick(lambda trace: nice(trace)), "slow": nice}
    loaded = list[str]()

    def load(name: str, progress: Any) -> Model:
        loaded.append(threading.current_thread().name)
        return model

    def told(view: str, prompt: str) -> dict[str, Any]:
        [row] = opened.run(Job(view=view, model="m", prompt=prompt)).to_dict("records")
        return row

    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    settings = Settings(model_process=True, any_model=True)
    with LocalEngine(settings, load=load, find_view=views.__getitem__) as opened:
        with pytest.MonkeyPatch.context() as starting:
            starting.setattr(Runner, "is_ready", lambda self: False)
            opened.describe("m")  # which may be as slow as a process that starts
            supply = opened._owners["m"].supply
            assert supply is not None
            of_first = told("quick", "a")
        until(supply.runs_beside)
        of_quick, of_slow = told("quick", "b"), told("slow", "c")
    assert of_quick["nice"] == mine
    assert of_quick["thread"] == "strata-m"
    assert of_slow["nice"] > mine
    assert of_first["nice"] > mine, "the model was run here"
    assert loaded == [of_slow["thread"]]


def test_closing_the_engine_ends_it(quickly: Callable[[str], Model]) -> None:
    model = quickly("llama")
    opened = LocalEngine(Settings(model_process=True), load=lambda *asked: model)
    opened.describe(BUNDLED)
    theirs = owned(opened)[1]
    until(lambda: theirs.pid is not None)
    pid = theirs.pid
    assert pid is not None
    opened.close()
    until(lambda: not runs(pid))


def test_without_the_setting_there_is_none(tiny: Tiny) -> None:
    with LocalEngine(Settings(), load=lambda *asked: tiny("llama")) as opened:
        opened.describe(BUNDLED)
        supply = opened._owners[BUNDLED].supply
        assert supply is not None
        assert supply.runner is None
