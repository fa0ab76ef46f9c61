"""The Gaussian baseline, against NumPy and SciPy on noise of known make, and on real states."""

from __future__ import annotations

import io
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cdist

from strata.concepts import gaussian_baseline as baseline
from strata.concepts.gaussian_baseline import (
    effective_dimension,
    gaussian_cosines,
    pair_cosines,
    participation_ratio,
)
from strata.concepts.gaussian_baseline.density import ks_distance
from strata.corpus import Sample
from strata.errors import InputError
from strata.trace import ModelCheck
from tests.concepts.by_hand import HOSTILE

Floats = NDArray[np.float32]


def noise(n: int, d_model: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, d_model)).astype(np.float32)


def sample_of(*states: Floats, n_texts: int = 5) -> Sample:
    """A sample of hostile tokens with these states as layers; the writes are the differences."""
    stream = torch.tensor(np.stack(states))
    n = stream.shape[1]
    length = -(-n // n_texts)
    rng = np.random.default_rng(0)
    places = rng.permutation(n_texts * length)[:n]
    tokens = {
        i: tuple(HOSTILE[(i + t) % len(HOSTILE)] for t in range(length)) for i in range(n_texts)
    }
    return Sample(
        texts=("hostile",) * n_texts,
        tokens=tokens,
        text=places // length,
        position=places % length,
        stream=stream,
        writes=torch.stack([stream[1:], stream.diff(dim=0)]) if len(stream) > 1 else None,
        refusal="" if len(stream) > 1 else "no writes",
        n_asked=n,
        n_available=n,
        sinks_of={},
        checks=(ModelCheck(0.0, 0.0),),
    )


# -- the contract -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 7, 40])
@pytest.mark.parametrize("center", [False, True])
def test_pair_cosines_against_scipy(n: int, center: bool) -> None:
    states = noise(n, 12) + 3
    expected = states.astype(float) - (states.astype(float).mean(axis=0) if center else 0)
    half = n // 2
    cosines = pair_cosines(states, center=center)
    assert cosines.shape == (half, n - half)
    np.testing.assert_allclose(
        cosines, 1 - cdist(expected[:half], expected[half:], "cosine"), atol=2e-6
    )
    np.testing.assert_array_equal(cosines, pair_cosines(torch.tensor(states), center=center))


def test_drop_top_leaves_out_the_largest_variances() -> None:
    states = noise(50, 6) * np.array([1, 9, 1, 5, 7, 1])
    kept = states[:, [0, 2, 3, 5]].astype(float)
    expected = 1 - cdist(kept[:25], kept[25:], "cosine")
    np.testing.assert_allclose(pair_cosines(states, drop_top=2), expected, atol=2e-6)


def test_centring_is_over_samples_not_features() -> None:
    states = noise(60, 8) + np.arange(8)
    assert pair_cosines(states).mean() > 0.5
    assert abs(pair_cosines(states, center=True).mean()) < 0.05


def test_a_zero_state_has_no_cosine() -> None:
    states = noise(6, 4)
    states[1] = 0
    cosines = pair_cosines(states)
    assert np.isnan(cosines[1]).all()
    assert np.isfinite(cosines[[0, 2]]).all()


@pytest.mark.parametrize("states", [noise(1, 4), noise(4, 4)[0], noise(8, 4).reshape(2, 4, 4)])
def test_states_are_a_matrix_of_two_or_more(states: Floats) -> None:
    with pytest.raises(InputError, match="at least two states"):
        pair_cosines(states)


@pytest.mark.parametrize("drop_top", [-1, 4])
def test_some_dimension_is_left(drop_top: int) -> None:
    with pytest.raises(InputError, match="0 to 3 can be dropped"):
        pair_cosines(noise(8, 4), drop_top=drop_top)


def test_states_stay_as_they_were() -> None:
    states = torch.tensor(noise(8, 4))
    before = states.clone()
    pair_cosines(states, center=True, drop_top=1)
    participation_ratio(states)
    torch.testing.assert_close(states, before, rtol=0, atol=0)


@pytest.mark.parametrize("d", [32, 256, 1600])
def test_isotropic_noise_has_its_own_dimension(d: int) -> None:
    states = noise(2_000, d)
    assert effective_dimension(pair_cosines(states)) == pytest.approx(d, rel=0.03)
    assert effective_dimension(gaussian_cosines(2_000, d, d, seed=1)) == pytest.approx(d, rel=0.03)
    finite = 1 / (1 / d + 1 / 2_000)
    assert participation_ratio(states) == pytest.approx(finite, rel=0.01)
    assert participation_ratio(states) < 0.99 * d


@pytest.mark.parametrize("n_dims", [1, 2, 20])
def test_gaussian_cosines_use_the_leading_dimensions(n_dims: int) -> None:
    cosines = gaussian_cosines(1_001, 64, n_dims, seed=0)
    assert cosines.shape == (500, 501)
    assert effective_dimension(cosines) == pytest.approx(n_dims, rel=0.03)
    np.testing.assert_array_equal(cosines, gaussian_cosines(1_001, 64, n_dims, seed=0))
    assert (cosines != gaussian_cosines(1_001, 64, n_dims, seed=1)).any()
    if n_dims == 1:
        assert set(np.unique(cosines)) == {-1, 1}


def test_fewer_dimensions_of_the_same_noise() -> None:
    """As the seed's slider does: the vectors stay, their later coordinates become zero."""
    vectors = torch.randn(40, 16, generator=torch.Generator().manual_seed(5))
    expected = pair_cosines(vectors[:, :3])
    np.testing.assert_allclose(gaussian_cosines(40, 16, 3, seed=5), expected, atol=1e-6)


@pytest.mark.parametrize("n_dims", [0, 65, -1])
def test_dimensions_out_of_range(n_dims: int) -> None:
    with pytest.raises(InputError, match="from 1 to 64"):
        gaussian_cosines(10, 64, n_dims, seed=0)


def test_effective_dimension_is_one_over_the_variance() -> None:
    cosines = np.array([[-0.5, 0.5], [0.1, 0.2]])
    assert effective_dimension(cosines) == pytest.approx(1 / np.var(cosines))
    assert effective_dimension(np.ones((3, 3))) == math.inf


@pytest.mark.parametrize("shape", [(300, 20), (20, 300)])
@pytest.mark.parametrize("center", [True, False])
def test_participation_ratio_against_eigenvalues(shape: tuple[int, int], center: bool) -> None:
    states = noise(*shape) * np.linspace(0.1, 4, shape[1]) + 2
    x = states.astype(float) - (states.mean(axis=0, dtype=float) if center else 0)
    eigenvalues = np.linalg.eigvalsh(x.T @ x)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
    assert participation_ratio(states, center=center) == pytest.approx(expected, rel=1e-6)


def test_participation_ratio_of_equal_states() -> None:
    assert math.isnan(participation_ratio(np.ones((4, 3))))
    assert participation_ratio(np.ones((4, 3)), center=False) == pytest.approx(1)


@pytest.mark.parametrize("size", [0.5, 1.0, 3.0])
def test_an_offset_raises_the_mean_cosine_as_predicted(size: float) -> None:
    """Noise of variance 1 in D dimensions has squared norm D; an offset of squared norm
    size^2 D is all that two states share."""
    states = noise(2_000, 400) + size
    assert pair_cosines(states).mean() == pytest.approx(size**2 / (1 + size**2), rel=0.01)
    centred = pair_cosines(states, center=True)
    assert abs(centred.mean()) < 0.002
    assert effective_dimension(centred) == pytest.approx(400, rel=0.03)


# -- one layer and part -----------------------------------------------------------------------


def brute_pairs(sample: Sample, layer: int, pairs: str) -> NDArray[np.float64]:
    """The cosines of the pairs asked for, one by one."""
    states = sample.stream[layer].double().numpy()
    half = len(states) // 2
    chosen = []
    for a, b in itertools.product(range(half), range(half, len(states))):
        same = sample.text[a] == sample.text[b]
        if pairs == "all" or (pairs == "within") == same:
            norms = np.linalg.norm(states[a]) * np.linalg.norm(states[b])
            chosen.append(states[a] @ states[b] / norms)
    return np.sort(chosen)


@pytest.mark.parametrize("pairs", ["all", "within", "between"])
def test_tables_of_pairs_against_brute_force(pairs: Any) -> None:
    sample = sample_of(noise(31, 9), noise(31, 9, seed=1) + 0.4)
    cosines = brute_pairs(sample, 1, pairs)
    bins = baseline.histogram(sample, 1, pairs=pairs)
    assert list(bins) == ["left", "right", "count", "density"]
    assert (len(bins), bins["left"].iloc[0], bins["right"].iloc[-1]) == (200, -1, 1)
    count, _ = np.histogram(cosines, np.linspace(-1, 1, 201))
    assert bins["count"].sum() == len(cosines)
    assert np.abs(bins["count"] - count).sum() <= 2  # one beside an edge may round to either side
    assert (bins["density"] * 0.01).sum() == pytest.approx(1)

    [row] = baseline.summary(sample, 1, pairs=pairs).itertuples()
    assert (row.n_pairs, row.dims) == (len(cosines), 9)
    assert row.mean == pytest.approx(cosines.mean(), abs=1e-6)
    assert row.spread == pytest.approx(cosines.std(), abs=1e-6)
    assert row.mean_square == pytest.approx((cosines**2).mean(), abs=1e-6)
    assert row.effective_dimension == pytest.approx(1 / cosines.var(), rel=1e-5)
    exact = stats.kstest(cosines, stats.beta(4, 4, loc=-1, scale=2).cdf).statistic
    assert exact - row.ks_error <= row.ks_full <= exact + 1e-5
    assert row.ks_best <= row.ks_full
    assert row.participation_ratio == participation_ratio(sample.stream[1], center=False)

    order = baseline.quantiles(sample, 1, pairs=pairs)
    assert len(order) == min(1_001, len(cosines))
    np.testing.assert_allclose(order["cosine"], cosines, atol=1e-6)
    assert (order["quantile"].iloc[0], order["quantile"].iloc[-1]) == (0, 1)


def test_within_and_between_make_all() -> None:
    sample = sample_of(noise(60, 9))
    counts = [
        baseline.histogram(sample, 0, pairs=pairs)["count"] for pairs in ("within", "between")
    ]
    assert (counts[0] + counts[1] == baseline.histogram(sample, 0)["count"]).all()
    alone = sample_of(noise(60, 9), n_texts=1)
    assert baseline.summary(alone, 0, pairs="within")["n_pairs"][0] == 900
    with pytest.raises(InputError, match="sample more"):
        baseline.summary(alone, 0, pairs="between")


def test_zoom_goes_from_the_smallest_to_the_largest() -> None:
    sample = sample_of(noise(100, 300) + 1)
    cosines = pair_cosines(sample.states(0))
    bins = baseline.histogram(sample, 0, zoom=True)
    assert (bins["left"].iloc[0], bins["right"].iloc[-1]) == (cosines.min(), cosines.max())
    assert bins["count"].sum() == cosines.size
    assert (bins["density"] * (bins["right"] - bins["left"])).sum() == pytest.approx(1)
    same = sample_of(np.ones((8, 3), dtype=np.float32))
    assert baseline.histogram(same, 0, zoom=True)["count"].sum() == 16


def test_pairs_without_a_cosine_are_left_out() -> None:
    states = noise(40, 9)
    states[3] = 0
    sample = sample_of(states)
    assert baseline.summary(sample, 0)["n_pairs"][0] == 19 * 20
    assert baseline.quantiles(sample, 0)["cosine"].notna().all()
    assert baseline.glance(sample)["n_pairs"].tolist() == [19 * 20]
    for view in (baseline.summary, baseline.histogram, baseline.quantiles, baseline.decomposition):
        with pytest.raises(InputError, match="sample more"):
            view(sample_of(np.zeros((8, 3), dtype=np.float32)), 0)


def test_quantiles_name_the_pairs_with_their_contexts() -> None:
    sample = sample_of(noise(200, 30), n_texts=8)
    order = baseline.quantiles(sample, 0)
    assert len(order) == 1_001
    states = {
        (text, position): state
        for text, position, state in zip(
            sample.text, sample.position, sample.stream[0], strict=True
        )
    }
    for row in order.iloc[::50].itertuples():
        a, b = states[row.text_a, row.position_a], states[row.text_b, row.position_b]
        assert torch.cosine_similarity(a, b, dim=0).item() == pytest.approx(row.cosine, abs=1e-5)
    for row in order.itertuples():
        tokens, at = sample.tokens[row.text_a], row.position_a
        assert row.token_a == tokens[at]
        assert row.before_a == "".join(tokens[max(0, at - 10) : at])
        assert pd.isna(row.next_a) if at + 1 == len(tokens) else row.next_a == tokens[at + 1]
    assert order["next_a"].isna().any()


def test_distances_from_quantiles_are_those_of_the_summary() -> None:
    sample = sample_of(noise(300, 40))
    order, [row] = baseline.quantiles(sample, 0), baseline.summary(sample, 0).itertuples()
    assert ks_distance(order["cosine"], order["rank"], 40) == pytest.approx(row.ks_full, abs=1e-12)
    best = ks_distance(order["cosine"], order["rank"], row.best_dimension)
    assert best == pytest.approx(row.ks_best, abs=1e-12)


def test_dimensions_against_scipy() -> None:
    states = (noise(500, 7) ** 3 * 2 + 1).astype(np.float32)
    frame = baseline.dimensions(sample_of(states), 0)
    assert list(frame) == ["dim", "mean", "variance", "share", "kurtosis"]
    x = states.astype(float)
    np.testing.assert_allclose(frame["mean"], x.mean(axis=0))
    np.testing.assert_allclose(frame["variance"], x.var(axis=0, ddof=1))
    np.testing.assert_allclose(frame["share"], x.var(axis=0) / x.var(axis=0).sum())
    np.testing.assert_allclose(frame["kurtosis"], stats.kurtosis(x))
    states[:, 2] = 5
    assert math.isnan(baseline.dimensions(sample_of(states), 0)["kurtosis"][2])


def test_normality_against_scipy() -> None:
    states = noise(300, 4) * 7 + 2
    sample = sample_of(states)
    frame = baseline.normality(sample, 0, dim=2)
    x = np.sort(states[:, 2].astype(float))
    assert len(frame) == 300
    np.testing.assert_allclose(frame["observed"], (x - x.mean()) / x.std(), rtol=1e-6)
    np.testing.assert_allclose(
        frame["expected"], stats.norm.ppf((np.arange(300) + 0.5) / 300), rtol=1e-9
    )
    for row in frame.itertuples():
        assert row.token == sample.tokens[row.text][row.position]
    assert np.corrcoef(frame["expected"], frame["observed"])[0, 1] > 0.99
    assert len(baseline.normality(sample_of(noise(2_000, 3)), 0, dim=0)) == 401


def test_normality_refuses_what_has_no_quantiles() -> None:
    states = noise(20, 4)
    states[:, 1] = 3
    with pytest.raises(InputError, match="0 to 3"):
        baseline.normality(sample_of(states), 0, dim=4)
    with pytest.raises(InputError, match="same in all"):
        baseline.normality(sample_of(states), 0, dim=1)


def test_archive_holds_the_states() -> None:
    sample = sample_of(noise(20, 4), noise(20, 4, seed=1))
    content = baseline.archive(sample, 1, "mlp")["content"][0]
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["states"], sample.states(1, "mlp"))
        np.testing.assert_array_equal(arrays["text"], sample.text)
        np.testing.assert_array_equal(arrays["position"], sample.position)
