"""A job says its cost before it runs, and a learner of a class has so much of that."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from strata.concepts import costs
from strata.concepts.views import find_view
from strata.edits import source_prompts
from strata.engine import Job, Limits, LocalEngine, Settings
from strata.engine.cost import Budget, token_passes
from strata.errors import BusyError, InputError
from strata.trace import Keep, Replace, Skip, State, Trace
from tests.engine.fakes import Clock, engine, job

PARTIES = {
    **{name: ("3b", name, name) for name in ("ann", "ben")},
    **{f"eve{n}": ("3b", "new", f"eve{n}") for n in range(12)},
    "tom": ("4a", "tom", "tom"),
}


def cost(view: str, n_tokens: int = 100, **fields: Any) -> float:
    asked = Job(view=view, model="m", prompt="x", **fields)
    return token_passes(asked, find_view(view), asked.params, n_tokens, 30)


def test_a_job_says_what_it_costs() -> None:
    assert cost("predictions.next_token", params={"position": 1}) == 100
    sweep = {"target_id": 1, "factors": [0.0, 0.5]}
    assert cost("scaling.sweep", params=sweep) == 100 + 100 * 30 * 2 / 2
    assert cost("run.continuation", params={"n_tokens": 20}) == 120
    assert cost("run.continuation") == 120, "as many as without saying how many"


def test_chance_costs_what_it_runs_and_a_spare_job_is_paid_for_too(held: LocalEngine) -> None:
    of = {"concept": "hidden_states", "number": "Norm of the state"}
    drawn = {
        kind: cost("chance.draws", params={**of, "kind": kind, "count": 4})
        for kind in ("shuffled text", "random blocks", "random directions")
    }
    run = 100
    assert drawn["shuffled text"] == run + 4 * 100
    assert drawn["random blocks"] == run + 4 * (100 + 300)
    assert drawn["random directions"] == run
    assert cost("chance.draws", params={**of, "kind": "shuffled text"}) == run + 20 * 100
    with held as made:
        made.describe("fake", 10)
        made.submit(job("dear", "one"), "ann", spare=True).result(10)
        with pytest.raises(BusyError, match=r"^You have asked the model for much work"):
            made.submit(job("dear", "two"), "ann", spare=True)
        made.submit(job("dear", "two"), "ben", spare=True).result(10)


def test_what_an_edit_names_is_run_too() -> None:
    """Other prompts and texts, each once; over a learner's limits they are refused like prompts."""
    edits = (
        Replace(0, "stream", State("one two three"), (0,)),
        Replace(1, "stream", State("one two three"), (0,)),
        Keep(0, 1, ("four five", "six")),
        Skip(1),
    )
    assert source_prompts(edits) == ("one two three", "four five", "six")
    view = find_view("predictions.next_token")
    asked = Job(view="v", model="m", prompt="x", edits=edits)
    assert token_passes(asked, view, {}, 100, 30, 6) == 106
    party, budget = PARTIES["ann"], Settings(token_passes=10, token_passes_per_minute=1)
    limits = {"ann": Limits(party=party, prompt_tokens=3, prompt_characters=20)}
    with engine({}, clock=Clock(), limits=limits, token_passes=10) as made:
        made.run(job("plain", "a", edits=edits), "ann")
        for n, said in ((4, "4 tokens and the limit is 3"), (40, "characters and the limit is 20")):
            longer = (Replace(0, "stream", State("a " * n), (0,)),)
            with pytest.raises(InputError, match=said):
                made.run(job("plain", "b", edits=longer), "ann")
        with pytest.raises(InputError, match="prompts in its edits and the limit"):
            made.run(job("plain", "c", edits=(Keep(0, 1, tuple(map(str, range(99)))),)), "ann")
    assert budget.token_passes == 10


def test_a_map_of_a_long_text_is_not_a_slider() -> None:
    short, long = (cost("trajectories.state_map", n) for n in (10, 250))
    assert short < 500
    assert long > 15_000
    assert cost("trajectories.state_map", 250, params={"method": "pca"}) < long
    gradient = cost("trajectories.gradient_map", 10) - short
    assert gradient == 3 * 10
    three = cost("trajectories.joint_map", 10, prompts=("a", "b", "c", "c"))
    assert three > 3 * short


def test_a_budget_comes_back_and_no_job_is_too_large_for_ever() -> None:
    clock = Clock()
    budget = Budget(Settings(token_passes=100, token_passes_per_minute=60), clock)
    ann = PARTIES["ann"]
    budget.take(ann, 150)
    assert budget.wait(ann) == (50, False)
    assert budget.wait(PARTIES["ben"]) == (0, False)
    clock.now += 49
    assert budget.wait(ann)[0] == pytest.approx(1)
    clock.now += 101
    budget.take(ann, 99)
    assert budget.wait(ann) == (0, False)


def test_a_classs_own_sum_is_bounded_and_that_of_one_hands_members() -> None:
    budget = Budget(Settings(token_passes=100, token_passes_per_minute=60), Clock())
    for n in range(6):
        budget.take(PARTIES[f"eve{n}"], 100)
    assert budget.wait(PARTIES["eve11"])[0] > 0
    assert budget.wait(PARTIES["ann"]) == (0, False)
    budget.take(PARTIES["ben"], 600)
    assert budget.wait(PARTIES["ann"])[1], "it is the class's"
    assert budget.wait(PARTIES["tom"]) == (0, False)
    assert budget.wait(("alone",)) == budget.wait(()) == (0, False)


def test_what_is_forgotten_was_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strata.engine.cost._KNOWN", 3)
    clock = Clock()
    budget = Budget(Settings(token_passes=100, token_passes_per_minute=60), clock)
    budget.take(PARTIES["ann"], 50)
    clock.now += 60
    budget.take(PARTIES["tom"], 500)
    budget.take(PARTIES["ben"], 1)
    assert budget.wait(PARTIES["tom"])[0] > 0


@pytest.fixture
def held() -> LocalEngine:
    @costs(lambda n_tokens, n_layers, params: 1_000.0)
    def dear(trace: Trace, number: int = 0) -> pd.DataFrame:
        return pd.DataFrame({"text": [trace.text]})

    limits = {name: Limits(party=party) for name, party in PARTIES.items()}
    return engine(
        {"dear": dear}, clock=Clock(), limits=limits, token_passes=900, token_passes_per_minute=60
    )


def test_who_has_used_up_theirs_waits_and_others_do_not(held: LocalEngine) -> None:
    with held as made:
        made.run(job("dear", "one"), "ann")
        with pytest.raises(BusyError, match=r"^You have asked the model for much work") as refused:
            made.run(job("plain", "two"), "ann")
        assert refused.value.seconds
        assert refused.value.seconds > 90
        assert len(made.run(job("dear", "one"), "ann")) == 1, "what is known costs nothing"
        for name in ("ben", "tom", "a browser without a seat"):
            assert len(made.run(job("dear", name), name)) == 1
            assert name == "ben" or len(made.run(job("dear", f"{name} 2"), "nobody")) == 1
        assert len(made.run(job("dear", "of a notebook"))) == 1
