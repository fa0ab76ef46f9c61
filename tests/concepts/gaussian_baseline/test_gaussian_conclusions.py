"""What the Gaussian baseline concludes: three steps, the whole model, sentences, the program.

Of the bundled model: `tests/lessons/test_shipped.py`, where its sample is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from strata.concepts import gaussian_baseline as baseline
from strata.concepts import sampled
from strata.concepts.gaussian_baseline import CONCEPT, words
from strata.concepts.gaussian_baseline.density import ks_distance
from strata.concepts.gaussian_baseline.script import script
from strata.corpus import Sample, passages, sample
from strata.errors import CancelledError
from strata.model import Model
from tests.concepts.by_hand import bundled_folder
from tests.concepts.gaussian_baseline.test_gaussian_baseline import Floats, noise, sample_of
from tests.scripts import output_of

TEXTS = (
    'A \u202e "cat"\n sat \x00 on """ the mat',
    "The river is wide where the stones are round and the water is slow.",
    "She said that the answer was in the drawer.",
)
D = 128

ISOTROPIC = noise(1_000, D)
OFFSET = noise(1_000, D) + 2.0
ROGUE = noise(1_000, D) * np.where(np.arange(D) == 5, 30, 1).astype(np.float32)
NARROW = noise(1_000, D) * (np.arange(D) < 20).astype(np.float32) + 1e-3 * noise(1_000, D, seed=9)
GIANTS = OFFSET + 600 * (np.arange(1_000)[:, None] % 100 == 0) * (np.arange(D) == 3)


# -- three steps ------------------------------------------------------------------------------


def steps(states: Floats, drop_top: int = 1) -> pd.DataFrame:
    return baseline.decomposition(sample_of(states), 0, drop_top).set_index("step")


def test_decomposition_of_noise_has_nothing_to_explain() -> None:
    frame = steps(ISOTROPIC)
    assert (frame["ks_full"] < 0.01).all()
    assert frame["explained"].isna().all()


def test_an_offset_is_explained_by_centring() -> None:
    frame = steps(OFFSET)
    assert frame["mean"]["raw"] == pytest.approx(0.8, abs=0.01)
    assert frame["explained"]["centred"] == pytest.approx(1, abs=0.01)
    assert frame["explained"]["dropped"] == pytest.approx(0, abs=0.01)
    assert frame["ks_full"]["raw"] > 0.9
    assert frame["ks_full"]["centred"] < 0.01


def test_a_rogue_dimension_is_explained_by_dropping_it() -> None:
    frame = steps(ROGUE)
    assert frame["explained"]["centred"] == pytest.approx(0, abs=0.02)
    assert frame["explained"]["dropped"] == pytest.approx(1, abs=0.02)
    assert frame["ks_full"]["centred"] > 0.3
    assert frame["ks_full"]["dropped"] < 0.01
    assert frame["dims"].tolist() == [D, D, D - 1]


def test_steps_are_those_of_the_summary() -> None:
    sample = sample_of(ROGUE, OFFSET)
    frame = baseline.decomposition(sample, 1, drop_top=4)
    assert frame["part"].tolist() == ["stream"] * 3 + ["attn"] * 3 + ["mlp"] * 3
    assert frame["step"].tolist() == ["raw", "centred", "dropped"] * 3
    kept = ["n_pairs", "dims", "mean", "spread", "mean_square", "ks_full", "best_dimension"]
    for row, (center, drop) in zip(
        frame.iloc[6:].to_dict("records"), ((False, 0), (True, 0), (True, 4)), strict=True
    ):
        [whole] = baseline.summary(sample, 1, "mlp", center, drop).to_dict("records")
        assert {name: row[name] for name in kept} == {name: whole[name] for name in kept}
    squares = frame["mean_square"].iloc[:3].to_numpy()
    excess = squares[0] - 1 / D
    np.testing.assert_allclose(frame["explained"].iloc[1:3], -np.diff(squares) / excess)
    assert frame["largest"].iloc[0] == pytest.approx(
        float(sample.stream[1].norm(dim=1).max() / sample.stream[1].norm(dim=1).median())
    )


