"""The shape of paths, against NumPy and SciPy, on figures of known angles and on tiny models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from scipy.spatial.distance import cosine

from strata.concepts import predictions
from strata.concepts.nulls import draws
from strata.concepts.sinks import sinks
from strata.concepts.trajectories import CONCEPT, shape, shape_by_layer, words
from strata.concepts.trajectories.script import script
from strata.concepts.trajectories.shape import (
    curvatures,
    rank_correlation,
    step_norms,
    turning_angles,
)
from strata.model import Model
from tests.scripts import output_of

PROMPT = "The cat sat on the mat and the dog ran after the cat."


def by_cosine(steps: np.ndarray, i: int) -> float:
    return float(np.degrees(np.arccos(1 - cosine(steps[i], steps[i + 1]))))


def test_a_square_turns_by_90_and_a_line_by_0() -> None:
    square = torch.tensor([[0.0, 0], [3, 0], [3, 3], [0, 3]])[:, None]  # (L + 1, 1, D)
    np.testing.assert_allclose(turning_angles(square), 90)
    np.testing.assert_allclose(step_norms(square), 3)
    line = torch.arange(5.0)[:, None, None] * torch.tensor([1.0, -2.0, 0.5])
    np.testing.assert_allclose(turning_angles(line), 0, atol=1e-6)
    back = torch.tensor([[0.0, 1], [2, 1], [1, 1]])[:, None]
    np.testing.assert_allclose(turning_angles(-7 * back), 180)
    assert np.isnan(turning_angles(torch.ones(3, 1, 2))).all(), "no step, no direction"


def test_unrelated_steps_turn_by_90_and_unrelated_states_by_120() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 40, 4_000)))
    assert curvatures(noise).mean() == pytest.approx(120, abs=0.5)
    assert turning_angles(noise).mean() == pytest.approx(120, abs=0.5)
    assert turning_angles(noise.cumsum(0)).mean() == pytest.approx(90, abs=0.5)


def test_against_numpy(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    frame = shape(model, trace)
    hidden = trace.hidden.double().numpy()
    cells = frame.set_index(["layer", "position"])
    known = predictions.surprisal(model, trace)
    last, n_tokens = len(hidden) - 1, hidden.shape[1]
    for p in (1, n_tokens - 1):
        steps = np.diff(hidden[:, p], axis=0)
        norms = np.linalg.norm(steps, axis=1)
        assert cells.loc[(last, p), "length"] == pytest.approx(norms.sum())
        assert cells.loc[(1, p), "step"] == pytest.approx(norms[0])
        assert cells.loc[(1, p), "turning"] == pytest.approx(by_cosine(steps, 0), abs=1e-4)
        assert cells.loc[(1, p), "surprisal"] == pytest.approx(-known["logprob"][p], abs=1e-5)
    near = {p + d for p in sinks(trace)["position"] for d in (-1, 0, 1)}
    for p in range(n_tokens):
        curved = cells.loc[(last, p), "curvature"]
        if p in near or p in (0, n_tokens - 1):
            assert np.isnan(curved)
        else:
            along = np.diff(hidden[last], axis=0)
            assert curved == pytest.approx(by_cosine(along, p - 1), abs=1e-4)
    assert frame["turning"].isna().sum() == 2 * n_tokens
    means = shape_by_layer(trace)
    kept = frame[~frame["position"].isin(sinks(trace)["position"])].groupby("layer")
    for name in ("step", "length", "turning", "curvature"):
        np.testing.assert_allclose(means[name], kept[name].mean(), rtol=1e-9)
    for noun, curve in CONCEPT.curves.items():
        found = curve(model, trace)
        assert found.columns.tolist() == ["layer", "value"], noun
        assert np.isfinite(found["value"]).any()


@pytest.mark.parametrize("prompt", ["The", "The cat"])
def test_short_texts_have_no_curvature(tiny: Callable[[str], Model], prompt: str) -> None:
    model = tiny("llama")
    trace = model.capture(prompt)
    assert shape(model, trace)["curvature"].isna().all()
    assert shape_by_layer(trace)["curvature"].isna().all()
    assert "too short to bend" in words.shape_reading(shape_by_layer(trace))


def test_chance_has_the_same_states_in_another_order(tiny: Callable[[str], Model]) -> None:
    """Sinks are those of the run itself, and stay where they are."""
    model = tiny("llama")
    trace = model.capture(PROMPT)
    trace.hidden[:, 5] *= -100.0  # a sink by its norm
    assert sinks(trace)["position"].tolist() == [5]
    n, n_layers = len(trace.tokens), len(trace.hidden) - 1
    others = np.delete(np.arange(n), 5)

    def drawn(number: str, kind: str) -> pd.DataFrame:
        frame = draws(model, trace, "trajectories", number, kind, first=3, count=2)
        return frame.pivot(index="draw", columns="layer", values="value")

    lengths = drawn("Length of the paths (norm)", "layers in another order")
    turned = drawn("Turning angle (degrees)", "layers in another order")
    curved = drawn("Curvature of the text (degrees)", "tokens in another order")
    for draw in (3, 4):
        order = [0, *(1 + np.random.default_rng(draw).permutation(n_layers))]
        steps = np.diff(trace.hidden[order][:, others].double().numpy(), axis=0)  # (L, T', D)
        wanted = np.linalg.norm(steps, axis=-1).sum(axis=0).mean()
        assert lengths.loc[draw, n_layers] == pytest.approx(wanted)
        wanted = np.mean([by_cosine(steps[:, p], 0) for p in range(n - 1)])
        assert turned.loc[draw, 1] == pytest.approx(wanted, abs=1e-3)
        order = np.insert(others[np.random.default_rng(draw).permutation(n - 1)], 5, 5)
        steps = np.diff(trace.hidden[1, order].double().numpy(), axis=0)
        wanted = np.mean([by_cosine(steps, p - 1) for p in range(1, n - 1) if abs(p - 5) > 1])
        assert curved.loc[draw, 1] == pytest.approx(wanted, abs=1e-3)


def test_what_is_said_of_paths(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    frame = shape_by_layer(model.capture(PROMPT))
    frame = frame.assign(curvature=np.linspace(100.0, 130.0, len(frame)), n_sinks=0)
    said = words.shape_reading(frame)
    assert "the text bends least at layer 0, by 100° (" in said
    assert "token that is no sink" in said
    turned = frame.assign(curvature=frame["curvature"].to_numpy()[::-1])
    said = words.shape_reading(turned)
    assert f"bends by 130° at layer 0 and least at layer {len(frame) - 1}, by 100°" in said
    sinks_alone = frame.assign(n_sinks=frame["n_tokens"])
    assert "path of a token, all of them sinks, goes" in words.shape_reading(sinks_alone)
    beside = frame.assign(curvature=np.nan, n_sinks=3)
    assert "without a sink among the three" in words.shape_reading(beside)
    alone = words.shape_reading(shape_by_layer(model.capture("The")))
    assert alone.startswith("The path of the only token goes")


def test_the_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=12), rng.normal(size=12)
    y[3] = y[4]  # a tie
    found, share = rank_correlation(x, y)
    assert found == pytest.approx(stats.spearmanr(x, y).statistic)
    wanted = stats.permutation_test(
        (x,),
        lambda a: stats.spearmanr(a, y).statistic,
        permutation_type="pairings",
        n_resamples=2_000,
        rng=1,
    ).pvalue
    assert share == pytest.approx(wanted, abs=0.04)
    assert rank_correlation(x, -3 * x)[0] == pytest.approx(-1)
    assert np.isnan(rank_correlation(x[:3], y[:3])[0])
    assert np.isnan(rank_correlation(x, np.ones(12))[0])
    assert "rank correlation of −1.00" in words.surprise_reading((-1.0, 0.0001), 12, "length")


def test_the_script_prints_the_same(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    code = script(str(tiny_folder("llama")), None, PROMPT, blocks=model.blocks_path, shape=True)
    said = output_of(code, tmp_path)
    frame, means = shape(model, trace), shape_by_layer(trace)
    ends = frame[frame["layer"] == frame["layer"].max()]
    turned = frame.groupby("position")["turning"].mean()
    for row in ends[1:].itertuples():
        numbers = f"{row.length:.2f}  {turned[row.position]:.2f}  {row.surprisal:.3f}"
        assert numbers in said, numbers
    for row in means[1:-1].itertuples():
        assert f"{row.layer:4d}  {row.turning:.3f}  {row.curvature:.3f}" in said
