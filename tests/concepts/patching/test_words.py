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
    assert "they part after their first token" in words.runs_reading(FACTS)


@pytest.mark.parametrize(("other", "told"), [(3.0, False), (3.5, True), (2.1, True), (4.5, False)])
def test_of_runs_that_are_hardly_apart_shares_exaggerate(other: float, told: bool) -> None:
    said = words.runs_reading({**FACTS, "other_value": other})
    assert ("in B (hardly apart, so shares exaggerate);" in said) == told, said


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
    assert told[2].endswith(
        "the token is an attention sink, and the first tenth of the way does 0.03 of the effect "
        "(straight: 0.10)."
    )
    little = rows.tail(1).assign(at_tenth=float("nan"))
    assert words.failures_reading(little, FACTS, "restore", ["x", "y"]).endswith(
        "the token is an attention sink, and the whole way does next to nothing."
    )


def test_a_last_block_whose_writes_are_read_at_the_end_alone_is_told_of() -> None:
    cells = pd.DataFrame({"layer": [2, 2, 3, 3, 3], "position": [1, 2, 0, 1, 2]})
    cells["value"] = [4.0, 5.0, 3.0, 3.00005, 7.0]
    assert words.unread(cells, 3.0) == "of layer 3 only the last token's write moves anything"
    assert words.unread(cells, 3.2) == "", "a block that attends again reads others"
    assert words.unread(cells.tail(1), 3.0) == ""


FAR = {**FACTS, "clean_value": 10.0, "other_value": 0.0}
BELOW, ABOVE, ASIDE = [1, 0], [3, 1], [3, 0]  # the first lies on no way to a cell beside or below


@pytest.mark.parametrize(
    ("one", "two", "both", "cells", "said"),
    [
        # One decides: what comes later takes the place of what the other led to.
        (
            10,
            10,
            10,
            (BELOW, ABOVE),
            "as each of them alone, not by their sum +20.00: the second t",
        ),
        (
            10,
            10,
            10,
            (ABOVE, BELOW),
            "as each of them alone, not by their sum +20.00: the first ta",
        ),
        (
            10,
            10,
            10,
            ([1, 1], ASIDE),
            "alone, not by their sum +20.00: what one brings, the other h",
        ),
        (
            4,
            10,
            10,
            (BELOW, ABOVE),
            "as the second alone: it takes the place of what the other led",
        ),
        (10, 4, 10, (BELOW, ABOVE), "as the first alone, beside which the other changes nothing."),
        (10, -4, -4, (BELOW, ABOVE), "not by their sum +6.00 but as the second alone: it takes"),
        (-3, 10, 10, (BELOW, ABOVE), "as the second alone: it takes"),
        (-8, -8, -8, (BELOW, ABOVE), "−8.00"),
        (0, 10, 10, (BELOW, ABOVE), "as the second alone: by itself the first moves next t"),
        (9, 0.1, 9, (BELOW, ABOVE), "as the first alone: by itself the second moves next"),
        (0, 0.1, 0.1, (BELOW, ABOVE), "next to nothing each time."),
        # The sum.
        (3, 5, 8, (BELOW, ABOVE), "+8.00: the sum of both, so beside the other each does what"),
        (-3, 5, 2, (BELOW, ABOVE), "+2.00: the sum of both"),
        (-3, -5, -8, (BELOW, ABOVE), "−8.00: the sum of both"),
        # Neither: a cause only where all three have one sign.
        (
            3,
            5,
            6.5,
            (BELOW, ABOVE),
            "not as far as their sum +8.00: beside the other each does less.",
        ),
        (
            -3,
            -5,
            -6.5,
            (BELOW, ABOVE),
            "not as far as their sum −8.00: beside the other each does l",
        ),
        (3, 5, 9, (BELOW, ABOVE), "further than their sum +8.00: beside the other each does"),
        (
            -3,
            -5,
            -9,
            (BELOW, ABOVE),
            "further than their sum −8.00: beside the other each does more",
        ),
        (3, 5, 1, (BELOW, ABOVE), "together by +1.00; their sum would be +8.00."),
        (3, 5, -4, (BELOW, ABOVE), "together by −4.00; their sum would be +8.00."),
        (-3, 5, 9, (BELOW, ABOVE), "together by +9.00; their sum would be +2.00."),
        (-3, 5, -9, (BELOW, ABOVE), "together by −9.00; their sum would be +2.00."),
        (0, 5, 9, (BELOW, ABOVE), "together by +9.00; their sum would be +5.00."),
    ],
)
def test_two_effects_are_told_by_what_they_do(
    one: float, two: float, both: float, cells: tuple[list[int], list[int]], said: str
) -> None:
    start = 1.5
    row = {"unpatched": start, "first": start + one, "second": start + two, "both": start + both}
    told = words.two_reading(row, FAR, list(cells), ["x", "y"])
    assert said.removeprefix("+") in told, told
    assert not faults(told)
    if one == -8:
        assert "as each of them alone, not by their sum −16.00: the second takes" in told
    writes = words.two_reading(row, FAR, list(cells), ["x", "y"], "mlp")
    assert "takes the place" not in writes, "later blocks read both"


