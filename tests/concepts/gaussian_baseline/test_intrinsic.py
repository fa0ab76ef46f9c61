"""The intrinsic dimension, against scikit-dimension, SciPy and data of known dimension."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from skdim.id import GRIDE, TwoNN

from strata.concepts.gaussian_baseline import known_dimension, participation_ratio, words
from strata.concepts.gaussian_baseline.near import (
    NULLS,
    different,
    estimates,
    gride,
    intrinsic,
    intrinsic_null,
    nearest_distances,
    two_nn,
)
from strata.concepts.gaussian_baseline.script import script
from strata.corpus import sample
from strata.errors import InputError
from strata.model import Model
from tests.concepts.gaussian_baseline.test_gaussian_baseline import noise, sample_of
from tests.scripts import output_of

TEXTS = (
    "The cat sat on the mat, and the dog ran after the cat until the sun went down.",
    "The river is wide where the stones are round and the water is slow.",
    "She said that the answer was in the drawer, and then she read the answer.",
)


def sheet(n: int = 800, width: int = 40) -> np.ndarray:
    """Points evenly on a bent sheet of two dimensions."""
    u, v = np.random.default_rng(1).random((2, n))
    bent = np.stack([np.cos(3 * u), np.sin(3 * u), v], axis=1)
    turned = np.linalg.qr(np.random.default_rng(2).normal(size=(width, width)))[0]
    return 100 * bent @ turned[:3] + 1_000


def test_distances_are_those_of_a_tree() -> None:
    states = sheet()
    wanted, _ = cKDTree(states).query(states, 9)
    np.testing.assert_allclose(nearest_distances(states), wanted[:, 1:], rtol=1e-9)


@pytest.mark.parametrize("d", [2, 5, 10])
def test_against_scikit_dimension(d: int) -> None:
    states = np.pad(np.random.default_rng(0).normal(size=(600, d)), ((0, 0), (0, 30 - d)))
    found = estimates(states)
    x = different(states)
    assert found["twonn"] == pytest.approx(TwoNN().fit(x).dimension_, rel=1e-9)
    for k in (2, 4, 8):  # which leaves out outliers: there are none
        assert found[f"at_{k}"] == pytest.approx(GRIDE(n1=k // 2).fit(x).dimension_, rel=1e-6)
    assert found["twonn"] == pytest.approx(d, rel=0.12)


def test_a_bent_sheet_has_two_dimensions_and_spreads_over_more() -> None:
    found = estimates(sheet())
    assert found["twonn"] == pytest.approx(2, rel=0.1)
    assert found["at_8"] == pytest.approx(2, rel=0.1)
    assert participation_ratio(sheet()) == pytest.approx(found["participation_ratio"], rel=1e-6)
    assert found["participation_ratio"] > 1.4


@pytest.mark.parametrize("factor", [-3.0, 0.01, 1e4])
def test_a_factor_and_an_offset_change_nothing(factor: float) -> None:
    states = noise(200, 12)
    one, other = estimates(states), estimates((factor * (states + 0.5)).astype(np.float32))
    for name, value in one.items():
        assert other[name] == pytest.approx(value, rel=2e-3), name


def test_equal_states_are_left_out_and_counted() -> None:
    states = noise(300, 30)
    repeated = np.concatenate([states, states[:100], states[:50]])
    found = estimates(repeated)
    assert (found["n_states"], found["n_equal"]) == (300, 150)
    alone = estimates(states)
    assert found == alone | {"n_equal": 150}
    np.testing.assert_array_equal(different(repeated), states.astype(float))
    assert len(different(np.array([[0.0, 1.0], [-0.0, 1.0]]))) == 1


def test_too_few_states_have_no_dimension() -> None:
    found = estimates(np.repeat(noise(19, 5), 9, axis=0))
    assert found["n_states"] == 19
    assert math.isnan(found["twonn"])
    assert math.isnan(gride(np.ones((30, 8)), 2)), "ties alone"


def test_first_tokens_stand_apart() -> None:
    states = noise(200, 24)
    drawn = sample_of(states, -2 * states)
    first = drawn.position == 0
    assert 0 < first.sum() < 10
    drawn.stream[:, torch.from_numpy(first)] *= 1_000.0
    frame = intrinsic(drawn)
    assert set(frame["part"]) == {"stream", "attn", "mlp"}
    rest = states[~first]
    row = frame[(frame["part"] == "stream") & (frame["layer"] == 1)].iloc[0]
    assert row["n_first"] == first.sum()
    assert row["twonn"] == pytest.approx(two_nn(nearest_distances(rest.astype(float))), rel=1e-3)
    assert row["participation_ratio"] == pytest.approx(participation_ratio(rest), rel=1e-3)
    assert row["with_first"] < 6 < row["participation_ratio"]


def test_on_noise_it_is_far_too_small_in_many_dimensions() -> None:
    known = known_dimension(400, 60)
    assert known["dimension"].tolist()[-2:] == [50, 60]
    few = known[known["dimension"] <= 5]
    np.testing.assert_allclose(few["twonn"], few["dimension"], rtol=0.15)
    assert known["twonn"].iloc[-1] < 45
    assert known["participation_ratio"].iloc[-1] == pytest.approx(60 * 400 / 460, rel=0.05)
    between = words.as_known(known, float(known["twonn"].iloc[-2]))
    assert between == pytest.approx(50)
    assert math.isnan(words.as_known(known, 500.0))
    assert "more than a fifth too small from" in words.bias_reading(known)


def test_chance_is_read_from_the_same_texts(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    drawn = sample(model, TEXTS, n=60)
    steps: list[str] = []
    frame = intrinsic_null(model, drawn, "shuffled words", progress=lambda _, s: steps.append(s))
    assert set(frame["part"]) == {"stream"}
    assert frame["null"].eq("shuffled words").all()
    assert any("Reading" in step for step in steps)
    again = intrinsic_null(model, drawn, "shuffled words")
    assert again.equals(frame)
    other = intrinsic_null(model, drawn, "random blocks")
    wanted = intrinsic(sample(model.random_twin(0), TEXTS, n=60, skip_sinks=True, compact=True))
    np.testing.assert_allclose(other["twonn"], wanted["twonn"])
    with pytest.raises(InputError, match="shuffled words, random blocks"):
        intrinsic_null(model, drawn, "noise")


def test_the_script_finds_the_same(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny("llama")
    frame = intrinsic(sample(model, TEXTS, n=60, skip_first=False))
    for part, modules in (("stream", ()), ("mlp", model.architecture.row.mlp)):
        [row] = frame[(frame["part"] == part) & (frame["layer"] == 1)].itertuples()
        code = script(
            str(tiny_folder("llama")),
            None,
            "",
            texts=TEXTS,
            layer=1,
            part=part,
            modules=modules,
            blocks=model.blocks_path,
            n=60,
            skip_first=False,
            intrinsic=True,
        )
        said = output_of(code, tmp_path)
        assert f"{row.n_states} different states, {row.n_equal} equal" in said
        numbers = f"TwoNN {row.twonn:.3f}  by neighbours 2: {row.at_2:.3f} 4: {row.at_4:.3f}"
        assert numbers in said
        assert f"centred {row.participation_ratio:.2f}" in said


def test_what_is_said(tiny: Callable[[str], Model]) -> None:
    drawn = sample_of(noise(200, 24), noise(200, 24, seed=1))
    frame, known = intrinsic(drawn), known_dimension(200, 24)
    [row] = frame[(frame["part"] == "mlp") & (frame["layer"] == 1)].itertuples()
    said = words.intrinsic_reading(frame, known, "mlp", 1)
    assert f"vary in {row.twonn:.1f} dimensions near each state" in said
    assert f"With first tokens the participation ratio is {row.with_first:.4g}" in said
    assert "first tokens" in words.equal_note(frame, "mlp", 1)
    few = frame.assign(twonn=math.nan)
    assert "too few" in words.intrinsic_reading(few, known, "stream", 1)
    nulls = frame.assign(null=NULLS[0])
    assert "of shuffled words" in words.null_dimension_reading(frame, nulls, 1)


def test_what_is_not_known_and_what_is_one() -> None:
    drawn = sample_of(noise(60, 24), noise(60, 24, seed=1))
    frame, known = intrinsic(drawn), known_dimension(300, 24)
    said = words.intrinsic_reading(frame.assign(at_8=math.nan), known, "stream", 1)
    assert "by 8 neighbours not known; linear" in said
    assert "which 300 states of Gaussian noise" in said, "as many as there are of the noise"
    lost = frame.assign(twonn=math.nan, null=NULLS[0])
    said = words.null_dimension_reading(lost, lost, 1)
    assert "at layer 1: TwoNN not known of the text and not known of shuffled words; " in said
    ratio, effective = (
        f"{frame[name].iloc[1]:.1f}" for name in ("participation_ratio", "effective_dimension")
    )
    assert f"; participation ratio {ratio} of the text and {ratio} of shuffled words; " in said
    assert said.endswith(f"dimension {effective} of the text and {effective} of shuffled words.")
    one = frame.assign(n_equal=1, n_first=1)
    said = words.equal_note(one, "stream", 1)
    assert said == "without 1 that equals another at layer 1 and 1 first token"
