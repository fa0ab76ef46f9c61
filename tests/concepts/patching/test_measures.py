"""What lessons read off the tables of patched runs."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from strata.concepts.patching import measures

NAN = float("nan")
# By layer, the share at positions 2 and 4: one hands over to the other from layer 2 on.
MAP = {0: (1.0, NAN), 1: (1.1, 0.5), 2: (0.2, 0.7), 3: (NAN, 1.0)}


def cells(shares: dict[int, tuple[float, float]] = MAP) -> pd.DataFrame:
    """A map without the cells that can change nothing."""
    rows = [
        (layer, position, share)
        for layer, both in shares.items()
        for position, share in zip((2, 4), both, strict=True)
        if not math.isnan(share)
    ]
    return pd.DataFrame(rows, columns=["layer", "position", "share"])


def test_a_share_is_that_of_its_cell() -> None:
    assert measures.share_at(cells(), 1, 4) == 0.5
    assert measures.share_at_first(cells(), 1) == 1.1
    assert math.isnan(measures.share_at(cells(), 0, 4)), "no cell, no share"


def test_the_best_position_is_of_one_layer() -> None:
    assert measures.best_position(cells(), 1) == 2
    assert measures.best_position(cells(), 2) == 4


def test_the_handover_is_above_the_last_layer_with_half_or_less() -> None:
    assert measures.handover_layer(cells()) == 2, "at layer 1 it is just a half"
    falls_back = {**MAP, 1: (0.0, 0.9), 2: (1.0, -0.4)}
    assert measures.handover_layer(cells(falls_back)) == 3
    only_the_last = cells().query("position == 4 and layer >= 2")
    assert measures.handover_layer(only_the_last) == 2


def test_runs_that_agree_have_no_answer() -> None:
    same = cells().assign(share=NAN)
    assert measures.best_position(same, 1) is None
    assert measures.handover_layer(same) is None


@pytest.mark.parametrize(("both", "expected"), [(5.0, 1.0), (9.0, 2.0), (1.0, 0.0), (-1.0, -0.5)])
def test_two_cells_move_a_share_together(both: float, expected: float) -> None:
    row = {"unpatched": 1.0, "source": 5.0, "first": 2.0, "second": 5.0, "both": both}
    assert measures.share_together(pd.DataFrame([row])) == expected
    assert measures.first_effect(pd.DataFrame([row])) == 1.0
    agree = pd.DataFrame([{**row, "source": 1.0}])
    assert math.isnan(measures.share_together(agree))
