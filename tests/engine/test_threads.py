"""Many learners on one real (tiny) model: each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.engine import Job, LocalEngine, Settings
from strata.errors import InputError, StrataError
from strata.model import Model, load_model
from strata.trace import (
    Add,
    Difference,
    Edit,
    Keep,
    MeanState,
    Noise,
    Project,
    Replace,
    Scale,
    Skip,
    State,
    Trace,
    Unembedding,
)
from tests.engine.fakes import PATIENCE, Gate

N_THREADS = 32


def states(trace: Trace) -> pd.DataFrame:
    return pd.DataFrame({"value": trace.hidden.numpy().ravel(), "writes": _sum(trace)})


def _sum(trace: Trace) -> float:
    return float((trace.attn + trace.mlp).abs().sum())


def broken(model: Model, trace: Trace, prompt: str) -> pd.DataFrame:
    model.capture(prompt, (Scale(0, 0.5, positions=(10_000,)),))
    return pd.DataFrame()


def breaking(model: Model, prompt: str) -> pd.DataFrame:
    """Fails in the middle of a forward pass."""
    last = model.architecture.blocks[-1]

    def fail(*args: Any) -> None:
        raise RuntimeError("broken in mid-run")

    handle = last.register_forward_pre_hook(fail)
    try:
        model.capture(prompt, (Scale(0, 0.5),))
    finally:
        handle.remove()
    return pd.DataFrame()


VIEWS = {f.__name__: f for f in (states, broken, breaking)}


class Loaded:
    """An engine with one real model that tests may look into."""

    def __init__(self, folder: Path, **views: Any) -> None:
        self.model = load_model(str(folder), device="cpu")
        self.gate = Gate()
        known = {**VIEWS, "gate": self.gate.view, **views}
        self.engine = LocalEngine(
            Settings(any_model=True, per_learner=100, queue_size=100),
            load=lambda name, progress: self.model,
            find_view=known.__getitem__,
        )

    def hooks(self) -> int:
        modules = self.model._network.modules()
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


@pytest.fixture(params=["gpt2", "llama"])
def loaded(tiny_folder: Callable[[str], Path], request: pytest.FixtureRequest) -> Iterator[Loaded]:
    made = Loaded(tiny_folder(request.param))
    with made.engine:
        yield made


def job_of(i: int) -> Job:
    """32 different runs, every other one edited, some on the same prompt with other edits."""
    prompt = f"The cat sat on {'the mat and ' * (i % 5)}mat number {i // 4}."
    return Job(view="states", model="tiny", prompt=prompt, edits=edits_of(i) if i % 2 else ())


def edits_of(i: int) -> tuple[Edit, ...]:
    """Each kind in turn, of different blocks, sources and positions."""
    block, part, where = i % 3, ("stream", "attn", "mlp")[i % 3], None if i % 4 == 1 else (1, 2)
    source, text = State(f"A dog that ran {i} times.", (2, 3)), f"Where the river {i} is wide."
    kinds: tuple[Edit, ...] = (
        Scale(block, -0.1 * i, part, where),
        Replace(block, part, source, (1, 2)),
        Noise(block, part, i, where),
        Skip(block, where),
        Add(block, Difference(text, source.prompt, 1), -1.0, where),
        Project(block, MeanState((text,), 2), where),
        Keep(block, 2, (text,), where),
        Project(block, Unembedding(i), where),
        Scale(block, -0.1 * i, "attn", where, head=i % 4),
        Replace(block, "attn", source, (1, 2), head=i % 4),
        Noise(block, "attn", i, where, head=i % 4),
        Skip(block, where, head=i % 4),
    )
    return (kinds[i // 2 % len(kinds)],)


def test_32_threads_give_what_each_gives_alone(loaded: Loaded) -> None:
    alone = [states(loaded.model.capture(j.prompt, j.edits)) for j in map(job_of, range(N_THREADS))]
    assert len({frame.to_json() for frame in alone}) == N_THREADS
    hooks, together, barrier = loaded.hooks(), {}, Barrier(N_THREADS)

    def learn(i: int) -> None:
        barrier.wait()
        together[i] = loaded.engine.run(job_of(i), learner=f"learner {i % 8}-{i}")

    threads = [Thread(target=learn, args=(i,)) for i in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * PATIENCE)
    for i, expected in enumerate(alone):
        bound = 1e-5 * np.abs(expected["value"]).max()
        assert np.abs(together[i]["value"] - expected["value"]).max() <= bound, i
    assert loaded.hooks() == hooks


def test_alone_at_batch_size_one_every_bit_is_equal(loaded: Loaded) -> None:
    for i in (0, 1, 2, 3):
        job = job_of(i)
        expected = states(loaded.model.capture(job.prompt, job.edits))
        pd.testing.assert_frame_equal(loaded.engine.run(job), expected, check_exact=True)


def test_a_padded_batch_agrees_with_single_runs(loaded: Loaded) -> None:
    prompts = ["The cat sat.", "The dog ran after it.", "Where the river is wide,"]
    alone = [states(loaded.model.capture(prompt))["value"] for prompt in prompts]
    batches, real = [], loaded.model.capture_many
    loaded.model.capture_many = lambda texts: batches.append(len(texts)) or real(texts)  # type: ignore[method-assign,func-returns-value,assignment]
    loaded.engine.submit(Job(view="gate", model="tiny", prompt="hold"))
    assert loaded.gate.started.wait(PATIENCE)
    futures = [
        loaded.engine.submit(Job(view="states", model="tiny", prompt=prompt)) for prompt in prompts
    ]
    loaded.gate.open.set()
    for expected, future in zip(alone, futures, strict=True):
        difference = np.abs(future.result(PATIENCE)["value"] - expected).max()
        assert difference <= 1e-5 * np.abs(expected).max()
    assert batches == [3]


def test_no_hook_is_left_after_an_error(loaded: Loaded) -> None:
    before = loaded.hooks()
    clean = loaded.engine.run(job_of(0))
    with pytest.raises(InputError):
        loaded.engine.run(Job(view="broken", model="tiny", prompt="The cat sat."))
    with pytest.raises(StrataError, match="Something went wrong"):
        loaded.engine.run(Job(view="breaking", model="tiny", prompt="The cat sat."))
    assert loaded.hooks() == before
    loaded.engine.results.drop()
    loaded.engine.traces.drop()
    pd.testing.assert_frame_equal(loaded.engine.run(job_of(0)), clean, check_exact=True)


def test_a_prompt_over_the_models_limit_is_refused_by_its_numbers(loaded: Loaded) -> None:
    limit = loaded.engine.describe("tiny")["prompt_limit"]
    with pytest.raises(InputError, match=f"tokens and the limit is {limit}"):
        loaded.engine.run(Job(view="states", model="tiny", prompt="cat " * 500))
