"""What is said of patched runs on models of other families, and of runs that agree."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from strata.concepts.patching import words
from strata.model import Model
from tests.concepts.patching.said import said
from tests.concepts.said import Run, faults

TEXT = "abc abd abe"


@pytest.mark.parametrize("family", ["gemma2", "gpt2", "qwen2"])
def test_it_is_true_of_other_families(tiny: Callable[[str], Model], family: str) -> None:
    told = list(said(Run(tiny(family), TEXT)))
    assert {each.name for each in told} >= {"map_reading", "failures_reading", "heads_reading"}
    for each in told:
        assert not faults(each.sentence), each.sentence
        assert all(claim in each.sentence for claim in each.claims), each


FACTS = {
    "first": 1,
    "clean_value": 3.0,
    "other_value": 3.0,
    "target": " a",
    "against": " b",
    "against_id": 2,
    "clean_top": " a",
    "other_top": " a",
}


def test_of_runs_that_agree_it_says_that_there_is_nothing_to_move() -> None:
    cells = pd.DataFrame({"layer": [0], "position": [1], "value": [3.0], "share": [float("nan")]})
    sentence = words.map_reading(cells, FACTS, "restore", "stream", ["x", "y"])
    assert "the same logit difference" in sentence
    one = words.cell_reading(cells, FACTS, "restore", 0, 1, ["x", "y"])
    assert one.endswith("from 3.00 to 3.00.")
    assert "A and B both say “␣a”" in words.runs_reading(FACTS)
    assert "only their first token" in words.runs_reading(FACTS)


def test_a_failure_is_told_once_for_each_token_and_reason() -> None:
    rows = pd.DataFrame(
        {
            "layer": [2, 0, 1, 1],
            "position": [1, 1, 1, 0],
            "exact": [-1.0, 0.0, 8.0, 5.0],
            "estimate": [1.0, 2.0, 4.0, 4.0],
            "cause": ["flat", "flat", "turns", "sink"],
            "at_tenth": [0.3, 0.3, 0.3, 0.3],
        }
    )
    told = words.failures_reading(rows, FACTS, "restore", ["x", "y"]).splitlines()
    assert len(told) == 3
    assert told[0].startswith("At “y” (position 1), layers 0 and 2: −1.00 to −2.00 by the gradient")
    assert "0.03 of it" in told[0]
    assert "attention sink" in told[2]


@pytest.mark.parametrize(
    ("together", "kind"), [(3.0, "the sum of both"), (2.0, "not as far as"), (7.0, "further than")]
)
def test_two_effects_are_compared_with_their_sum(together: float, kind: str) -> None:
    facts = {**FACTS, "clean_value": 4.0, "other_value": 0.0}
    row = {"unpatched": 0.0, "first": 1.0, "second": 2.0, "both": together}
    assert kind in words.two_reading(row, facts, [[0, 0], [1, 1]], ["x", "y"])
