"""A model that only counts, views that wait to be told, a clock that stands still."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, current_thread
from types import SimpleNamespace
from typing import Any, ClassVar

import pandas as pd
import torch

from strata.engine import Future, Job, Limits, LocalEngine, Settings
from strata.errors import InputError
from strata.trace import ModelCheck, Scale, Trace

PATIENCE = 10  # seconds until a test that hangs is called a failure


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class FakeModel:
    """One token a word; notes every call and the thread that made it.

    A prompt with "unreadable" is refused, one with "poison" breaks any batch that it is in.
    """

    n_layers, d_model, d_vocab, prompt_limit, n_bytes = 2, 4, 10, 1_000, 123
    blocks_path = "blocks"
    architecture = SimpleNamespace(blocks=())
    family, device, dtype, check = "fake", "cpu", torch.float32, ModelCheck(0.0, 0.0)
    switched_off: ClassVar[dict[str, str]] = {}
    reader = "AutoModelForCausalLM"

    def __init__(self, name: str = "fake") -> None:
        self.name = name
        self.card = SimpleNamespace(id=name, title=name, licence="none", parameters=7)
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.threads: set[str] = set()

    def encode(self, text: str) -> torch.Tensor:
        if "unreadable" in text:
            raise InputError("This prompt cannot be read.")
        return torch.zeros(len(text.split()), dtype=torch.int64)

    def forget_sources(self) -> None:
        self._note("forget_sources")

    def capture(self, text: str, edits: Sequence[Scale] = ()) -> Trace:
        self._note("capture", text)
        return self._trace(text, edits)

    def capture_many(self, texts: Sequence[str]) -> list[Trace]:
        self._note("capture_many", *texts)
        if any("poison" in text for text in texts):
            raise RuntimeError("a kernel failed")
        return [self._trace(text, ()) for text in texts]

    def called(self, name: str) -> list[tuple[str, ...]]:
        """The prompts of each call of that name."""
        return [prompts for called, prompts in self.calls if called == name]

    def _note(self, name: str, *prompts: str) -> None:
        self.calls.append((name, prompts))
        self.threads.add(current_thread().name)

    def _trace(self, text: str, edits: Sequence[Scale]) -> Trace:
        n_tokens = len(self.encode(text))
        return Trace(
            text=text,
            tokens=tuple(text.split()),
            token_ids=torch.zeros(n_tokens, dtype=torch.int64),
            hidden=torch.zeros(self.n_layers + 1, n_tokens, self.d_model),
            writes=None,
            logits=torch.zeros(n_tokens, self.d_vocab),
            edits=tuple(edits),
        )


class Gate:
    """A view that says when it has started and waits to be let through; counts its runs."""

    def __init__(self) -> None:
        self.started, self.open, self.ended = Event(), Event(), Event()
        self.runs = 0

    def view(self, prompt: str, progress: Callable[[float, str], None]) -> pd.DataFrame:
        self.runs += 1
        self.started.set()
        try:
            assert self.open.wait(PATIENCE)
            progress(0.5, "half")
            return pd.DataFrame({"text": [prompt]})
        finally:
            self.ended.set()


def words(trace: Trace) -> pd.DataFrame:
    return pd.DataFrame({"token": list(trace.tokens), "text": trace.text})


def texts(traces: list[Trace]) -> pd.DataFrame:
    return pd.DataFrame({"text": [trace.text for trace in traces]})


def plain(prompt: str, number: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"text": [prompt], "number": [float(number)]})


def engine(
    views: dict[str, Callable[..., Any]] | None = None,
    load: Callable[..., Any] | None = None,
    clock: Callable[[], float] | None = None,
    limits: dict[str, Limits] | None = None,
    **settings: Any,
) -> LocalEngine:
    """An engine of fakes; every model name is served. `limits`: by learner."""
    known = {"words": words, "texts": texts, "plain": plain, **(views or {})}
    extra: dict[str, Any] = {"clock": clock} if clock else {}
    if limits is not None:
        extra["limits_of"] = limits.get
    return LocalEngine(
        Settings(any_model=True, **settings),
        load=load or (lambda name, progress: FakeModel(name)),
        find_view=known.__getitem__,
        **extra,
    )


def job(view: str, prompt: str = "a b", model: str = "fake", **fields: Any) -> Job:
    return Job(view=view, model=model, prompt=prompt, **fields)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def clock_of(made: LocalEngine) -> Clock:
    assert isinstance(made.clock, Clock)
    return made.clock


def hold(made: LocalEngine, gate: Gate) -> Future:
    """A job that keeps the model's thread busy until the gate opens."""
    future = made.submit(job("gate", "hold"))
    assert gate.started.wait(PATIENCE)
    return future
