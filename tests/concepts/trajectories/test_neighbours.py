"""Exact neighbours and trust, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from strata.concepts.trajectories import neighbours
from strata.concepts.trajectories.neighbours import METRICS, nearest, trust
from strata.errors import InputError


def points(n: int = 200, d: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS)
def test_neighbours_are_those_of_scikit_learn(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CELLS", 200 * 7)  # several chunks, the last one shorter
    given = points()
    indices, distances = nearest(given, 9, metric)
    judge = NearestNeighbors(n_neighbors=9, metric=metric, algorithm="brute")
    expected, places = judge.fit(given.double()).kneighbors(given.double())
    np.testing.assert_array_equal(indices, places)
    np.testing.assert_allclose(distances, expected, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_each_point_is_its_own_first_neighbour_even_beside_its_double(metric: str) -> None:
    given = points(40).repeat(3, 1)
    indices, distances = nearest(given, 4, metric)
    np.testing.assert_array_equal(indices[:, 0], np.arange(120))
    np.testing.assert_array_equal(np.sort(indices[:, :3] % 40, axis=1)[:, 0], np.arange(120) % 40)
    assert (distances[:, 0] == 0).all()
    assert (distances >= 0).all()


def test_distances_stay_exact_beside_a_state_of_size_24_000() -> None:
    given = points(60) * 10
    given[0, 3] = 24_000
    _, distances = nearest(given, 5, "euclidean")
    states = given.double().numpy()
    for i in range(1, 60):
        expected = np.sort(np.linalg.norm(states - states[i], axis=1))[:5]
        np.testing.assert_allclose(distances[i], expected, rtol=1e-5)


def test_a_state_of_zero_has_no_direction() -> None:
    given = points(10)
    given[4] = 0
    with pytest.raises(InputError, match="zero"):
        nearest(given, 3, "cosine")
    nearest(given, 3, "euclidean")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("quality", ["good", "random"])
def test_trust_is_scikit_learns(metric: str, quality: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_CELLS", 200 * 7)
    given = points(d=3)
    noise = points(d=2, seed=1).numpy()
    drawn = noise if quality == "random" else given[:, :2].numpy() + 0.1 * noise
    expected = trustworthiness(given.numpy(), drawn, n_neighbors=15, metric=metric)
    assert trust(given, drawn, metric) == pytest.approx(expected, abs=1e-4)
    assert (expected > 0.7) == (quality == "good")


def test_a_perfect_map_is_trusted_fully_and_a_tiny_one_not_judged() -> None:
    flat = points(30, d=2)
    assert trust(flat, flat.numpy(), "euclidean") == 1
    assert np.isnan(trust(flat[:2], flat[:2].numpy(), "euclidean"))
    assert 0 <= trust(flat[:5], points(5, d=2, seed=3).numpy(), "euclidean") <= 1
