"""Names at the ends of lines: in the lines' order, beside them where there is room, never on each
other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from strata.charts.direct import FEW, with_names


def lines(*ends: float) -> pd.DataFrame:
    rows = [(line, layer, end) for line, end in enumerate(ends) for layer in (0, 3)]
    return pd.DataFrame(rows, columns=["line", "layer", "value"])


def test_a_name_stands_at_the_end_of_its_line_and_nowhere_else() -> None:
    named = with_names(lines(0.2, 0.9), "value", (0, 1), apart=0.1)
    assert named["name_y"].dropna().tolist() == [0.2, 0.9]
    assert named["layer"][named["name_y"].notna()].eq(3).all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_names_never_meet_and_stay_beside_the_axis(value: float) -> None:
    named = with_names(lines(*[value] * FEW), "value", (0, 1), apart=0.1)
    places = np.sort(named["name_y"].dropna())
    assert (np.diff(places) > 0.0999).all()
    assert places.min() >= 0
    assert places.max() <= 1


def test_on_a_scale_that_runs_down_by_logarithms_the_best_is_highest() -> None:
    by = np.log1p, np.expm1
    named = with_names(lines(0, 0, 1_000), "value", (1_000, 0), apart=0.1, by=by)
    first, second, last = named["name_y"].dropna()
    assert last == pytest.approx(1_000)
    assert {round(first, 9), round(second, 9)} == {0, round(np.expm1(0.1 * np.log1p(1_000)), 9)}
