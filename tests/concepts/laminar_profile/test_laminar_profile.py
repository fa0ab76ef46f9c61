"""Laminar profile, against torch's own cosine on hand-built traces."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.laminar_profile import (
    CONCEPT,
    between_layers,
    between_tokens,
    layer_matrices,
    pair,
    points,
    profile,
    statistics,
    token_matrices,
)
from strata.concepts.laminar_profile.cosines import random_band
from strata.concepts.laminar_profile.measures import steps
from strata.concepts.laminar_profile.tables import evenly_spaced, most_alike
from strata.errors import InputError
from strata.trace import Trace
from tests.concepts.by_hand import trace

STATE = ["layer", "normed"]


def with_states(hidden: torch.Tensor) -> Trace:
    """A trace whose states (L + 1, T, D) are given."""
    run = trace(layers=len(hidden), tokens=hidden.shape[1], d_model=hidden.shape[2])
    return replace(run, hidden=hidden)


def norm_model(weight: float = 1.0) -> Any:
    """Stands in for a model where only the final norm is asked for: it flips dimension 0."""

    def normed(hidden: torch.Tensor) -> torch.Tensor:
        flip = torch.ones(hidden.shape[-1])
        flip[0] = -weight
        return hidden * flip

    return SimpleNamespace(normed=normed)


def all_states(run: Trace, model: Any) -> torch.Tensor:
    """(L + 2, T, D): before the final norm, then after it."""
    return torch.cat([run.hidden, model.normed(run.hidden[-1])[None]]).double()


def every_cosine(states: torch.Tensor) -> torch.Tensor:
    """(..., n, D) -> (..., n, n), by torch."""
    return torch.cosine_similarity(states[..., :, None, :], states[..., None, :, :], dim=-1, eps=0)


def less_mean(states: torch.Tensor, center: bool) -> torch.Tensor:
    return states - states.mean(dim=-2, keepdim=True) if center else states


CENTER = pytest.mark.parametrize("center", [False, True])


# -- the contract -----------------------------------------------------------------------------


@CENTER
def test_between_layers_against_torch(center: bool) -> None:
    run = trace(layers=5, tokens=4, d_model=16)
    frame = between_layers(run, 2, center=center)
    assert list(frame) == ["layer_a", "layer_b", "cosine"]
    assert len(frame) == 25
    states = less_mean(run.hidden.double(), center)[:, 2]
    expected = every_cosine(states)
    np.testing.assert_allclose(
        frame["cosine"], expected[frame["layer_a"], frame["layer_b"]], atol=1e-12
    )
    assert not frame.duplicated(["layer_a", "layer_b"]).any()


@CENTER
def test_between_tokens_against_torch(center: bool) -> None:
    run = trace(layers=3, tokens=7, d_model=16)
    frame = between_tokens(run, 1, center=center)
    assert list(frame) == ["position_a", "position_b", "token_a", "token_b", "cosine"]
    assert len(frame) == 49
    expected = every_cosine(less_mean(run.hidden[1].double(), center))
    at = frame["position_a"], frame["position_b"]
    np.testing.assert_allclose(frame["cosine"], expected[at], atol=1e-12)
    assert frame["token_a"].tolist() == [run.tokens[p] for p in at[0]]
    assert frame["token_b"].tolist() == [run.tokens[p] for p in at[1]]
    assert not frame.duplicated(["position_a", "position_b"]).any()


@CENTER
@pytest.mark.parametrize("skip_first", [False, True])
def test_profile_against_torch(skip_first: bool, center: bool) -> None:
    run = trace(layers=3, tokens=6, d_model=16)
    frame = profile(run, skip_first=skip_first, center=center)
    assert list(frame) == ["layer", "position_a", "position_b", "cosine"]
    first = int(skip_first)
    n_kept = 6 - first
    assert len(frame) == 3 * n_kept * (n_kept - 1) // 2
    assert (frame["position_a"] < frame["position_b"]).all()
    assert frame["position_a"].min() == first
    assert not frame.duplicated(["layer", "position_a", "position_b"]).any()
    expected = every_cosine(less_mean(run.hidden[:, first:].double(), center))
    at = frame["layer"], frame["position_a"] - first, frame["position_b"] - first
    np.testing.assert_allclose(frame["cosine"], expected[at], atol=1e-12)


def test_a_common_offset_raises_the_mean_cosine_and_centring_removes_it() -> None:
    """With an offset of length |m| in a cloud of variance D, cosines are near m^2 / (m^2 + D)."""
    generator = torch.Generator().manual_seed(0)
    cloud = torch.randn(1, 200, 256, generator=generator)
    offset = torch.full((256,), 1.5)
    run = with_states(cloud + offset)
    assert profile(with_states(cloud))["cosine"].mean() == pytest.approx(0, abs=0.005)
    assert profile(run)["cosine"].mean() == pytest.approx(1.5**2 / (1.5**2 + 1), abs=0.01)
    centred = profile(run, center=True)["cosine"]
    assert centred.mean() == pytest.approx(-1 / 198, abs=0.001)


def test_the_default_leaves_the_first_token_out() -> None:
    hidden = trace(layers=2, tokens=4, d_model=8).hidden.clone()
    hidden[:, 0] = 0
    assert profile(with_states(hidden))["cosine"].notna().all()
    assert profile(with_states(hidden), skip_first=False)["cosine"].isna().sum() == 2 * 3


def test_a_zero_state_has_no_direction() -> None:
    hidden = trace(layers=3, tokens=3, d_model=8).hidden.clone()
    hidden[1, 2] = 0
    by_layer = between_layers(with_states(hidden), 2)
    assert by_layer["cosine"].isna().sum() == 5
    assert between_tokens(with_states(hidden), 1)["cosine"].isna().sum() == 5
    assert between_tokens(with_states(hidden), 0)["cosine"].notna().all()


def test_one_token() -> None:
    run = trace(layers=3, tokens=1)
    for skip_first in (True, False):
        frame = profile(run, skip_first=skip_first)
        assert frame.empty
        assert list(frame) == ["layer", "position_a", "position_b", "cosine"]
        assert statistics(norm_model(), run, skip_first=skip_first).empty
        assert points(norm_model(), run, skip_first=skip_first).empty
    assert list(statistics(norm_model(), run)) == list(statistics(norm_model(), trace()))
    assert list(points(norm_model(), run)) == list(points(norm_model(), trace()))
    assert profile(trace(tokens=2)).empty
    assert between_tokens(run, 0)["cosine"].tolist() == pytest.approx([1])
    assert between_layers(run, 0, center=True)["cosine"].isna().all()


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_out_of_range_names_the_range(layer: int) -> None:
    with pytest.raises(InputError, match="0 to 3"):
        between_tokens(trace(layers=4), layer)
    with pytest.raises(InputError, match="whole number"):
        between_tokens(trace(layers=4), 1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("position", [-1, 6])
def test_a_position_out_of_range_names_the_range(position: int) -> None:
    with pytest.raises(InputError, match="0 to 5"):
        between_layers(trace(tokens=6), position)
    with pytest.raises(InputError, match="0 to 5"):
        layer_matrices(norm_model(), trace(tokens=6), (0, position))
    with pytest.raises(InputError, match="0 to 5"):
        pair(norm_model(), trace(tokens=6), 1, position)


# -- what the page draws ----------------------------------------------------------------------


def test_evenly_spaced_as_in_the_seed() -> None:
    for n in (4, 5, 11, 31, 256):
        assert evenly_spaced(n) == np.linspace(0, n - 1, 4, dtype=int).tolist()
    assert evenly_spaced(2) == [0, 1]
    assert evenly_spaced(1) == [0]


@CENTER
def test_layer_matrices_add_the_final_norm(center: bool) -> None:
    run, model = trace(layers=4, tokens=5), norm_model(3.0)
    frame = layer_matrices(model, run, (0, 3), center=center)
    assert list(frame) == ["position", "layer_a", "layer_b", "cosine"]
    assert len(frame) == 2 * 25
    expected = every_cosine(less_mean(all_states(run, model), center).transpose(0, 1))
    at = frame["position"], frame["layer_a"], frame["layer_b"]
    np.testing.assert_allclose(frame["cosine"], expected[at], atol=1e-12)
    inner = frame[(frame["position"] == 3) & (frame[["layer_a", "layer_b"]] < 4).all(axis=1)]
    pd.testing.assert_frame_equal(
        inner.iloc[:, 1:].reset_index(drop=True), between_layers(run, 3, center=center)
    )


@CENTER
def test_token_matrices_add_the_final_norm(center: bool) -> None:
    run, model = trace(layers=4, tokens=5), norm_model(3.0)
    frame = token_matrices(model, run, (1, 4), center=center)
    assert list(frame) == ["layer", "position_a", "position_b", "cosine"]
    expected = every_cosine(less_mean(all_states(run, model), center))
    at = frame["layer"], frame["position_a"], frame["position_b"]
    np.testing.assert_allclose(frame["cosine"], expected[at], atol=1e-12)
    assert len(frame) == 2 * 25


def test_token_matrices_thin_a_long_prompt_evenly() -> None:
    run = trace(layers=2, tokens=30)
    frame = token_matrices(norm_model(), run, (0, 1), center=True, n_max=200)
    assert frame["position_a"].unique().tolist() == [0, 3, 6, 9, 12, 16, 19, 22, 25, 29]
    assert len(frame) == 200
    everything = between_tokens(run, 1, center=True).set_index(["position_a", "position_b"])
    drawn = frame[frame["layer"] == 1].set_index(["position_a", "position_b"])["cosine"]
    np.testing.assert_allclose(drawn, everything.loc[drawn.index, "cosine"], atol=1e-12)


def test_at_most_eight_matrices_and_about_20_000_rows() -> None:
    for view in (layer_matrices, token_matrices):
        for n in (0, 9):
            with pytest.raises(InputError, match="from 1 to 8"):
                view(norm_model(), trace(layers=10, tokens=10), tuple(range(n)))
    deep = trace(layers=100, tokens=4, d_model=4)
    with pytest.raises(InputError, match="from 1 to 2"):
        layer_matrices(norm_model(), deep, (0, 1, 2))
    assert len(layer_matrices(norm_model(), deep, (0, 1))) == 2 * 101**2


@CENTER
@pytest.mark.parametrize("skip_first", [False, True])
def test_statistics_against_numpy(skip_first: bool, center: bool) -> None:
    run, model = trace(layers=4, tokens=8, d_model=32), norm_model(3.0)
    frame = statistics(model, run, skip_first=skip_first, center=center)
    assert frame["layer"].tolist() == [0, 1, 2, 3, 3]
    assert frame["normed"].tolist() == [False] * 4 + [True]
    n_kept = 8 - skip_first
    assert (frame["n_pairs"] == n_kept * (n_kept - 1) // 2).all()
    states = less_mean(all_states(run, model)[:, int(skip_first) :], center)
    for row, matrix in zip(frame.itertuples(), every_cosine(states).numpy(), strict=True):
        cosine = matrix[np.triu_indices(n_kept, 1)]
        assert (row.minimum, row.maximum) == pytest.approx((cosine.min(), cosine.max()))
        assert row.median == pytest.approx(np.median(cosine))
        assert row.mean == pytest.approx(cosine.mean())
        assert (row.q25, row.q75) == pytest.approx(tuple(np.percentile(cosine, [25, 75])))
    band = random_band(32, n_kept if center else None)
    assert (frame[["random_low", "random_high"]] == band).all(axis=None)


def test_statistics_leave_undefined_cosines_out() -> None:
    """Equal states are zero once centred: no direction at that layer, the others untouched."""
    hidden = trace(layers=3, tokens=5, d_model=8).hidden.clone()
    hidden[1] = hidden[1, :1]
    frame = statistics(norm_model(), with_states(hidden), center=True)
    assert frame["n_pairs"].tolist() == [6, 0, 6, 6]
    assert frame["median"].isna().tolist() == [False, True, False, False]
    drawn = points(norm_model(), with_states(hidden), center=True)
    assert drawn.groupby(STATE).size().tolist() == [6, 6, 6]


def test_points_are_all_pairs_where_they_fit() -> None:
    run, model = trace(layers=4, tokens=6), norm_model()
    frame = points(model, run, center=True)
    assert list(frame)[:5] == [*STATE, "position_a", "position_b", "cosine"]
    assert list(frame)[5:] == ["jitter", "kind"]
    raw = frame[~frame["normed"]]
    pd.testing.assert_frame_equal(
        raw[["layer", "position_a", "position_b", "cosine"]], profile(run, center=True)
    )
    assert (frame["kind"] == "pair").all()
    assert len(frame) == 5 * 10


def test_points_of_a_long_prompt_are_a_seeded_sample_with_the_extremes() -> None:
    run, model = trace(layers=4, tokens=60), norm_model()
    frame, again, other = (points(model, run, n_max=500, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(frame, again)
    pairs = ["position_a", "position_b"]
    assert set(map(tuple, frame[pairs].values)) != set(map(tuple, other[pairs].values))
    sizes = frame.groupby(STATE).size()
    assert sizes.between(96, 100).all()
    numbers = statistics(model, run)
    for extreme in ("min", "max"):
        drawn = frame.groupby(STATE)["cosine"].agg(extreme).to_numpy()
        np.testing.assert_array_equal(drawn, numbers[f"{extreme}imum"])
    everywhere = frame.groupby(pairs)["layer"].count() == 5
    assert everywhere.sum() >= 96  # the sample is of pairs, and follows them through all layers
    assert (frame.groupby(pairs)["jitter"].nunique() == 1).all()
    with pytest.raises(InputError, match="at least 20"):
        points(model, run, n_max=19)


@CENTER
def test_pair_is_that_pair_of_the_profile(center: bool) -> None:
    run, model = trace(layers=4, tokens=6), norm_model(3.0)
    frame = pair(model, run, 2, 5, center=center)
    assert list(frame) == [*STATE, "cosine"]
    everything = points(model, run, center=center)
    here = everything[(everything["position_a"] == 2) & (everything["position_b"] == 5)]
    np.testing.assert_allclose(frame["cosine"], here["cosine"], atol=1e-12)
    assert frame[STATE].to_numpy().tolist() == here[STATE].to_numpy().tolist()
    with pytest.raises(InputError, match="Position 0 is left out"):
        pair(model, run, 0, 5)
    assert len(pair(model, run, 0, 5, skip_first=False)) == 5


# -- helpers and measures ---------------------------------------------------------------------


def test_steps_are_each_layer_beside_the_one_before() -> None:
    frame = between_layers(trace(layers=4), 2)
    matrix = frame.pivot(index="layer_a", columns="layer_b", values="cosine").to_numpy()
    found = steps(frame)
    assert found["layer"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found["cosine"], np.diag(matrix, 1))


def test_most_alike_is_sorted_and_without_the_diagonal() -> None:
    frame = between_tokens(trace(tokens=6), 1)
    found = most_alike(frame, n=4)
    assert list(found) == ["position_a", "position_b", "cosine"]
    off = frame[frame["position_a"] < frame["position_b"]]["cosine"]
    assert found["cosine"].tolist() == sorted(off, reverse=True)[:4]


def test_measures() -> None:
    measures = CONCEPT.measures
    rows = [(0, False, 0.1), (1, False, 0.9), (2, False, -0.5), (2, True, 0.95)]
    frame = pd.DataFrame(rows, columns=[*STATE, "median"])
    assert measures["most_alike_layer"](frame) == 1
    assert measures["least_alike_layer"](frame) == 2
    assert measures["median_cosine"](frame, layer=2) == -0.5
    run = trace(layers=4, tokens=5)
    by_layer = between_layers(run, 3)
    turned = [
        by_layer[(by_layer["layer_a"] == b) & (by_layer["layer_b"] == b + 1)]["cosine"].item()
        for b in range(3)
    ]
    assert measures["turning_block"](by_layer) == int(np.argmin(turned))
    by_token = between_tokens(run, 2)
    row = by_token[by_token["position_a"] == 1].set_index("position_b")["cosine"].drop(1)
    assert measures["most_alike_position"](by_token, position=1) == row.idxmax()
