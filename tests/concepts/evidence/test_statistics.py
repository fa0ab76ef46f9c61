"""Means, intervals and permutation tests of a set, against SciPy and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from strata.concepts.evidence import statistics

RNG = np.random.default_rng(3)


def layers(n: int, n_layers: int = 5, shift: float = 0.0) -> np.ndarray:
    """Noise whose layers hang together, shifted at layer 2."""
    found = RNG.standard_normal((n, n_layers)).cumsum(axis=1)
    found[:, 2] += shift
    return found


def test_an_interval_is_students() -> None:
    values = layers(9)
    mean, low, high = statistics.interval(values)
    wanted = stats.t.interval(0.95, 8, loc=values.mean(axis=0), scale=stats.sem(values))
    assert np.allclose([low, high], wanted)
    assert np.allclose(mean, values.mean(axis=0))
    assert np.isnan(statistics.interval(values[:1])[1]).all()  # one prompt has no spread


def by_scipy(a: np.ndarray, b: np.ndarray, kind: str, n: int) -> Any:
    """SciPy's test of |t| with all layers in one call, so that they share their draws."""

    def size(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        if kind == "samples":
            return np.abs(stats.ttest_1samp(x - y, 0.0, axis=axis).statistic)
        return np.abs(stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic)

    return stats.permutation_test(
        (a.T, b.T),
        size,
        permutation_type=kind,
        n_resamples=n,
        vectorized=True,
        axis=-1,
        alternative="greater",
        rng=np.random.default_rng(1),
    )


def test_all_signs_of_few_pairs_are_tried_as_scipy_tries_them() -> None:
    for n, shift in ((6, 1.0), (9, 0.0)):
        a, b = layers(n, shift=shift), layers(n)
        told = statistics.paired(a - b)
        wanted = by_scipy(a, b, "samples", 2**n)
        assert np.allclose(told.p, wanted.pvalue)
        largest = wanted.null_distribution.max(axis=-1)
        over_all = [(largest >= t * (1 - 1e-9)).mean() for t in wanted.statistic]
        assert np.allclose(told.p_layers, over_all)
        assert np.allclose(np.abs(told.t), wanted.statistic)
        assert (told.p_layers >= told.p).all()


def test_drawn_signs_agree_with_scipys_within_their_error() -> None:
    a, b = layers(20, shift=0.8), layers(20)
    told, wanted = statistics.paired(a - b), by_scipy(a, b, "samples", 4_999)
    assert np.allclose(told.p, wanted.pvalue, atol=0.03)
    assert told.p.min() >= 1 / 10_000  # what was seen counts as a draw


def test_groups_without_pairs_are_welchs() -> None:
    a, b = layers(11, shift=1.5), layers(7)
    told, wanted = statistics.independent(a, b), by_scipy(a, b, "independent", 4_999)
    assert np.allclose(np.abs(told.t), wanted.statistic)
    assert np.allclose(told.p, wanted.pvalue, atol=0.03)
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert np.allclose([told.low, told.high], [interval.low, interval.high])
    other = statistics.independent(b, a)
    assert np.allclose(other.mean, -told.mean)


def test_the_correction_is_for_all_layers_and_no_more() -> None:
    """The same layer again asks nothing new; another one does."""
    a = RNG.standard_normal((10, 1)) + 0.6
    one, twice = statistics.paired(a), statistics.paired(np.hstack([a, a]))
    assert twice.p_layers[0] == pytest.approx(one.p[0])
    apart = statistics.paired(np.hstack([a, layers(10, 8)]))
    assert apart.p_layers[0] > apart.p[0] == pytest.approx(one.p[0])


def test_layers_without_a_number_or_a_difference_raise_no_alarm() -> None:
    a = layers(8)
    a[:, 0], a[:, 1] = np.nan, 0.0
    told = statistics.paired(a)
    assert np.isnan(told.p_layers[0])
    assert told.p[1] == told.p_layers[1] == 1.0
    assert np.isfinite(told.p_layers[2:]).all()


def test_groups_that_are_constant_have_the_p_of_their_groups() -> None:
    """Without any spread t is as large as can be in both of the splits that part them alike; equal
    ones raise no alarm."""
    for n, m, splits in ((2, 2, 6), (3, 4, 35), (4, 4, 70)):
        a, b = np.full((n, 3), -2.0), np.full((m, 3), -2.0)
        a[:, 1], a[:, 2] = 1.0, -2.0 + 1e-13
        a[0, 2] = -2.0
        told = statistics.independent(a, b)
        reach = 2 if n == m else 1
        assert told.p[1] == pytest.approx(reach / splits, abs=0.02)
        assert told.p_layers[1] == pytest.approx(reach / splits, abs=0.02)
        assert statistics.least_p(n, m) == pytest.approx(reach / splits)
        assert (told.t[[0, 2]] == 0).all()
        assert (told.p_layers[[0, 2]] == 1).all()
        assert np.allclose(told.low[:2], [0, 3])
        assert np.allclose(told.high[:2], [0, 3])


def test_the_least_p_is_reached_by_the_clearest_difference() -> None:
    for n in (2, 3, 5, 6):
        apart = np.ones((n, 1)) + RNG.uniform(0, 1e-3, (n, 1))
        assert statistics.paired(apart).p[0] == statistics.least_p(n)
        assert statistics.one_sided(apart[:, 0], larger=True) == pytest.approx(
            statistics.least_p(n, two_sided=False)
        )
    a, b = RNG.standard_normal(3) + 100, RNG.standard_normal(4)
    seen = statistics.one_sided_groups(a, b, larger=True)
    assert seen == pytest.approx(statistics.least_p(3, 4, two_sided=False), abs=0.01)


def test_a_written_hypothesis_is_tested_in_its_direction() -> None:
    apart = RNG.standard_normal(10) + 1
    up, down = (statistics.one_sided(apart, larger) for larger in (True, False))
    wanted = stats.permutation_test(
        (apart, -apart),
        lambda x, y: (x - y).mean(),
        permutation_type="samples",
        n_resamples=2**10,
        alternative="greater",
    )
    assert up == pytest.approx(wanted.pvalue)
    assert down == pytest.approx(1 - up, abs=2 / 2**10)
    a, b = RNG.standard_normal(14) + 2, RNG.standard_normal(15)
    assert statistics.one_sided_groups(a, b, larger=True) < 0.01
    assert statistics.one_sided_groups(a, b, larger=False) > 0.99


def test_halves_depend_on_names_alone() -> None:
    names = [f"pair {i}" for i in range(25)]
    explored, held = statistics.halves(names)
    assert sorted(explored + held) == list(range(25))
    assert len(explored) == 13
    backwards = statistics.halves(names[::-1])[0]
    assert {names[i] for i in explored} == {names[::-1][i] for i in backwards}
    assert statistics.halves(names, 1)[0] != explored
