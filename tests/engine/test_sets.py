"""A set of prompts in the engine: run together by length, each once, with others between."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strata.corpus.sets import PromptSet, Row
from strata.engine import Job, LocalEngine, Settings
from strata.engine.cost import token_passes
from strata.errors import InputError
from strata.model import Model

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
        for n, limit in ((201, "201 prompts and the limit is 200"),):
            with pytest.raises(InputError, match=limit):
                engine.submit(job(chosen(n)))
        long = PromptSet("x", tuple(Row("x" * 5_000, "a", str(i)) for i in range(5)))
        with pytest.raises(InputError, match="The set has 25,000 characters"):
            engine.submit(job(long))


def test_a_short_job_goes_first_between_two_prompts_of_a_set(tiny: Callable[[str], Model]) -> None:
    """A view that takes runs is long, so that it steps aside."""
    from strata.concepts.evidence import values
    from strata.engine.line import Work
    from strata.engine.owner import is_short

    work = Work.__new__(Work)
    work.view, work.spare = values, False
    assert not is_short(work)
