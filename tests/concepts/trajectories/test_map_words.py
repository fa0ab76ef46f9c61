"""What is said of maps, on maps whose numbers are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes

from strata.concepts.trajectories import measures, words


def path(points: list[tuple[float, float]], position: int = 0) -> pd.DataFrame:
    x, y = zip(*points, strict=True)
    return pd.DataFrame({"layer": range(len(x)), "position": position, "x": x, "y": y})


def test_smoothness_is_the_median_step_over_the_width() -> None:
    frame = pd.concat([path([(0, 0), (3, 4)]), path([(10, 0), (10, 1)], 1)])
    width = math.sqrt(2 * (np.var([0, 3, 10, 10]) + np.var([0, 4, 0, 1])))
    assert measures.smoothness(frame.sample(frac=1, random_state=0)) == pytest.approx(3 / width)
    assert math.isnan(measures.smoothness(path([(0, 0)])))


def test_disagreement_is_scipys_procrustes() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 30, 2))
    frames = [path([tuple(point) for point in points]) for points in (one, other)]
    assert words.disagreement(*frames) == pytest.approx(procrustes(one, other)[2])
    turned = one @ np.array([[0, 2.0], [2.0, 0]]) + 5
    assert words.disagreement(frames[0], path([*map(tuple, turned)])) == pytest.approx(0)


def test_readings_of_maps() -> None:
    good = path([(0, 0), (0, 1), (9, 9)]).assign(trust=0.9936, kept=math.nan, n_neighbors=5)
    assert words.reading(good).startswith(
        "Trust 0.994 of 1, where chance gives 0.5: neighbours on the map mostly are neighbours in "
        "truth; a typical step"
    )
    # What is said holds for the number that is shown.
    assert "Trust 0.950 of 1" in (edge := words.reading(good.assign(trust=0.9496)))
    assert "mostly are neighbours" in edge
    fair = words.reading(good.assign(trust=0.934))
    assert "neighbours on the map often are neighbours in truth, but far from always; a" in fair
    poor = words.reading(good.assign(trust=0.7, kept=0.281))
    assert "neighbours on the map often are no neighbours in truth; two" in poor
    assert poor.endswith("two dimensions keep 28% of the variance.")
    assert "too few states" in words.reading(good.assign(trust=math.nan))
    assert "smooth paths alone say nothing" in words.null_reading(good, good, good)
    assert "Another seed moves 0% of this" in words.null_reading(good, good, good)
    steady = path([(i, 0.0) for i in range(9)])
    jagged = path([(float(i % 2 * 9), 0.0) for i in range(9)])
    assert "smoother than chance" in words.null_reading(steady, jagged, steady)
