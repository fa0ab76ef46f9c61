"""The measures that lessons ask for, against NumPy by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from strata.concepts import gaussian_baseline, hidden_states, laminar_profile, predictions
from tests.concepts.by_hand import trace, with_logits

OF_PREDICTIONS = predictions.CONCEPT.measures
OF_STATES = hidden_states.CONCEPT.measures
OF_PROFILE = laminar_profile.CONCEPT.measures
OF_BASELINE = gaussian_baseline.CONCEPT.measures


# -- predictions ------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "first_late"), [(6, 3), (7, 4)])
def test_late_share_is_of_the_second_half(tokens: int, first_late: int) -> None:
    run = trace(tokens=tokens)
    frame = predictions.surprisal(None, run)  # type: ignore[arg-type]
    logits = run.logits.double().numpy()
    chosen = run.token_ids.numpy()
    nats = [
        np.log(np.exp(logits[t - 1]).sum()) - logits[t - 1, chosen[t]] for t in range(1, tokens)
    ]
    share = sum(nats[first_late - 1 :]) / sum(nats)
    assert OF_PREDICTIONS["late_share"](frame) == pytest.approx(share)


def test_one_token_has_no_late_share() -> None:
    frame = predictions.surprisal(None, trace(tokens=1))  # type: ignore[arg-type]
    assert math.isnan(OF_PREDICTIONS["late_share"](frame))


def test_choices_are_equally_likely_tokens() -> None:
    logits = torch.full((1, 50), -1e4)
    logits[0, :7] = 3.0
    frame = predictions.entropy(with_logits(logits), 0)
    assert OF_PREDICTIONS["choices"](frame) == pytest.approx(7)


# -- hidden states ----------------------------------------------------------------------------


def test_measures_of_norms() -> None:
    run = trace(layers=5, tokens=4)
    frame = hidden_states.summary(run)
    norms = np.linalg.norm(run.hidden.double().numpy(), axis=-1)  # (L + 1, T)
    assert OF_STATES["n_states"](frame) == 5
    for position in range(4):
        by_layer = norms[:, position]
        assert OF_STATES["norm"](frame, layer=2, position=position) == pytest.approx(by_layer[2])
        grown = int(np.diff(by_layer).argmax()) + 1
        assert OF_STATES["growth_layer"](frame, position=position) == grown
        last = by_layer[-1] / by_layer[-2]
        assert OF_STATES["last_block_growth"](frame, position=position) == pytest.approx(last)


def test_top_share_is_of_the_state_where_the_dimension_reaches_furthest() -> None:
    run = trace()
    states = run.hidden.double().numpy()
    layer, position, dim = np.unravel_index(np.abs(states).argmax(), states.shape)
    share = states[layer, position, dim] ** 2 / (states[layer, position] ** 2).sum()
    frame = hidden_states.outliers(run, 3, skip_first=False)
    assert OF_STATES["top_share"](frame) == pytest.approx(share)
    assert OF_STATES["top_share"](hidden_states.outliers(trace(tokens=1), 3)) is None


def test_the_sink_after_the_final_norm() -> None:
    frame = pd.DataFrame({"position": range(4), "norm_after": [6.0, 1.0, 2.0, 9.0]})
    assert OF_STATES["normed_sink_ratio"](frame) == 3.0
    assert math.isnan(OF_STATES["normed_sink_ratio"](frame.iloc[:1]))


# -- laminar profile --------------------------------------------------------------------------


def cosines(states: np.ndarray) -> np.ndarray:
    unit = states / np.linalg.norm(states, axis=-1, keepdims=True)
    return np.asarray(unit @ unit.T)


def test_median_by_layer_leaves_the_final_norm_out() -> None:
    frame = pd.DataFrame(
        {"layer": [0, 1, 2, 2], "normed": [False] * 3 + [True], "median": [0.1, 0.5, 0.4, 0.9]}
    )
    assert OF_PROFILE["median_by_layer"](frame) == [0.1, 0.5, 0.4]


def test_the_reach_of_random_vectors() -> None:
    run, model = trace(d_model=40), SimpleNamespace(normed=lambda states: states)
    frame = laminar_profile.statistics(model, run)  # type: ignore[arg-type]
    drawn = np.random.default_rng(0).normal(size=(2, 200_000, 40))
    unit = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
    reach = np.quantile((unit[0] * unit[1]).sum(axis=-1), 0.975)
    assert OF_PROFILE["random_reach"](frame) == pytest.approx(reach, rel=0.02)


def test_measures_between_layers() -> None:
    run = trace(layers=6)
    frame = laminar_profile.between_layers(run, 2)
    matrix = cosines(run.hidden[:, 2].double().numpy())
    turned = int(np.diagonal(matrix, 1).argmin()) + 1
    assert OF_PROFILE["turning_layer"](frame) == turned
    assert OF_PROFILE["turning_layer"](frame) == OF_PROFILE["turning_block"](frame) + 1
    assert OF_PROFILE["kept_cosine"](frame) == pytest.approx(matrix[0, -1])


def test_share_below_counts_each_pair_once() -> None:
    run = trace(tokens=7)
    frame = laminar_profile.between_tokens(run, 1)
    pairs = cosines(run.hidden[1].double().numpy())[np.triu_indices(7, 1)]
    middle = float(np.quantile(pairs, 0.3))
    assert OF_PROFILE["share_below"](frame, cosine=middle) == pytest.approx((pairs < middle).mean())
    assert OF_PROFILE["share_below"](frame, cosine=1.1) == 1
    alone = laminar_profile.between_tokens(trace(tokens=1), 1)
    assert math.isnan(OF_PROFILE["share_below"](alone, cosine=0.5))


# -- Gaussian baseline ------------------------------------------------------------------------


def test_what_chance_gives_in_as_many_dimensions() -> None:
    frame = pd.DataFrame({"dims": [40], "effective_dimension": [10.0]})
    assert OF_BASELINE["effective_share"](frame) == 0.25
    noise = np.random.default_rng(0).normal(size=(2, 200_000, 40))
    unit = noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    drawn = (unit[0] * unit[1]).sum(axis=-1)
    share = OF_BASELINE["random_share"](frame, cosine=0.3)
    assert share == pytest.approx((drawn >= 0.3).mean(), rel=0.03)
    exact = stats.beta(19.5, 19.5).sf((1 + 0.3) / 2)
    assert share == pytest.approx(exact)