def test_layer_0_has_the_stream_only() -> None:
    assert baseline.decomposition(sample_of(ISOTROPIC, OFFSET), 0)["part"].unique() == ["stream"]


def conclude(states: Floats, drop_top: int = 1) -> str:
    return words.conclusion(baseline.decomposition(sample_of(states), 0, drop_top), "stream")


def test_each_kind_of_states_has_its_own_conclusion() -> None:
    isotropic, offset, rogue, narrow = map(conclude, (ISOTROPIC, OFFSET, ROGUE, NARROW))
    assert isotropic == (
        "The states of the residual stream are, as they come, spread like random directions in "
        "all 128 dimensions (distance 0.00): there is nothing to explain."
    )
    assert "far from random directions in all 128 dimensions" in offset
    assert "the offset that they share explains 100%, the dimension of largest variance n" in offset
    assert offset.endswith(
        "Centred, they are spread like random directions in all 128 dimensions (distance 0.01)."
    )
    assert "far from random directions" in rogue
    assert "explains none, the dimension of largest variance 100%, and" in rogue or (
        "the dimension of largest variance 99%" in rogue
    )
    assert (
        "without the dimension of largest variance, they are spread like random directions in all "
        "127 that remain"
    ) in rogue
    assert "What is left is spread like random directions, but in only 19 dim" in narrow


def test_giant_states_are_named() -> None:
    assert "far larger than the others, the largest 2" in conclude(GIANTS.astype(np.float32))
    assert "far larger" not in conclude(OFFSET)


def test_what_fits_nothing_is_said_to() -> None:
    two = np.where(np.arange(1_000)[:, None] % 2, 3, -3) * np.ones(D) + noise(1_000, D)
    text = conclude(two.astype(np.float32), drop_top=2)
    assert "What is left fits no number of dimensions: nearest" in text
    rough = conclude(NARROW + 0.35 * noise(1_000, D, seed=3), drop_top=2)
    assert "like random directions" in rough


def test_shape_alone_may_differ() -> None:
    frame = baseline.decomposition(sample_of(ISOTROPIC), 0)
    frame.loc[frame["step"] == "raw", "ks_full"] = 0.2
    assert "it is their shape that differs" in words.conclusion(frame, "stream")


def test_the_closest_part_is_named() -> None:
    states = sample_of(OFFSET, ROGUE)
    states.writes[1, 0] = torch.tensor(ISOTROPIC)  # type: ignore[index]
    frame = baseline.decomposition(states, 1)
    text = words.closest(frame)
    assert text.startswith("At this layer the MLP writes come closest to a Gaussian")
    assert "the attention writes 0." in text
    assert words.closest(frame[frame["part"] == "stream"]) == ""
    assert CONCEPT.measures["offset_share"](frame, part="mlp") is not None
    assert math.isnan(CONCEPT.measures["offset_share"](frame, part="mlp"))
    offset = baseline.decomposition(sample_of(OFFSET), 0)
    assert CONCEPT.measures["offset_share"](offset, part="stream") == pytest.approx(1, abs=0.01)


def test_the_table_of_steps_is_text() -> None:
    told = words.told(baseline.decomposition(sample_of(OFFSET), 0, 1))
    assert told["step"].tolist() == ["raw", "centred", "without the top"]
    assert told["step explains"].tolist()[:2] == ["", "100%"]
    assert told["effective dimension"][1] == "128"


# -- the whole model --------------------------------------------------------------------------


def test_glance_is_the_summary_of_every_layer_and_part() -> None:
    sample, told = sample_of(ISOTROPIC, OFFSET, ROGUE), []
    frame = baseline.glance(sample, True, 2, progress=lambda *words: told.append(words))
    assert len(frame) == 3 + 2 + 2
    for row in frame.to_dict("records"):
        [whole] = baseline.summary(sample, row["layer"], row["part"], True, 2).to_dict("records")
        assert row == {name: whole.get(name, row[name]) for name in row}
        assert row["ks_error"] == 0.001
    assert len(told) == 7
    assert told[0] == (0, "Layer 0 of the residual stream")


def test_a_glance_can_be_stopped() -> None:
    def stop(fraction: float, message: str) -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        baseline.glance(sample_of(ISOTROPIC), progress=stop)


