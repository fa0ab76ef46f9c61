"""Waiting prompts are captured together, and what goes wrong in a batch stays with its cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pandas as pd
import pytest

from strata.engine import Future, LocalEngine, owner
from strata.errors import InputError, StrataError
from strata.runtime.stepping_aside import step_aside
from strata.trace import Scale, Trace
from tests.engine.fakes import PATIENCE, FakeModel, Gate, engine, job


def long(trace: Trace, progress: Callable[[float, str], None]) -> pd.DataFrame:
    return pd.DataFrame({"text": [trace.text]})


class Bench:
    """An engine whose model is held by a gate while jobs queue up."""

    def __init__(self, **settings: Any) -> None:
        self.model, self.gate = FakeModel(), Gate()
        views = {"gate": self.gate.view, "long": long}
        self.engine: LocalEngine = engine(views, lambda name, progress: self.model, **settings)
        self.engine.submit(job("gate", "hold"))
        assert self.gate.started.wait(PATIENCE)

    def submit(self, *prompts: str, view: str = "words", **fields: Any) -> list[Future]:
        return [self.engine.submit(job(view, prompt, **fields)) for prompt in prompts]

    def answers(self, futures: list[Future]) -> list[str]:
        self.gate.open.set()
        return [future.result(PATIENCE)["text"].iloc[0] for future in futures]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.gate.open.set()
    bench.engine.close()


def test_waiting_prompts_are_captured_together(bench: Bench) -> None:
    prompts = ["a b", "c d", "e f"]
    assert bench.answers(bench.submit(*prompts)) == prompts
    assert bench.model.called("capture_many") == [tuple(prompts)]
    assert not bench.model.called("capture")
    assert bench.answers(bench.submit("c d", view="plain")) == ["c d"]
    assert len(bench.model.calls) == 1


def test_a_batch_is_bounded_in_number(bench: Bench) -> None:
    prompts = [f"prompt {i}" for i in range(11)]
    assert bench.answers(bench.submit(*prompts)) == prompts
    assert [len(batch) for batch in bench.model.called("capture_many")] == [8, 3]


def test_a_batch_is_bounded_in_tokens_and_padding() -> None:
    bench = Bench(batch_tokens=40)
    ten = [f"{i} " + "x " * 9 for i in range(6)]
    short = ["s t", "u v"]
    with bench.engine:
        futures = bench.submit(ten[0], *short, *ten[1:])
        assert bench.answers(futures) == [ten[0], *short, *ten[1:]]
    assert bench.model.called("capture_many") == [tuple(ten[:4]), tuple(short), tuple(ten[4:])]


def test_two_views_of_one_prompt_share_its_trace_even_without_a_cache() -> None:
    bench = Bench(trace_cache_bytes=0)
    with bench.engine:
        futures = [
            *bench.submit("a b"),
            *bench.submit("c d"),
            *bench.submit("c d", view="words", sample={"n": 4}),
        ]
        assert bench.answers(futures) == ["a b", "c d", "c d"]
        assert len(bench.engine.traces) == 0
    assert bench.model.calls[-1] == ("capture_many", ("a b", "c d"))


def test_edited_and_known_traces_are_not_batched(bench: Bench) -> None:
    edits = (Scale(0, 2.0),)
    futures = [
        *bench.submit("a b"),
        *bench.submit("c d", edits=edits),
        *bench.submit("x y", view="plain"),
    ]
    assert bench.answers(futures) == ["a b", "c d", "x y"]
    assert bench.model.calls == [("capture", ("a b",)), ("capture", ("c d",))]
    bench.answers(bench.submit("c d"))
    bench.answers(bench.submit("a b", edits=edits))
    assert bench.model.calls[2:] == [("capture", ("c d",)), ("capture", ("a b",))]  # not the others


def test_a_trace_that_is_known_is_not_captured_again(bench: Bench) -> None:
    bench.engine.traces.put(("fake", "c d", ()), bench.model.capture("c d"))
    assert bench.answers(bench.submit("a b", "c d")) == ["a b", "c d"]
    assert bench.model.calls == [("capture", ("c d",)), ("capture", ("a b",))]


def test_one_prompt_that_cannot_be_read_hurts_nobody_else(bench: Bench) -> None:
    first, bad, last = bench.submit("a b", "unreadable c", "e f")
    assert bench.answers([first, last]) == ["a b", "e f"]
    with pytest.raises(InputError, match="cannot be read"):
        bad.result(PATIENCE)
    assert bench.model.called("capture_many") == [("a b", "e f")]


def test_an_unreadable_first_prompt_fails_alone(bench: Bench) -> None:
    bad, *good = bench.submit("unreadable", "c", "d")
    assert bench.answers(good) == ["c", "d"]
    with pytest.raises(InputError, match="cannot be read"):
        bad.result(PATIENCE)
    assert bench.model.called("capture_many") == [("c", "d")]


def test_a_batch_that_fails_is_run_one_by_one(bench: Bench) -> None:
    prompts = ["a b", "poison c", "e f"]
    assert bench.answers(bench.submit(*prompts)) == prompts
    assert bench.model.called("capture_many") == [tuple(prompts)]  # not tried a second time
    assert bench.model.called("capture") == [(prompt,) for prompt in prompts]


def test_several_prompts_of_one_job_survive_a_failing_batch(bench: Bench) -> None:
    bench.gate.open.set()
    prompts = ("a b", "poison c", "e f")
    frame = bench.engine.run(job("texts", prompts=prompts))
    assert tuple(frame["text"]) == prompts
    assert bench.model.called("capture") == [(prompt,) for prompt in prompts]
    again = bench.engine.run(job("texts", prompts=prompts[::-1]))
    assert tuple(again["text"]) == prompts[::-1]
    assert len(bench.model.calls) == 4  # all traces were known


def test_several_prompts_with_edits_are_captured_one_by_one(bench: Bench) -> None:
    bench.gate.open.set()
    frame = bench.engine.run(job("texts", prompts=("a", "b"), edits=(Scale(0, 2.0),)))
    assert tuple(frame["text"]) == ("a", "b")
    assert bench.model.calls == [("capture", ("a",)), ("capture", ("b",))]


def slow_view(bench: Bench, gate: Gate, ran: list[str]) -> None:
    """Teach the engine a view "slow" that needs a trace, then waits for the gate."""
    found = bench.engine._find_view

    def slow(trace: Any) -> Any:
        ran.append(trace.text)
        return gate.view(trace.text, lambda fraction, message: None)

    bench.engine._find_view = lambda name: slow if name == "slow" else found(name)  # type: ignore[method-assign]


def test_a_prompt_whose_batch_failed_is_not_batched_with_newcomers(bench: Bench) -> None:
    gate = Gate()
    slow_view(bench, gate, [])
    futures = [*bench.submit("a b", view="slow"), *bench.submit("poison c")]
    bench.gate.open.set()
    assert gate.started.wait(PATIENCE)
    futures += bench.submit("e f")
    gate.open.set()
    assert bench.answers(futures) == ["a b", "poison c", "e f"]
    assert len(bench.model.called("capture_many")) == 1


def test_a_job_cancelled_while_it_is_captured_is_not_computed(bench: Bench) -> None:
    capturing, ran, real = Gate(), [], bench.model.capture
    slow_view(bench, Gate(), ran)

    def capture(text: str, edits: Any = ()) -> Any:
        capturing.view(text, lambda fraction, message: None)
        return real(text, edits)

    bench.model.capture = capture  # type: ignore[method-assign]
    [future] = bench.submit("a b", view="slow")
    bench.gate.open.set()
    assert capturing.started.wait(PATIENCE)
    future.cancel()
    capturing.open.set()
    bench.engine.run(job("plain"))
    assert not ran
    assert ("fake", "a b", ()) in bench.engine.traces  # done anyway, and right


def test_a_job_cancelled_after_its_batch_is_not_computed(bench: Bench) -> None:
    gate, ran = Gate(), []
    slow_view(bench, gate, ran)
    first, second = bench.submit("a b", "c d", view="slow")
    bench.gate.open.set()
    assert gate.started.wait(PATIENCE)
    second.cancel()
    gate.open.set()
    first.result(PATIENCE)
    bench.engine.run(job("plain"))
    assert ran == ["a b"]


def test_who_is_in_a_run_does_not_go_first_between_its_blocks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long view lets short ones pass, also while its prompt is run with theirs."""
    together = bench.model.capture_many

    def in_steps(texts: Sequence[str]) -> list[Trace]:
        step_aside()
        return together(texts)

    monkeypatch.setattr(bench.model, "capture_many", in_steps)
    bench.submit("passes the gate", view="plain")
    prompts = bench.submit("a b", view="long") + bench.submit("c d", "e f")
    assert bench.answers(prompts) == ["a b", "c d", "e f"]
    assert bench.model.calls == [("capture_many", ("a b", "c d", "e f"))]


