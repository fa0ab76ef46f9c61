"""Cosines of bare arrays against torch and SciPy; what chance gives against known distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from strata.concepts.laminar_profile.cosines import cosines, every_two, pairs, random_band, shortcut


def normal(n: int, d_model: int, seed: int = 0, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (n, d_model))


def test_cosines_against_torch() -> None:
    states = normal(7, 11)
    rows = torch.from_numpy(states)
    expected = torch.cosine_similarity(rows[:, None], rows[None], dim=-1, eps=0)
    np.testing.assert_allclose(cosines(states), expected, atol=1e-14)
    a, b, cosine = every_two(states)
    np.testing.assert_allclose(cosine, expected[a, b], atol=1e-14)
    assert len(set(zip(a.tolist(), b.tolist(), strict=True))) == 49
    a, b, cosine = pairs(states)
    assert (a < b).all()
    assert len(cosine) == 21
    np.testing.assert_allclose(cosine, expected[a, b], atol=1e-14)


def test_a_sink_does_not_blur_its_neighbours() -> None:
    """Beside a number of 24,000, float32 would lose what the others of this state say."""
    states = np.zeros((2, 576))
    states[:, 0], states[0, 1], states[1, 1] = 24_000, 1, -1
    expected = (24_000**2 - 1) / (24_000**2 + 1)
    assert 1 - cosines(states)[0, 1] == pytest.approx(1 - expected, rel=1e-6)


def test_cosines_never_leave_their_range() -> None:
    state = normal(1, 1000)
    assert np.abs(cosines(np.concatenate([state * k for k in (1, 3, 1e-20, -7)]))).max() <= 1


def test_a_zero_state_has_no_direction() -> None:
    states = normal(3, 4)
    states[1] = 0
    with np.errstate(all="raise", invalid="warn"):
        undefined = np.isnan(cosines(states))
    assert undefined[1].all()
    assert undefined[:, 1].all()
    assert undefined.sum() == 5


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_states_make_no_pair(n: int) -> None:
    assert [len(column) for column in pairs(normal(n, 4))] == [0, 0, 0]
    assert [len(column) for column in shortcut(normal(n, 4))] == [0, 0, 0]


@pytest.mark.parametrize("mean", [0, 3])
def test_shortcut_is_the_seeds_own_line(mean: float) -> None:
    """With negative cosines (mean 0) and without, and with states that repeat."""
    states = normal(9, 16, mean=mean)
    states[5] = states[2]
    matrix = torch.from_numpy(cosines(states)).float()
    expected = torch.unique(torch.triu(matrix, 1))[1:]
    a, b, cosine = shortcut(states)
    np.testing.assert_array_equal(cosine.astype(np.float32), expected)
    invented = a == b
    assert invented.any() == (mean == 0)
    assert (cosine[invented] == 0).all()
    np.testing.assert_allclose(cosine[~invented], cosines(states)[a, b][~invented], atol=1e-7)
    assert len(cosine) < 36  # pairs with the repeated state are merged


# -- what chance gives ------------------------------------------------------------------------


@pytest.mark.parametrize("d_model", [2, 3, 4, 64, 576, 8192])
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_free_vectors_follow_a_beta(d_model: int, share: float) -> None:
    half = (d_model - 1) / 2
    edge = 2 * stats.beta.ppf((1 + share) / 2, half, half) - 1
    low, high = random_band(d_model, share=share)
    assert high == pytest.approx(edge, rel=1e-4)
    assert low == pytest.approx(-high, abs=1e-12)


@pytest.mark.parametrize(
    ("n", "d_model", "sets"), [(3, 4, 40_000), (4, 32, 40_000), (5, 576, 4_000), (40, 8, 20_000)]
)
def test_centred_vectors_lean_away_from_each_other(n: int, d_model: int, sets: int) -> None:
    """Of sampled pairs 95 % lie within the band, and as many below it as above."""
    states = np.random.default_rng(0).standard_normal((sets, n, d_model))
    states -= states.mean(axis=1, keepdims=True)
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    cosine = (unit[:, 0] * unit[:, 1]).sum(axis=-1)
    low, high = random_band(d_model, n)
    inside, below = (cosine >= low) & (cosine <= high), cosine < low
    assert inside.mean() == pytest.approx(0.95, abs=4 * math.sqrt(0.0475 / sets))
    assert below.mean() == pytest.approx(0.025, abs=4 * math.sqrt(0.0244 / sets))
    assert low < -1 / (n - 1) < high


def test_many_centred_vectors_are_as_free_ones() -> None:
    assert random_band(64, 10**9) == pytest.approx(random_band(64), abs=1e-8)


def test_bands_that_need_no_width() -> None:
    assert random_band(1) == (-1, 1)
    assert random_band(576, 2) == (-1, -1)
    assert np.isnan(random_band(576, 1)).all()
