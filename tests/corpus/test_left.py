"""A reading of texts that is left in the middle."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pandas as pd
import pytest

from strata.concepts import gaussian_baseline
from strata.corpus import sample, sampling
from strata.corpus.passages import fitting, split
from strata.engine import Job, LocalEngine, Settings
from strata.model import Model

OWN = "The cat sat on the mat, and the dog ran. The river is wide where the stones are round. " * 5


def test_who_leaves_in_the_middle_comes_back_to_what_was_read(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text is read once, and the states are those of a reading that nobody left."""
    model = tiny("llama")
    monkeypatch.setattr(sampling, "_BATCH_TOKENS", 1)  # a text each
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
