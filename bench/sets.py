"""A set of prompts in one pass of the model, beside the same prompts one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.measure import Row, take_turns
from strata.corpus import sets as written
from strata.engine import Job, LocalEngine, Settings
from strata.model import load_model

_NAME, _QUANTITY = "number", "Norm of the last state"


def sets(name: str, quick: bool) -> Iterator[Row]:
    """The 48 prompts of a set, one number by layer of each; and all that one run gives."""
    model = load_model(name)
    columns = written.sets()[_NAME].columns()
    prompts = columns.pop("prompts")
    whole = {"view": "evidence.values", "model": model.name, "prompts": prompts}
    one = Job(**whole, params={**columns, "names": (_QUANTITY,)})
    every = Job(**whole, params=columns)
    singles = [
        Job(
            view="evidence.values",
            model=model.name,
            prompts=(prompt,),
            params={"conditions": (condition,), "names": (_QUANTITY,)},
        )
        for prompt, condition in zip(prompts, columns["conditions"], strict=True)
    ]
    nothing = Settings(trace_cache_bytes=0, result_cache_bytes=0)
    with LocalEngine(
        nothing, load=lambda name, progress: model, listed=lambda: (model.name,)
    ) as engine:
        engine.describe(model.name)

        def run(*jobs: Job) -> Callable[[], object]:
            return lambda: [engine.run(job) for job in jobs]

        taken = take_turns(
            {"set": run(one), "all": run(every), "apart": run(*singles)},
            rounds=1 if quick else 7,
        )
    label = f"a set of {len(prompts)} prompts"
    yield Row(label, taken["set"], taken["apart"], "prompt by prompt", ratio_at_most=1 / 3)
    more = f"all that one run gives of {len(prompts)} prompts"
    yield Row(more, taken["all"], taken["apart"], "one quantity, prompt by prompt")
