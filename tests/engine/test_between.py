"""While a run is under way in the model's process, another may be asked for, and goes first."""

from __future__ import annotations

import os
import signal
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
import torch

from strata.engine import Limits, runner
from strata.engine.runner import Runner
from strata.errors import StrataError
from strata.model import Model
from strata.runtime.stepping_aside import between_steps
from strata.trace import Scale, Trace
from tests.engine.fakes import engine, job
from tests.engine.test_runner import PATIENCE, PROMPTS, captured, until
from tests.tiny import PROMPT

pytestmark = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="weights are shared on Linux only"
)
Tiny = Callable[[str], Model]


def same(one: Trace, other: Trace) -> None:
    assert one.text == other.text
    torch.testing.assert_close(one.hidden, other.hidden, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.logits, other.logits, rtol=1e-4, atol=1e-5)


def test_what_is_asked_meanwhile_is_run_between_two_blocks(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither run hears of the other, whose lengths and edits are not the same."""
    model, edits = tiny("gemma2"), (Scale(0, -2.0), Scale(1, 0.5, "mlp", (0,)))
    expected = {1: model.capture_many(PROMPTS), 2: [model.capture("a river", edits)]}
    begun, came, answers = threading.Event(), threading.Event(), list[tuple[int, Any]]()

    def messages() -> Iterator[Any]:
        yield 7  # the file
        yield 1, list(PROMPTS), ()
        assert begun.wait(PATIENCE)
        yield 2, ["a river"], edits
        came.set()
        until(lambda: len(answers) == 3)

    def hold(*_: Any) -> None:
        begun.set()
        assert came.wait(PATIENCE)

    for block in model.architecture.blocks:
        monkeypatch.setattr(block, "_forward_pre_hooks", OrderedDict())
    model.architecture.blocks[1].register_forward_pre_hook(hold)
    monkeypatch.setattr(runner, "_shared", lambda file: model)
    monkeypatch.setattr(runner, "step_back", lambda: None)
    runner.serve(messages(), lambda *said: answers.append(said))
    assert [said[0] for said in answers] == ["ready", 2, 1]
    for number, packed in answers[1:]:
        for trace, answer in zip(expected[number], packed, strict=True):
            torch.testing.assert_close(
                torch.from_numpy(answer["hidden"]), trace.hidden, rtol=0, atol=0
            )
            torch.testing.assert_close(
                torch.from_numpy(answer["logits"]), trace.logits, rtol=0, atol=0
            )
            assert answer["text"] == trace.text


def test_who_waits_for_a_run_may_ask_for_another(expendable: Runner) -> None:
    running = expendable
    captured(running, PROMPT)
    pid, between = running.pid, list[list[Trace] | None]()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def another() -> None:
        if not between:
            between.append(None)
            threading.Timer(0.1, os.kill, (pid, signal.SIGCONT)).start()
            between[0] = running.capture(["b"])

    with between_steps(another):
        traces = running.capture([PROMPT])
    assert traces is not None
    assert between[0] is not None
    same(running.model.capture(PROMPT), traces[0])
    same(running.model.capture("b"), between[0][0])
    assert not running._done


def test_a_process_lost_over_one_run_is_lost_to_both(expendable: Runner) -> None:
    captured(expendable, PROMPT)
    pid, told = expendable.pid, list[str]()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)

    def another() -> None:
        if not told:
            threading.Timer(0.1, os.kill, (pid, signal.SIGKILL)).start()
            told.append("")
            with pytest.raises(StrataError) as error:
                expendable.capture(["b"])
            told[0] = str(error.value)
            expendable.is_ready()  # another is started

    with between_steps(another), pytest.raises(StrataError) as error:
        expendable.capture([PROMPT])
    assert told == [str(error.value)]
    assert captured(expendable, "c")


def test_a_run_of_this_process_lets_others_go_first_too(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Those who have just joined, between two blocks of their run, in which another thread's is."""
    model, texts = tiny("gemma2"), {"eve0": "a river", "eve1": "a garden", "ann": PROMPT}
    expected = {name: model.capture(text) for name, text in texts.items()}
    begun, go_on, seen = threading.Event(), threading.Event(), list[Trace]()

    def hold(*_: Any) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    def view(trace: Trace) -> pd.DataFrame:
        seen.append(trace)
        return pd.DataFrame({"text": [trace.text]})

    limits = {name: Limits(party=("3b", "new", name)) for name in ("eve0", "eve1")}
    limits["ann"] = Limits(party=("3b", "ann", "ann"))
    for block in model.architecture.blocks:
        monkeypatch.setattr(block, "_forward_pre_hooks", OrderedDict())
    with engine({"view": view}, lambda name, progress: model, limits=limits) as made:
        made.describe("fake")
        model.architecture.blocks[1].register_forward_pre_hook(hold)
        waiting = [made.submit(job("view", texts[name]), name) for name in ("eve0", "eve1")]
        assert begun.wait(PATIENCE)
        waiting.append(made.submit(job("view", texts["ann"]), "ann"))
        go_on.set()
        for each in waiting:
            each.result(PATIENCE)
    for name, trace in zip(("ann", "eve0", "eve1"), seen, strict=True):
        same(expected[name], trace)
    assert not caplog.records, "nor was it run again, one by one"
