"""How alike whole layers are, against the published formulas on data with a known answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from strata.concepts.laminar_profile import cka, selectivity, words
from strata.concepts.laminar_profile.script import script
from strata.concepts.laminar_profile.similarity import (
    by_distance,
    debiased_cka,
    explained,
    plain_cka,
)
from strata.corpus import sample
from strata.model import Model
from tests.scripts import output_of

TEXTS = (
    "The cat sat on the mat, and the dog ran after the cat until the sun went down.",
    "The river is wide where the stones are round and the water is slow.",
    "She said that the answer was in the drawer, and then she read the answer.",
)


def noise(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))


def hsic(k: np.ndarray, other: np.ndarray) -> float:
    """The unbiased estimate of Song et al. 2012, equation 5."""
    n = len(k)
    k, other = k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    ones = np.ones(n)
    found = np.trace(k @ other) + (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
    return float(found - 2 / (n - 2) * (ones @ k @ other @ ones)) / (n * (n - 3))


def test_it_is_the_ratio_of_unbiased_estimates() -> None:
    x = noise(25, 7)
    y = x[:, :3] @ noise(3, 9, 1) + 0.5 * noise(25, 9, 2) + 4
    k, other = ((each @ each.T).numpy() for each in (x, y))
    wanted = hsic(k, other) / np.sqrt(hsic(k, k) * hsic(other, other))
    found = debiased_cka([x, y])
    assert found[0, 1] == pytest.approx(wanted, rel=1e-9)
    assert found[1, 0] == found[0, 1]
    np.testing.assert_allclose(np.diag(found), 1)


def test_plain_cka_is_that_of_kornblith() -> None:
    x, y = noise(25, 7), noise(25, 9, 1)
    a, b = (each - each.mean(dim=0) for each in (x, y))
    wanted = (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())
    assert plain_cka([x, y])[0, 1] == pytest.approx(float(wanted), rel=1e-9)


def test_turning_scaling_and_shifting_a_layer_change_nothing() -> None:
    x = noise(60, 8)
    turn = torch.linalg.qr(noise(8, 8, 1)).Q
    for other in (x @ turn, -3 * x, x + 1_000):
        assert debiased_cka([x, other])[0, 1] == pytest.approx(1, abs=1e-6)
    stretched = x * torch.tensor([9.0, 1, 1, 1, 1, 1, 1, 1])
    assert debiased_cka([x, stretched])[0, 1] < 0.9


def test_unrelated_states_have_none_but_for_plain_cka() -> None:
    found = [(debiased_cka([noise(50, 200, s), noise(50, 200, s + 50)])[0, 1]) for s in range(20)]
    assert abs(np.mean(found)) < 0.01
    assert plain_cka([noise(50, 200), noise(50, 200, 50)])[0, 1] > 0.7


def test_distance_alone_is_a_mean_along_each_diagonal() -> None:
    matrix = np.array([[1, 0.8, 0.1], [0.8, 1, 0.6], [0.1, 0.6, 1]])
    wanted = [[1, 0.7, 0.1], [0.7, 1, 0.7], [0.1, 0.7, 1]]
    np.testing.assert_allclose(by_distance(matrix), wanted)


def test_a_walk_shows_blocks_that_distance_gives() -> None:
    """States that go on by steps of the same kind: bright along the diagonal, and nothing left."""
    rng = np.random.default_rng(0)
    walk = torch.from_numpy(rng.normal(size=(12, 200, 30)).cumsum(axis=0))
    found = debiased_cka(list(walk))
    late = found[4:, 4:]
    assert late.min() > 0.2
    rest = late - by_distance(late)
    pairs = np.triu_indices(len(late), 1)
    assert np.var(rest[pairs]) < 0.3 * np.var(late[pairs])


def test_of_a_sample_and_by_the_script(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny("llama")
    drawn = sample(model, TEXTS, n=60, skip_sinks=True)
    frame = cka(drawn, n=40)
    wanted = debiased_cka([drawn.states(layer)[:40] for layer in range(model.n_layers + 1)])
    np.testing.assert_allclose(frame["cka"], wanted.ravel())
    np.testing.assert_allclose(frame["rest"], frame["cka"] - frame["distance"])
    frame = cka(drawn)
    code = script(str(tiny_folder("llama")), None, "", model.blocks_path, similarity=TEXTS, n=60)
    said = output_of(code, tmp_path)
    assert f"{len(drawn)} states; distance alone gives {explained(frame):.4f}" in said
    cells = frame.set_index(["layer_a", "layer_b"])["cka"]
    assert f"   1: CKA with the layer before {cells[1, 0]:.4f}, the first" in said
    assert f"gives {explained(frame):.0%} of the variance" in words.cka_reading(frame)
    for row in selectivity(drawn).itertuples():
        numbers = f"within a word {row.within:.4f}, across words {row.across:.4f}"
        assert f"{row.layer:4d}: cosine {numbers}" in said
    groups = ("The and ", "was In cat")
    code = script(
        str(tiny_folder("llama")),
        None,
        "",
        model.blocks_path,
        similarity=TEXTS,
        n=60,
        groups=groups,
    )
    said = output_of(code, tmp_path)
    frame = selectivity(drawn, groups)
    assert frame["n_pairs"][0] > 4
    for row in frame.itertuples():
        numbers = f"within a group {row.within:.4f}, across groups {row.across:.4f}"
        assert f"{row.layer:4d}: cosine {numbers}" in said


def test_equal_states_have_none() -> None:
    found = debiased_cka([torch.ones(9, 4), noise(9, 4)])
    assert np.isnan(found[0]).all()
