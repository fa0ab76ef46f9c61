"""The cosine of two random directions, against SciPy, and against sampled ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from strata.concepts.gaussian_baseline import gaussian_cosines
from strata.concepts.gaussian_baseline.density import (
    best_dimension,
    cumulative,
    curve,
    density,
    even_ranks,
    ks_distance,
    quantile,
)
from strata.errors import InputError

GRID = np.linspace(-0.999, 0.999, 401)


def beta(d: int) -> object:
    return stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)


@pytest.mark.parametrize("d", [2, 3, 4, 17, 576, 12_288])
def test_density_and_distribution_are_a_beta(d: int) -> None:
    np.testing.assert_allclose(density(GRID, d), beta(d).pdf(GRID), rtol=1e-9, atol=1e-280)
    np.testing.assert_allclose(cumulative(GRID, d), beta(d).cdf(GRID), rtol=1e-9, atol=1e-280)
    for share in (0.001, 0.3, 0.5, 0.99):
        assert quantile(share, d) == pytest.approx(beta(d).ppf(share), abs=1e-9)


@pytest.mark.parametrize("d", [2, 3, 10, 300])
def test_mean_zero_and_variance_one_over_d(d: int) -> None:
    total, mean, square = (
        integrate.quad(lambda a, k=k: np.cos(a) ** k * density(np.cos(a), d) * np.sin(a), 0, np.pi)
        for k in (0, 1, 2)
    )
    assert (total[0], mean[0]) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert square[0] == pytest.approx(1 / d)


def test_two_and_three_dimensions_by_hand() -> None:
    np.testing.assert_allclose(density(GRID, 2), 1 / (np.pi * np.sqrt(1 - GRID**2)))
    np.testing.assert_allclose(density(GRID, 3), 0.5)
    assert density([1.0, -1.0], 2).tolist() == [np.inf, np.inf]
    assert density([1.5, -1.5], 7).tolist() == [0, 0]


def test_one_dimension_has_two_spikes() -> None:
    assert density([-1, -0.5, 0, 1], 1).tolist() == [np.inf, 0, 0, np.inf]
    assert cumulative([-1, 0, 0.99, 1], 1).tolist() == [0.5, 0.5, 0.5, 1]
    assert (quantile(0.4, 1), quantile(0.6, 1)) == (-1, 1)
    spikes = curve(1)
    assert spikes["cosine"].tolist() == [-1, 1]
    assert spikes["density"].isna().all()
    assert curve(1, 0.2, 0.7).empty
    cosines = np.sort(gaussian_cosines(400, 8, 1, seed=0), axis=None)
    assert ks_distance(cosines, np.arange(len(cosines)), 1) < 0.05
    assert ks_distance(cosines, np.arange(len(cosines)), 2) > 0.4
    assert ks_distance(np.ones(100), np.arange(100), 1) == 0.5


@pytest.mark.parametrize("d", [0, -3, 2.5])
def test_dimensions_are_whole_numbers_from_one(d: int) -> None:
    for function in (density, cumulative):
        with pytest.raises(InputError, match="number of dimensions"):
            function(0.5, d)


def test_curve_is_the_density_and_stays_finite() -> None:
    frame = curve(2)
    assert np.isfinite(frame["density"]).all()
    np.testing.assert_allclose(frame["density"], density(frame["cosine"], 2))
    near = curve(50, -0.2, 0.1)
    assert near["cosine"].between(-0.2, 0.1).all()


def test_ranks_hold_the_first_and_the_last() -> None:
    assert even_ranks(1).tolist() == [0]
    assert even_ranks(5).tolist() == [0, 1, 2, 3, 4]
    ranks = even_ranks(1_000_000)
    assert (len(ranks), ranks[0], ranks[500], ranks[-1]) == (1001, 0, 500_000, 999_999)


@pytest.mark.parametrize("d", [5, 40, 64, 100])
def test_distance_is_at_most_a_thousandth_below_the_exact_one(d: int) -> None:
    ordered = np.sort(gaussian_cosines(600, 64, 40, seed=1), axis=None).astype(float)
    exact = stats.kstest(ordered, beta(d).cdf).statistic
    ranks = even_ranks(len(ordered))
    assert exact - 1e-3 <= ks_distance(ordered[ranks], ranks, d) <= exact + 1e-12
    every = np.arange(len(ordered))
    assert ks_distance(ordered, every, d) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.3, 0.9])
@pytest.mark.parametrize("d", [1, 2, 33, 120])
def test_best_dimension_is_the_nearest_of_all(d: int, shift: float) -> None:
    cosines = gaussian_cosines(300, 128, d, seed=2)
    ordered = np.sort(np.clip(cosines * (1 - shift) + shift, -1, 1), axis=None)
    ranks = even_ranks(len(ordered))
    distances = [ks_distance(ordered[ranks], ranks, other) for other in range(1, 129)]
    best = best_dimension(ordered[ranks], ranks, 128)
    assert distances[best - 1] == min(distances)
    if not shift:
        assert abs(best - d) <= 0.1 * d
