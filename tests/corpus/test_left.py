"""A reading of texts that is left in the middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts import gaussian_baseline
from strata.corpus import Source, sample, sampling, states
from strata.corpus.passages import fitting, split
from strata.engine import Job, LocalEngine, Settings
from strata.model import Model
from strata.trace import ModelCheck

OWN = "The cat sat on the mat, and the dog ran. The river is wide where the stones are round. " * 5


def test_who_leaves_in_the_middle_comes_back_to_what_was_read(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text is read once, and the states are those of a reading that nobody left."""
    model = tiny("llama")
    monkeypatch.setattr(states, "_BATCH_TOKENS", 1)  # a text each
    texts, n_read = fitting(model, split(OWN)), 0
    assert len(texts) > 3
    capture, waits, goes_on = model.capture_many, Event(), Event()

    def read(some: list[str], **how: bool) -> list[Any]:
        nonlocal n_read
        n_read += 1
        if n_read == 2:
            waits.set()
            assert goes_on.wait(60)
        return capture(some, **how)

    monkeypatch.setattr(model, "capture_many", read)
    job = Job(
        view="gaussian_baseline.summary",
        model=model.name,
        prompts=(OWN,),
        sample={"corpus": "own", "n": 50},
        params={"layer": 1},
    )
    with LocalEngine(Settings(any_model=True), load=lambda name, progress: model) as engine:
        future = engine.submit(job)
        assert waits.wait(60)
        future.cancel()
        goes_on.set()
        found = engine.run(job)
    assert n_read == len(texts)
    drawn = sample(model, texts, n=50, skip_sinks=True)
    pd.testing.assert_frame_equal(found, gaussian_baseline.summary(drawn, 1))


def test_a_sample_is_drawn_from_what_is_read_so_far_and_ends_as_if_read_at_once(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The beginning is the same whether the rest is read or not, each text is read once, and each
    state is that of a run of its text by itself."""
    model = tiny("llama")
    monkeypatch.setattr(states, "_BATCH_TOKENS", 40)
    source, calls, capture = Source(corpus="own", n=60, read=2), [], model.capture_many
    errors: dict[str, float] = {}  # of each text: every batch has its own, the last the largest

    def read(some: list[str], **how: bool) -> list[Any]:
        calls.extend(some)
        traces = capture(some, **how)
        error = errors.setdefault(some[0], 1e-7 * len(errors))
        return [
            replace(t, verify=lambda _: ModelCheck(error, 0.0, read_back_error=0.0)) for t in traces
        ]

    monkeypatch.setattr(model, "capture_many", read)
    monkeypatch.setattr(sampling.sinks, "which", lambda norms: np.arange(norms.shape[1]) % 3 == 2)
    at_once = sampling.draw(model, source.whole, (OWN,))
    calls.clear()
    reading = sampling.begun(model, source.whole, (OWN,))
    first = reading.beginning(model, source.read)
    n_read = len(calls)
    assert 2 <= len(first.tokens) == n_read == len(at_once.tokens) - first.n_unread < n_read + 3
    for i, (text, position) in enumerate(zip(first.text, first.position, strict=True)):
        alone = model.capture(first.texts[text])
        torch.testing.assert_close(first.stream[:, i], alone.hidden[:, position])
        assert first.tokens[text] == alone.tokens
    again = at_once.beginning(source.read)
    whole = reading.finished(model)
    assert len(calls) == len(set(calls)) == len(whole.tokens)
    for one, other in ((first, again), (whole, at_once)):
        assert torch.equal(one.stream, other.stream)
        assert one.writes is not None
        assert other.writes is not None
        assert torch.equal(one.writes, other.writes)
        assert (one.text == other.text).all()
        assert (one.position == other.position).all()
        assert (one.tokens, one.n_unread) == (other.tokens, other.n_unread)
        assert (one.n_sinks, one.check) == (other.n_sinks, other.check)
    assert whole.n_unread == 0
    assert 0 < first.n_sinks < whole.n_sinks
    assert first.check.lens_error < whole.check.lens_error == max(errors.values())
    assert at_once.beginning(99) is at_once


def test_the_engine_reads_on_from_a_beginning(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = tiny("llama"), []
    monkeypatch.setattr(states, "_BATCH_TOKENS", 40)
    capture = model.capture_many

    def read(some: list[str], **how: bool) -> list[Any]:
        calls.append(len(some))
        return capture(some, **how)

    monkeypatch.setattr(model, "capture_many", read)
    about = Job(view="corpus.about", model=model.name, prompts=(OWN,))
    told = []
    with LocalEngine(Settings(any_model=True), load=lambda name, progress: model) as engine:
        for read_so_far in (1, 3, 0, 1):
            sampled = {"corpus": "own", "n": 60, "read": read_so_far}
            frame = engine.run(about.model_copy(update={"sample": sampled}))
            told.append((int(frame["n_unread"][0]), len(calls), int(frame["n"][0])))
    assert told[0] == (told[3][0], 1, told[3][2])  # later from what is there, the same
    assert told[0][0] > told[1][0] > told[2][0] == 0
    assert told[2][1] == told[3][1]
    assert told[0][2] < told[1][2] < told[2][2]
