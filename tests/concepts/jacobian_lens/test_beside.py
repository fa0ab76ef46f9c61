"""A word's beam beside its controls, and what a model without a lens is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from strata.concepts.jacobian_lens import tables
from strata.concepts.jacobian_lens.beams import floor, passage_beam
from strata.concepts.jacobian_lens.beside import beside
from strata.errors import ModelError
from strata.model import Model, load_model
from tests.concepts.jacobian_lens.test_jacobian_lens import any_lens
from tests.tiny import PROMPT


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "qwen3"])
def test_three_curves_of_one_word(tiny: Callable[[str], Model], name: str) -> None:
    model = tiny(name)
    trace, told = model.capture(PROMPT), []
    frame = beside(model, trace, 7, 2, progress=lambda share, text: told.append(share))
    parts = dict(iter(frame.groupby("kind")))
    for kind, expected in (
        ("jacobian", passage_beam(model, trace, 7, 2)),
        ("random", passage_beam(model, trace, 7, 2, random_blocks=0)),
        ("logit", floor(model, trace, 7).assign(n=2)),
    ):
        ours = parts[kind].drop(columns="kind").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours[expected.columns], expected)
    end = frame[(frame["layer"] == model.n_layers) & (frame["kind"] != "random")]
    scores = end.pivot(index="position", columns="kind", values="score")
    assert (scores["jacobian"] - scores["logit"]).abs().max() < 1e-4, "both are the output there"
    assert not told or (told == sorted(told) and told[-1] == 1)


def test_a_model_without_a_lens_is_told_which_command_makes_one(
    tiny: Callable[[str], Model],
) -> None:
    model = tiny("gpt2")
    command = f"“python -m strata fit-lens {model.name}”"
    with pytest.raises(ModelError, match="and the beam of a word needs none") as refused:
        tables.grid(model, model.capture(PROMPT))
    assert command in str(refused.value)
    with pytest.raises(ModelError, match=r"fit-lens .* --random-blocks 3”"):
        tables.random_grid(model, model.capture(PROMPT), 3)


def test_the_same_weights_in_other_numbers_are_told_to_be_others(
    tiny_folder: Callable[[str], Path], tiny: Callable[[str], Model]
) -> None:
    model = load_model(str(tiny_folder("gpt2")), "cpu", "bfloat16")
    told = r"bfloat16 \(its weights in float32 are others\)"
    with pytest.raises(ModelError, match=f"No Jacobian lens was fitted to .* in {told} yet"):
        tables.grid(model, model.capture(PROMPT))
    with pytest.raises(ModelError, match=f"to other weights than those of .* in {told};"):
        tables.lens(model, model.capture(PROMPT), any_lens(tiny("gpt2")))