def of(shares: dict[tuple[int, int], float]) -> pd.DataFrame:
    rows = [(*cell, share) for cell, share in shares.items()]
    return pd.DataFrame(rows, columns=["layer", "position", "share"])


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        (
            {(1, 0): 0.05, (2, 1): -0.8},
            "the most is a share of −0.80 (further from A), at layer 2, “y” (position 1); 1 of 2 "
            "cells moves a tenth or more.",
        ),
        (
            {(1, 0): 0.5, (2, 1): -0.4, (3, 1): 0.0},
            "the most is a share of 0.50, at layer 1, “x” (position 0), and the most the other way "
            "−0.40, at layer 2, “y” (position 1); 2 of 3 cells move a tenth or more.",
        ),
        (
            {(1, 0): 0.5, (2, 1): -0.8},
            "the most is a share of −0.80 (further from A), at layer 2, “y” (position 1), and the "
            "most the other way 0.50, at layer 1, “x” (position 0); all 2 cells move a tenth or "
            "more.",
        ),
        (
            {(1, 0): 0.05, (2, 1): -0.08},
            "no single cell moves as much as a tenth of the difference; the most is −0.08, at "
            "layer 2, “y” (position 1).",
        ),
    ],
)
def test_writes_that_work_against_the_source_are_told(
    shares: dict[tuple[int, int], float], said: str
) -> None:
    told = words.map_reading(of(shares), FAR, "restore", "attn", ["x", "y"])
    assert told == f"With A's attention writes put into the run of B, {said}"
    heads = of(shares).rename(columns={"layer": "head"})
    told = words.heads_reading(heads, FAR, "restore", 4, ["x", "y"])
    top = heads.loc[heads["share"].abs().idxmax()]
    assert f"attention head {top['head']:.0f} at " in told
    assert ("none moves" in told) == (abs(top["share"]) < 0.1)
    assert ("(further from A)" in told) == (top["share"] <= -0.1)
    assert ("most the other way attention head" in told) == ("most the other way" in said)


def test_of_the_stream_only_what_moves_a_tenth_leads() -> None:
    start = "Of A's stream put into the run of B, "
    map_ = {(0, 0): 1.0, (1, 0): -0.3, (1, 1): -0.2, (2, 0): 0.05, (2, 1): 0.01, (3, 1): 1.0}
    told = words.map_reading(of(map_), FAR, "restore", "stream", ["x", "y"])
    assert told == (
        f"{start}“x” (position 0) restores most at layer 0 and “y” (position 1) at layer 3: where "
        "both runs differ and what comes later still reads it; left out: 2 of 4 layers, where none "
        "does a tenth. Most the other way goes layer 1, “x” (position 0): a share of −0.30."
    )
    none = words.map_reading(of({(0, 0): -0.05}), FAR, "corrupt", "stream", ["x", "y"])
    assert none.endswith("no token's state alone corrupts as much as a tenth.")
    one = words.map_reading(of({(0, 0): 1.0, (1, 0): 0.0}), FAR, "corrupt", "stream", ["x", "y"])
    assert "corrupts most wherever one does a tenth or more: there the runs differ" in one
