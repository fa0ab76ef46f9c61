"""A set of prompts in the engine: run together by length, each once, with others between."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import pytest

from strata.corpus.sets import PromptSet, Row
from strata.engine import Future, Job, LocalEngine, Settings
from strata.engine.cost import token_passes
from strata.errors import InputError
from strata.model import Model
from strata.trace import Trace
from tests.engine import fakes

WORDS = "the cat sat on the mat and a dog ran off to it".split()
NORM = "Norm of the last state"


def chosen(n: int) -> PromptSet:
    texts = [" ".join(WORDS[i % 5 : i % 5 + 2 + i % 4]) + f" {i // 5}" for i in range(n)]
    return PromptSet("x", tuple(Row(t, "ab"[i % 2], str(i // 2)) for i, t in enumerate(texts)))


def job(of: PromptSet, **params: object) -> Job:
    columns = of.columns()
    prompts = columns.pop("prompts")
    return Job(view="evidence.values", model="tiny", prompts=prompts, params={**columns, **params})


def test_a_set_is_run_in_few_batches_and_each_prompt_has_its_own_numbers(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, of = tiny("llama"), chosen(40)
    batches: list[int] = []
    many = Model.capture_many

    def counted(self: Model, texts: list[str], **more: bool) -> list:
        batches.append(len(texts))
        return many(self, texts, **more)

    monkeypatch.setattr(Model, "capture_many", counted)
    with LocalEngine(Settings(), load=lambda n, p: model, listed=lambda: ("tiny",)) as engine:
        found = engine.run(job(of))
        assert not len(engine.traces)  # what others look at stays
        again = engine.run(job(of, names=(NORM,)))
    assert sum(batches) == 2 * 40
    assert len(batches) <= 2 * 4
    assert again[NORM].equals(found[NORM])
    for row in (0, 7, 39):
        wanted = model.capture(of.rows[row].prompt).hidden[:, -1].norm(dim=-1)
        here = found[NORM][found["row"] == row]
        assert here.tolist() == pytest.approx(wanted.tolist(), rel=1e-4)


def test_a_set_costs_like_its_prompts_and_has_a_limit_of_its_own() -> None:
    from strata.concepts.evidence import values

    of = chosen(10)
    assert token_passes(job(of), values, {**job(of).params}, 6, 2) == 60
    with LocalEngine(Settings(), listed=lambda: ("tiny",)) as engine:
        with pytest.raises(InputError, match="201 prompts and the limit is 200"):
            engine.submit(job(chosen(201)))
        long = PromptSet("x", tuple(Row("x" * 5_000, "a", str(i)) for i in range(5)))
        with pytest.raises(InputError, match="The set has 25,000 characters"):
            engine.submit(job(long))


def test_a_short_job_goes_first_between_two_groups_of_a_set(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes the runs of a set is long, so that it steps aside, whatever else it asks for."""
    model, many, order = tiny("llama"), Model.capture_many, list[str]()
    asked: list[Future] = []

    def counted(self: Model, texts: list[str], **more: bool) -> list[Trace]:
        if not order:
            asked.append(made.submit(fakes.job("one", "a cat"), "ann"))
        order.append("group")
        return many(self, texts, **more)

    def of_all(runs: Iterator[tuple[str, Trace]]) -> pd.DataFrame:
        return pd.DataFrame({"n": [len(trace.tokens) for _, trace in runs]})

    def one(trace: Trace) -> pd.DataFrame:
        order.append("short")
        return pd.DataFrame({"n": [len(trace.tokens)]})

    monkeypatch.setattr(Model, "capture_many", counted)
    views = {"all": of_all, "one": one}
    with fakes.engine(views, load=lambda name, told: model, batch_tokens=64) as made:
        long = made.submit(fakes.job("all", "", prompts=chosen(40).columns()["prompts"]), "eve")
        assert len(long.result(120)) == 40
        assert len(asked[0].result(120)) == 1
    assert order.count("group") > 2
    assert order.index("short") <= 2, order
