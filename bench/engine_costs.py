"""What the engine saves: waiting prompts run together, and answers that are known already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd

from bench.measure import Row, take_turns
from bench.text import EIGHT, prompt_of
from strata.concepts import views
from strata.engine import Job, LocalEngine, Settings
from strata.model import Model, load_model

_GATE = "bench.gate"


@contextmanager
def _opened(
    model: Model, gate: Callable[[], pd.DataFrame] | None = None, **settings: int
) -> Iterator[LocalEngine]:
    """An engine around a model that is loaded already; `gate` answers the view of that name."""

    def find_view(name: str) -> views.View:
        return gate if gate and name == _GATE else views.find_view(name)

    engine = LocalEngine(
        Settings(**settings),
        load=lambda name, progress: model,
        find_view=find_view,
        listed=lambda: (model.name,),
    )
    try:
        engine.describe(model.name)
        yield engine
    finally:
        engine.close()


def batching(name: str, quick: bool) -> Iterator[Row]:
    """Eight prompts that wait together, beside the same with nothing run together."""
    model = load_model(name)
    turn, held = threading.Event(), threading.Event()

    def gate() -> pd.DataFrame:
        held.set()
        turn.wait()
        return pd.DataFrame()

    jobs = [
        Job(view="predictions.next_token", model=model.name, prompt=prompt, params={"position": 0})
        for prompt in EIGHT
    ]

    def waiting(engine: LocalEngine) -> Callable[[], None]:
        """All eight are in the queue behind a job that holds the model, which then ends."""

        def run() -> None:
            turn.clear()
            held.clear()
            first = engine.submit(Job(view=_GATE, model=model.name))
            held.wait()
            futures = [engine.submit(job) for job in jobs]
            turn.set()
            for future in [first, *futures]:
                future.result()

        return run

    def asked(engine: LocalEngine) -> Callable[[], None]:
        """Each prompt is asked when the one before it is answered."""

        def run() -> None:
            for job in jobs:
                engine.run(job)

        return run

    nothing = {"trace_cache_bytes": 0, "result_cache_bytes": 0}
    with (
        _opened(model, gate, batch_size=8, **nothing) as together,
        _opened(model, gate, batch_size=1, **nothing) as apart,
    ):
        taken = take_turns(
            {"together": waiting(together), "apart": waiting(apart), "asked": asked(apart)},
            rounds=2 if quick else 20,
        )
    label = f"eight waiting prompts, {len(model.encode(EIGHT[0]))} tokens"
    faster = 1 / 1.5
    yield Row(label, taken["together"], taken["apart"], "one by one", ratio_at_most=faster)
    yield Row(label, taken["together"], taken["asked"], "asked one after another")


def cache(name: str, quick: bool) -> Iterator[Row]:
    """An answer from the result cache, beside the table and the run computed again."""
    model = load_model(name)
    job = Job(
        view="hidden_states.summary", model=model.name, prompt=prompt_of(model, 23), params={}
    )
    with (
        _opened(model) as full,
        _opened(model, result_cache_bytes=0) as traces,
        _opened(model, result_cache_bytes=0, trace_cache_bytes=0) as nothing,
    ):
        taken = take_turns(
            {
                "hit": lambda: full.run(job),
                "table": lambda: traces.run(job),
                "run": lambda: nothing.run(job),
            },
            rounds=5 if quick else 50,
        )
    yield Row("known answer", taken["hit"], taken["table"], "table computed again")
    yield Row("known answer", taken["hit"], taken["run"], "model run again")
