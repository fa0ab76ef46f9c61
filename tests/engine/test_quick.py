"""Views that only read off a run do not wait for the model's next turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Event, Thread, current_thread
from time import sleep
from typing import ClassVar

import pandas as pd
import pytest
import torch

from strata.concepts import quick
from strata.concepts.hidden_states import CONCEPT as HIDDEN_STATES
from strata.concepts.views import is_quick, parameters, supplied, views
from strata.engine import Limits, LocalEngine
from strata.errors import BusyError, InputError
from strata.model import Model
from strata.model.tokenizer import Tokenizer
from strata.trace import ModelCheck, Scale, Trace
from tests.engine.fakes import PATIENCE, Clock, FakeModel, Gate, engine, hold, job

# Of parameters without a default.
CHOICES = {"token_ids": [5, 7], "position": 0, "layer": 0, "token_id": 0, "word": "Paris"}
CHOICES["other"] = "The capital is"
CHOICES |= {"concept": "hidden_states", "number": next(iter(HIDDEN_STATES.nulls))}
ASKED_FOR = {"model", "trace", "prompt", "edits"}
QUICK = [name for name, view in views().items() if is_quick(view)]


@quick
def thread(trace: Trace, number: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"thread": [current_thread().name], "token": [trace.tokens[number]]})


@quick
def about(prompt: str) -> pd.DataFrame:
    return pd.DataFrame({"thread": [current_thread().name]})


def busy(clock: Callable[[], float] | None = None, **limits: Limits) -> tuple[LocalEngine, Gate]:
    """An engine that has captured "a b" and whose model is busy."""
    gate = Gate()
    known = {"gate": gate.view, "thread": thread, "about": about}
    made = engine(known, clock=clock, limits=limits)
    made.run(job("words", "a b"))
    hold(made, gate)
    return made, gate


ME = current_thread().name


def asked(made: LocalEngine, view: str = "thread", prompt: str = "a b", **params: int) -> str:
    frame = made.run(job(view, prompt, params=params), deadline=PATIENCE)
    return str(frame["thread"][0])


def test_what_is_captured_is_read_while_the_model_is_busy() -> None:
    made, gate = busy()
    with made:
        assert asked(made) == ME
        assert asked(made, number=1) == ME
        assert asked(made, "about", "never captured") == ME
        future = made.submit(job("thread", "c d"))
        assert future.position == 0
        assert not future.done()
        gate.open.set()
        assert future.result(PATIENCE)["thread"][0].startswith("strata-fake")


def test_an_edited_run_is_another_run() -> None:
    made, gate = busy()
    with made:
        future = made.submit(job("thread", edits=(Scale(0, 0.5),)))
        assert not future.done()
        gate.open.set()
        assert future.result(PATIENCE)["thread"][0].startswith("strata-fake")


def test_its_refusal_is_told() -> None:
    @quick
    def refuses(trace: Trace) -> pd.DataFrame:
        raise InputError("Not this one.")

    with engine({"refuses": refuses}) as made:
        made.run(job("words"))
        with pytest.raises(InputError, match="Not this one"):
            made.run(job("refuses"), deadline=PATIENCE)
        assert made.run(job("words"), deadline=PATIENCE)["token"].tolist() == ["a", "b"]


def test_who_interrupts_it_is_heard_and_leaves_nothing_behind() -> None:
    interrupted: list[int] = []

    @quick
    def stopped(trace: Trace) -> pd.DataFrame:
        if not interrupted:
            interrupted.append(1)
            raise KeyboardInterrupt
        return pd.DataFrame({"text": [trace.text]})

    with engine({"stopped": stopped}) as made:
        made.run(job("words"))
        with pytest.raises(KeyboardInterrupt):
            made.run(job("stopped"))
        assert made.run(job("stopped"), deadline=PATIENCE)["text"].tolist() == ["a b"]


def test_the_same_is_computed_once_for_all_who_ask() -> None:
    started, go, runs = Event(), Event(), []

    @quick
    def slow(trace: Trace) -> pd.DataFrame:
        runs.append(1)
        started.set()
        assert go.wait(PATIENCE)
        return pd.DataFrame({"text": [trace.text]})

    with engine({"slow": slow}) as made:
        made.run(job("words"))
        first: list[pd.DataFrame] = []
        ann = Thread(target=lambda: first.append(made.run(job("slow"), "Ann", PATIENCE)))
        ann.start()
        assert started.wait(PATIENCE)
        second = made.submit(job("slow"), learner="Ben")
        assert not second.done()
        go.set()
        ann.join(PATIENCE)
        assert first[0].equals(second.result(PATIENCE))
    assert runs == [1]


def test_it_counts_among_what_a_learner_may_ask() -> None:
    made, gate = busy(Clock(), Ann=Limits(burst=2, per_minute=60), Ben=Limits(prompt_tokens=1))
    with made:
        for number in (0, 1):
            made.run(job("thread", params={"number": number}), "Ann", PATIENCE)
        with pytest.raises(BusyError, match="next computation can begin in 1 second"):
            made.submit(job("about"), "Ann")
        with pytest.raises(InputError, match="2 tokens and the limit is 1"):
            made.submit(job("thread", params={"number": 1}, edits=()), "Ben")
        gate.open.set()


def test_a_full_queue_does_not_refuse_it() -> None:
    gate = Gate()
    with engine({"gate": gate.view, "thread": thread}, queue_size=1) as made:
        made.run(job("words"))
        hold(made, gate)
        waiting = made.submit(job("words", "waits"))
        with pytest.raises(BusyError):
            made.submit(job("words", "too much"))
        assert asked(made) == ME
        gate.open.set()
        waiting.result(PATIENCE)


def test_an_idle_model_measures_what_is_asked_next() -> None:
    """The proof of a run stands on its page, so it is measured while the page is being read."""
    measured: list[str] = []
    done = Event()

    class Proving(FakeModel):
        def capture(self, text: str, edits: Sequence[Scale] = ()) -> Trace:
            def verify(trace: Trace) -> ModelCheck:
                measured.append(text)
                if text == "broken":
                    raise RuntimeError("no proof")
                done.set()
                return ModelCheck(0.0, 0.0)

            return replace(super().capture(text, edits), verify=verify)

    with engine(load=lambda name, progress: Proving(name)) as made:
        made.run(job("words", "broken"))
        made.run(job("words", "whole"))
        assert done.wait(PATIENCE)
        assert measured == ["broken", "whole"]
        made.run(job("words", "whole"))
        made.run(job("texts", prompts=("one", "two")))
        assert made.run(job("words", "last"))["text"].tolist() == ["last"]
    assert "one" not in measured


@pytest.mark.parametrize("name", QUICK)
def test_a_quick_view_runs_no_block(
    name: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = views()[name]
    assert supplied(view) <= ASKED_FOR
    trace = model.capture("The capital of France is")

    def ran(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"{name} runs the network")

    given = {"model": model, "trace": trace, "prompt": trace.text, "edits": ()}
    params = {n: CHOICES[n] for n, (_, default) in parameters(view).items() if default is ...}
    monkeypatch.setattr(type(model._network), "forward", ran)
    monkeypatch.setattr(type(model.architecture.blocks[0]), "forward", ran)
    frame = view(**{n: given[n] for n in supplied(view)}, **params)
    assert len(frame)


@pytest.mark.usefixtures("two_threads")
def test_reading_beside_a_run_changes_neither(model: Model) -> None:
    """States are captured in one thread while another runs the head and the tokenizer."""
    texts = [f"The capital of country number {n} is" for n in range(4)]
    alone = [model.capture(text) for text in texts]
    checks = [model.unembed(trace.hidden[-1]) for trace in alone]
    wrong: list[str] = []
    stop = Event()

    def read() -> None:
        while not stop.is_set():
            for trace, logits in zip(alone, checks, strict=True):
                if not torch.equal(model.unembed(trace.hidden[-1]), logits):
                    wrong.append("the head")
                if model.decode(trace.token_ids) != trace.tokens:
                    wrong.append("the tokens")
                if not trace.check.ok:
                    wrong.append("the check")

    reader = Thread(target=read)
    reader.start()
    try:
        for text, trace in zip(texts, alone, strict=True):
            again = model.capture(text)
            assert torch.equal(again.hidden, trace.hidden)
            assert torch.equal(again.attn, trace.attn)
            assert torch.equal(again.logits, trace.logits)
    finally:
        stop.set()
        reader.join()
    assert not wrong


@pytest.mark.usefixtures("two_threads")
def test_runs_of_two_threads_do_not_meet(model: Model) -> None:
    """In the midst of each run (captured, scaled, differentiated, replayed) another thread writes a
    text and captures."""
    text, other = "The capital of France is", "Two and two make"
    edit = Scale(3, 0.5, "attn")
    traces = model.capture(text), model.capture(text, [edit]), model.capture(other)
    slopes, written = model.gradients(text), model.generate(other, 3)
    [(_, replayed)] = model.replay(traces[0], [edit])
    wrong: list[str] = []
    mine, met = current_thread(), list[bool]()

    def meanwhile() -> None:
        if model.generate(other, 3) != written:
            wrong.append("the text")
        if not torch.equal(model.capture(other).hidden, traces[2].hidden):
            wrong.append("states")
        if not replace(traces[2]).check.ok:
            wrong.append("the check")

    def pause(module: torch.nn.Module, args: object) -> None:
        if current_thread() is mine and not met:
            met.append(True)
            thread = Thread(target=meanwhile)
            thread.start()
            thread.join()

    runs: dict[str, tuple[Callable[[], torch.Tensor], torch.Tensor]] = {
        "captured": (lambda: model.capture(text).hidden, traces[0].hidden),
        "scaled": (lambda: model.capture(text, [edit]).hidden, traces[1].hidden),
        "differentiated": (lambda: model.gradients(text), slopes),
        "replayed": (lambda: next(iter(model.replay(traces[0], [edit])))[1], replayed),
    }
    handle = model.architecture.blocks[5].register_forward_pre_hook(pause)
    try:
        for name, (run, alone) in runs.items():
            met.clear()
            assert torch.equal(run(), alone), name
            assert met, f"{name}: the other thread never ran"
    finally:
        handle.remove()
    assert not wrong


def test_threads_share_a_tokenizer() -> None:
    """Fast tokenizers raise "Already borrowed" where two threads change their settings at once."""

    class Lent:
        busy = False
        added_tokens_decoder: ClassVar[dict[int, object]] = {}
        all_special_ids: ClassVar[list[int]] = []

        def _used(self) -> None:
            if self.busy:
                raise RuntimeError("Already borrowed")
            self.busy = True
            sleep(0.001)
            self.busy = False

        def __call__(self, text: str, **options: object) -> dict[str, list[int]]:
            self._used()
            return {"input_ids": [len(text)]}

        def convert_ids_to_tokens(self, token_id: int) -> str:
            self._used()
            return "name"

        def decode(self, token_ids: object, **options: object) -> str:
            self._used()
            return "text"

    shared, wrong = Tokenizer(Lent(), 10), []

    def work(number: int) -> None:
        try:
            for n in range(20):
                shared.encode("a prompt")
                shared.word("word")
                shared.decode([20 * number + n])
                shared.text([n])
                shared.continuation([n], after=[n])
        except Exception as error:
            wrong.append(error)

    threads = [Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong


def test_the_run_of_a_prompt_that_is_looked_at_is_the_last_to_go() -> None:
    one = FakeModel().capture("a b").n_bytes
    with engine({"thread": thread}, trace_cache_bytes=2 * one) as made:
        for prompt in ("a b", "c d"):
            made.run(job("words", prompt))
        made.keep("fake", "a b")
        made.keep("fake", "never run")
        made.run(job("words", "e f"))
        assert asked(made, prompt="a b") == ME
        assert asked(made, prompt="c d") == "strata-fake"
