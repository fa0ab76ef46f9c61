"""Laminar profile beside the notebook that it generalises: its numbers, but not its mistakes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts.laminar_profile import layer_matrices, points, statistics
from strata.concepts.laminar_profile.tables import evenly_spaced
from strata.model import Model
from tests.concepts.by_hand import trace
from tests.concepts.laminar_profile.test_laminar_profile import STATE, norm_model, with_states

# -- the seed's shortcut ----------------------------------------------------------------------


def test_the_shortcut_loses_the_minimum_and_invents_a_zero() -> None:
    """Four states in a plane: cosines 0.5, -0.5, -1, 0.5, -0.5, 0.5, known by hand."""
    angles = torch.tensor([0.0, 0, 60, 120, 180]).deg2rad()  # position 0 is left out
    run = with_states(torch.stack([angles.cos(), angles.sin()], dim=-1)[None])
    identity = norm_model(-1.0)
    right = statistics(identity, run).iloc[0]
    wrong = statistics(identity, run, unique=True).iloc[0]
    found = right["n_pairs"], right["minimum"], right["median"]
    assert found == pytest.approx((6, -1, 0), abs=1e-6)
    assert right["mean"] == pytest.approx(-1 / 12)
    assert wrong["minimum"] == pytest.approx(-0.5, abs=1e-6)
    assert wrong["mean"] != pytest.approx(-1 / 12, abs=0.05)
    drawn = points(identity, run, unique=True)
    drawn = drawn[~drawn["normed"]]
    invented, lost = (drawn[drawn["kind"] == kind].iloc[0] for kind in ("invented", "lost"))
    assert invented["cosine"] == 0
    assert invented["position_a"] == invented["position_b"]
    assert lost["cosine"] == pytest.approx(-1)
    assert (lost["position_a"], lost["position_b"]) == (1, 4)
    kept = drawn.loc[drawn["kind"] != "lost", "cosine"]
    assert kept.mean() == pytest.approx(wrong["mean"])


def test_the_shortcut_is_right_where_all_cosines_are_positive_and_differ() -> None:
    run, model = with_states(trace(layers=3, tokens=6).hidden + 5), norm_model(-1.0)
    right, wrong = (statistics(model, run, unique=unique) for unique in (False, True))
    pd.testing.assert_frame_equal(right, wrong, atol=1e-6)
    drawn = points(model, run, unique=True)
    assert (drawn["kind"] == "pair").all()
    assert len(drawn) == len(points(model, run))


def test_a_sample_keeps_what_the_shortcut_got_wrong() -> None:
    drawn = points(norm_model(), trace(layers=3, tokens=60, d_model=16), unique=True, n_max=200)
    kinds = drawn.groupby(STATE)["kind"].value_counts().unstack()
    assert (kinds[["invented", "lost"]] == 1).all(axis=None)
    assert (kinds.sum(axis=1) <= 50).all()


# -- the bundled model ------------------------------------------------------------------------


def test_the_bundled_model_against_the_seeds_own_code(model: Model) -> None:
    """The seed's loops, indexed rightly, on states of its own penguins."""
    run = model.capture("A wise man once said: Penguins are cute.")
    after = model.normed(run.hidden[-1]).double()
    states = [*run.hidden.double(), after]
    matrices = layer_matrices(model, run, tuple(evenly_spaced(11)))
    for position in np.linspace(0, 10, 4, dtype=int):
        token = torch.stack([state[position] for state in states])
        expected = torch.nn.functional.cosine_similarity(token[None], token[:, None], dim=-1)
        rows = matrices[matrices["position"] == position]
        np.testing.assert_allclose(
            rows["cosine"], expected[rows["layer_a"].array, rows["layer_b"].array], atol=1e-9
        )
    numbers = statistics(model, run)
    for row, state in zip(numbers.itertuples(), states, strict=True):
        kept = state[1:]
        cosine = torch.nn.functional.cosine_similarity(kept[None], kept[:, None], dim=-1)
        upper = cosine[*torch.triu_indices(10, 10, 1)].numpy()
        assert row.n_pairs == 45
        assert (row.minimum, row.median) == pytest.approx((upper.min(), np.median(upper)))


def test_a_sink_rules_the_mean_unless_it_is_left_out(model: Model) -> None:
    """Position 0 of size 24,000 makes all others nearly parallel once centred with it."""
    run = model.capture(". The Space Needle is located in")
    kept, skipped = (
        statistics(model, run, skip_first=first, center=True).set_index(STATE)
        for first in (False, True)
    )
    assert kept.loc[(12, False), "median"] > 0.95
    assert kept.loc[(12, False), "minimum"] < -0.95
    assert skipped.loc[(12, False), "median"] < 0
