"""Texts read ahead: only while nobody asks, as far as that goes, and once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from strata.corpus import Reading, Sample, sampling
from strata.corpus import states as corpus_states
from strata.engine import Job, LocalEngine, Settings
from strata.engine import owner as owners
from strata.model import Model
from tests.engine.fakes import PATIENCE, Gate

TEXTS = tuple(f"The river number {i} is wide, and the stones in it are round." for i in range(6))
SAMPLE = {"n": 40, "compact": True}


def job(view: str, **fields: object) -> Job:
    return Job(view=view, model="fake", prompt="The cat", **fields)


AHEAD = job("states", prompts=TEXTS, sample=SAMPLE)
KEY = "fake", AHEAD.source, AHEAD.prompts


def states(sample: Sample) -> pd.DataFrame:
    return pd.DataFrame(sample.states(1).numpy()).rename(columns=str)


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def made(
    tiny: Callable[[str], Model], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalEngine]:
    monkeypatch.setattr(owners, "_QUIET", 0.01)
    monkeypatch.setattr(corpus_states, "_BATCH_TOKENS", 20)  # a text or two at a time
    views = {"states": states, "gate": gate.view}
    with LocalEngine(
        Settings(any_model=True, read_ahead=True),
        load=lambda name, progress: tiny("llama"),
        find_view=views.__getitem__,
    ) as engine:
        engine.describe("fake", PATIENCE)
        yield engine


def test_what_was_read_ahead_is_what_the_question_gets(
    made: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.ahead(AHEAD)
    until(lambda: isinstance(made.samples.get(KEY), Sample))
    with monkeypatch.context() as patch:
        patch.setattr(sampling, "begun", None)  # nothing is read any more
        frame = made.run(AHEAD)
    made.samples.drop()  # for want of memory: it is not read ahead again
    made.ahead(AHEAD)
    supply = made._owners["fake"].supply
    assert supply is not None
    assert not supply.ahead
    made.results.drop()
    assert made.run(AHEAD).equals(frame), "read for who asks"


def test_it_waits_while_the_model_works_and_goes_on_after(
    made: LocalEngine, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    capture = Model.capture_many

    def some(model: Model, texts: list[str], **how: object) -> object:
        read.append(len(texts))
        if len(read) == 2 and not gate.runs:  # in the middle somebody asks
            made.submit(job("gate"))
        return capture(model, texts, **how)

    monkeypatch.setattr(Model, "capture_many", some)
    made.ahead(AHEAD)
    assert gate.started.wait(PATIENCE)
    before = len(read)
    assert isinstance(made.samples.get(KEY), Reading)
    time.sleep(0.1)
    assert len(read) == before == 2, "it reads while the model works"
    gate.open.set()
    until(lambda: isinstance(made.samples.get(KEY), Sample))
    ahead, anew = read.copy(), read[1]  # the one in whose middle somebody asked
    read.clear()
    made.samples.drop()
    read.append(0)
    made.run(AHEAD)
    assert sum(ahead) == sum(read) + anew


def test_a_host_may_have_nothing_read_ahead(made: LocalEngine) -> None:
    made.settings = Settings(any_model=True, read_ahead=False)
    made.ahead(AHEAD)
    time.sleep(0.1)
    assert len(made.samples) == 0