def test_the_whole_model_in_a_sentence() -> None:
    states = sample_of(OFFSET, OFFSET, OFFSET)
    states.writes[1] = torch.tensor(np.stack([ISOTROPIC, noise(1_000, D, seed=4)]))  # type: ignore[index]
    frame = baseline.glance(states)
    assert CONCEPT.measures["closest_part"](frame) == "mlp"
    text = words.whole(frame)
    assert "the MLP writes come closest" in text
    assert "median distance 0.00" in text
    assert "of 128 dimensions" in text
    assert "comes closest" in words.whole(baseline.glance(sample_of(OFFSET)))


# -- other words ------------------------------------------------------------------------------


def test_reading_of_a_histogram() -> None:
    assert words.reading(baseline.summary(sample_of(OFFSET), 0)).endswith(
        "dimensions. In distribution they are 1.00 from random directions in all 128, and no other "
        "number of dimensions comes near: at best 0.50."
    )
    near = words.reading(baseline.summary(sample_of(NARROW), 0))
    assert " from the nearest number, " in near
    assert "The cosines of 250,000 pairs have mean 0.00 and spread 0.2" in near
    assert "mean 0.00 and spread 0.088" in words.reading(baseline.summary(sample_of(ISOTROPIC), 0))


def test_comparison_with_the_baseline() -> None:
    sample = sample_of(ISOTROPIC)
    numbers, order = baseline.summary(sample, 0), baseline.quantiles(sample, 0)
    frame = words.compare(numbers, order, order.iloc[900], 20, 1_000).set_index("number")
    assert frame["random"]["Spread"] == f"{1 / math.sqrt(20):.3f}"
    assert frame["random"]["Participation ratio"] == f"{1 / (1 / 20 + 1 / 1_000):.0f}"
    assert frame["these"]["Distance from 20 (these)"] == (
        f"{ks_distance(order['cosine'], order['rank'], 20):.3f}"
    )
    assert frame["these"]["Cosine at 90.0%"] == f"{order['cosine'][900]:.3f}"
    same = words.compare(numbers, order, order.iloc[900], D, 1_000)["number"]
    assert same.tolist().count("Distance from 128 (all)") == 1


def test_contexts_mark_the_token_and_bracket_the_next() -> None:
    pair = pd.Series({"before_a": "the cat", "token_a": " sat", "next_a": " on"})
    assert words.context(pair, "a") == "the cat »␣sat« [␣on]"
    pair = pd.Series({"before_b": "", "token_b": "\u202ex", "next_b": None})
    assert words.context(pair, "b") == " »\\u{202E}x« [end of the text]"


def test_words_on_single_dimensions() -> None:
    heavy = ISOTROPIC.copy()
    heavy[:4, 7] = 40
    frame = baseline.dimensions(sample_of(heavy), 0)
    text = words.dimensions_reading(frame, 1_000)
    assert "the heaviest tails are in dimension 7" in text
    assert int(text.split("%")[0]) > 85
    points = baseline.normality(sample_of(heavy), 0, dim=7)
    assert words.normality_reading(points, 7).startswith("Dimension 7 reaches 14.7 ")
    assert "expected at 3.3." in words.normality_reading(points, 7)
    flat = baseline.dimensions(sample_of(np.ones((8, 3), dtype=np.float32)), 0)
    assert words.dimensions_reading(flat, 8) == "No dimension differs between these states."


def test_measures_of_a_summary() -> None:
    frame = baseline.summary(sample_of(OFFSET), 0)
    assert CONCEPT.measures["mean_cosine"](frame) == pytest.approx(0.8, abs=0.01)
    assert CONCEPT.measures["effective_dimension"](frame) == frame["effective_dimension"][0]


# -- show the code ----------------------------------------------------------------------------


def choices(model: Model, drawn: Sample, part: str) -> dict[str, Any]:
    """What the page hands to the script."""
    row = model.architecture.row
    return {
        "texts": sampled.texts(drawn)["content"],
        "blocks": model.blocks_path,
        "part": part,
        "modules": {"stream": (), "attn": row.attn, "mlp": row.mlp}[part],
        "write_scale": sampled.about(model, drawn)["write_scale"][0],
        "n": drawn.n_asked,
    }