def test_who_goes_first_takes_along_nobody_of_the_run_that_it_interrupts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, came = bench.model.capture_many, list[Future]()

    def in_steps(texts: Sequence[str]) -> list[Trace]:
        if not came:
            came.extend(bench.submit("g h"))
            step_aside()
        return together(texts)

    monkeypatch.setattr(bench.model, "capture_many", in_steps)
    bench.submit("passes the gate", view="plain")
    prompts = bench.submit("a b", view="long") + bench.submit("c d", "e f")
    assert bench.answers(prompts) == ["a b", "c d", "e f"]
    assert came[0].result(PATIENCE)["text"].iloc[0] == "g h"
    assert bench.model.calls == [("capture", ("g h",)), ("capture_many", ("a b", "c d", "e f"))]


def test_who_cannot_go_first_for_want_of_a_thread_is_told_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    def in_steps(trace: Trace, progress: Callable[[float, str], None]) -> pd.DataFrame:
        progress(0.5, "half-way")
        return pd.DataFrame({"text": [trace.text]})

    monkeypatch.setattr(owner, "_elsewhere", no_thread)
    views = {"gate": bench.gate.view, "steps": in_steps}
    with engine(views, lambda name, progress: bench.model) as held:
        held.submit(job("gate", "hold"))
        assert bench.gate.started.wait(PATIENCE)
        first, short = held.submit(job("steps", "a b")), held.submit(job("words", "c d"))
        bench.gate.open.set()
        assert first.result(PATIENCE)["text"].iloc[0] == "a b"
        with pytest.raises(StrataError, match="overloaded"):
            short.result(PATIENCE)
        assert held.run(job("words", "e f"))["text"].iloc[0] == "e f"