@pytest.mark.parametrize(
    ("name", "layer", "part"),
    [
        ("llama", 0, "stream"),
        ("llama", 3, "stream"),
        ("gpt2", 2, "mlp"),
        ("falcon-7b", 3, "attn"),
        ("gemma2", 1, "attn"),
        ("granite", 2, "mlp"),
        ("opt", 1, "mlp"),
        ("bloom", 2, "attn"),
    ],
)
def test_script_reproduces_the_page(
    tiny: Callable[[str], Model],
    tiny_folder: Callable[[str], Path],
    name: str,
    layer: int,
    part: Any,
) -> None:
    """In families whose blocks return a tensor or a tuple, whatever their modules are called."""
    model = tiny(name)
    drawn = sample(model, TEXTS, n=40, seed=3)
    settings = {"center": True, "drop_top": 2, "pairs": "between"}
    ran: dict[str, Any] = {}
    code = script(
        str(tiny_folder(name)),
        None,
        "",
        layer=layer,
        seed=3,
        dimension=1,
        quantile=0.9,
        **choices(model, drawn, part),
        **settings,
    )
    exec(compile(code, "script.py", "exec"), ran)
    assert ran["chosen"] == list(zip(drawn.text.tolist(), drawn.position.tolist(), strict=True))
    [row] = baseline.summary(drawn, layer, part, **settings).itertuples()
    assert ran["mean"] == pytest.approx(row.mean, abs=1e-5)
    assert ran["effective_dimension"] == pytest.approx(row.effective_dimension, rel=1e-4)
    assert ran["participation_ratio"] == pytest.approx(row.participation_ratio, rel=1e-4)
    assert ran["ks_full"] == pytest.approx(row.ks_full, abs=1e-4)
    assert ran["ks_best"] == pytest.approx(row.ks_best, abs=1e-4)
    assert abs(ran["best_dimension"] - row.best_dimension) <= 1
    order = baseline.quantiles(drawn, layer, part, **settings)
    at = round(0.9 * (len(order) - 1))
    assert ran["ks_chosen"] == pytest.approx(
        ks_distance(order["cosine"], order["rank"], 1), abs=1e-4
    )
    found = ran["cosines"][ran["order"][ran["rank"]]]
    assert found == pytest.approx(order["cosine"][at], abs=1e-4)


@pytest.mark.parametrize("skip_sinks", [True, False])
def test_script_leaves_out_the_same_sinks(model: Model, skip_sinks: bool) -> None:
    texts = ["The The The The cat sat on the mat.", "Dogs dogs dogs ran home.", "dog dog dog dog"]
    drawn = sample(model, texts, n=100, skip_sinks=skip_sinks)
    ran: dict[str, Any] = {}
    kept = choices(model, drawn, "stream") | {"skip_sinks": skip_sinks}
    exec(compile(script(bundled_folder(), None, "", layer=12, **kept), "script.py", "exec"), ran)
    assert ran["chosen"] == list(zip(drawn.text.tolist(), drawn.position.tolist(), strict=True))
    assert (drawn.n_sinks > 0) is skip_sinks
    [row] = baseline.summary(drawn, 12).itertuples()
    assert ran["mean"] == pytest.approx(row.mean, abs=1e-5)


def test_script_runs_by_itself_and_prints_what_the_page_shows(model: Model, tmp_path: Path) -> None:
    texts = list(passages.passages().values())[:3]
    drawn = sample(model, texts, n=100)
    code = script(bundled_folder(), None, "", layer=12, **choices(model, drawn, "mlp"))
    assert "strata" not in code.replace(bundled_folder(), "").lower()
    assert "PROMPT" not in code
    output = output_of(code, tmp_path)
    [row] = baseline.summary(drawn, 12, "mlp").itertuples()
    assert "100 states of 3 texts, 2500 pairs" in output
    assert f"mean {row.mean:.3f}" in output
    assert f"effective dimension {row.effective_dimension:.0f}" in output
    pair = baseline.quantiles(drawn, 12, "mlp").iloc[500]
    assert f"text {pair['text_a']}, position {pair['position_a']}: " in output
