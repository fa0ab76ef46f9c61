"""Scaling beside its controls: each number against a run by plain hooks, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from strata.concepts.scaling import CONCEPT, words
from strata.concepts.scaling.controls import controls
from strata.concepts.scaling.script import script
from strata.concepts.scaling.tables import places, sweep
from strata.concepts.target import TargetId
from strata.errors import InputError, ModelError
from strata.model import Model
from strata.trace import Part
from tests.plain import Change, Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
TARGET, FACTOR, SEEDS = 17, -0.4, 2


def direction(seed: int, block: int, part: str, position: int, width: int) -> Tensor:
    """A random direction as `Noise` defines it, by its own words: seed, block, part, position."""
    import hashlib

    named = f"{seed} {block} {part} 0 {position}".encode()
    number = int.from_bytes(hashlib.sha256(named).digest()[:7], "little")
    vector = torch.randn(width, generator=torch.Generator().manual_seed(number)).double()
    return vector / vector.norm()


@pytest.mark.parametrize(
    ("name", "part", "positions"),
    [
        ("llama", "stream", None),
        ("gpt2", "mlp", [1, 3]),
        ("falcon-7b", "attn", None),
        ("gemma2", "attn", [2]),
        ("granite", "mlp", None),
        ("bloom", "stream", [0, 5]),
        ("opt", "attn", None),
        ("phi", "mlp", [4]),
        ("lfm2", "stream", None),
    ],
)
def test_every_row_is_a_run_by_plain_hooks(
    tiny: Tiny,
    twin: Callable[[str], Plain],
    name: str,
    part: Part,
    positions: list[int] | None,
) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    frame = controls(model, trace, TARGET, FACTOR, part, positions, n_seeds=SEEDS)
    assert list(frame) == ["block", "edit", "factor", "seed", "logprob", "clean_logprob"]
    assert len(frame) == model.n_layers * (2 + SEEDS)
    at = positions if positions is not None else list(range(len(trace.tokens)))
    clean = plain.run(trace.token_ids).logits[-1].double().log_softmax(-1)[TARGET]
    np.testing.assert_allclose(frame["clean_logprob"], float(clean), atol=1e-5)
    for row in frame.itertuples():

        def change(values: Tensor, entered: Tensor, row: Any = row) -> Tensor:
            changed = values.clone()
            for t in at:
                if row.edit == "skip":
                    changed[t] = entered[t]
                elif row.edit == "scale":
                    changed[t] = FACTOR * values[t]
                else:
                    unit = direction(int(row.seed), row.block, part, t, values.shape[1])
                    changed[t] = values[t] + (1 - FACTOR) * values[t].norm() * unit
            return changed

        where = "stream" if row.edit == "skip" else part
        run = plain.run(trace.token_ids, (Change(row.block, where, change),))
        wanted = float(run.logits[-1].double().log_softmax(-1)[TARGET])
        assert row.logprob == pytest.approx(wanted, abs=2e-5), row
    scaled = frame[frame["edit"] == "scale"]["logprob"].to_numpy()
    swept = sweep(model, trace, TARGET, [FACTOR], part, positions)["logprob"]
    np.testing.assert_allclose(scaled, swept, atol=1e-5)
    missing = frame[frame["edit"] == "skip"]
    assert missing["seed"].isna().all()
    assert missing["factor"].isna().all()


def test_what_does_not_exist_is_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"target_id": 300}, "0 to 299"),
        ({"factor": math.nan}, "finite number"),
        ({"factor": 1e38}, "at most a million"),
        ({"part": "head"}, "stream, attn or mlp"),
        ({"positions": [99]}, "positions are 0 to"),
        ({"positions": []}, "at least one position"),
        ({"n_seeds": 0}, "random pushes must be from 1 to 100"),
    ]
    for wrong, said in refused:
        with pytest.raises(InputError, match=said):
            controls(model, trace, **({"target_id": TARGET, "factor": 0.5} | wrong))
    other = tiny("opt-post_norm")
    trace = other.capture(PROMPT)
    with pytest.raises(ModelError, match="writes are refused"):
        controls(other, trace, TARGET, 0.5, "mlp")


def test_of_the_bundled_model_any_push_at_block_2_hurts(model: Model) -> None:
    """Scaling costs most there, and most random pushes of the same size cost as much or more."""
    paris = int(model.tokenizer.convert_tokens_to_ids("ĠParis"))
    trace = model.capture("The capital of France is")
    frame = controls(model, trace, paris, 0.8)
    rows = words.by_block(frame)
    assert int(rows["scale"].argmin()) == 2
    assert rows["worse"][2] >= 5
    assert CONCEPT.measures["noise_as_bad"](frame) == rows["worse"][2] / 9
    harmed = rows["scale"] < rows["clean_logprob"] - 0.01
    assert CONCEPT.measures["beyond_noise"](frame) == (harmed & (rows["worse"] == 0)).sum() < 6
    assert rows["skip"][0] < -10, "block 0 is missed most"
    said = words.controls_reading(frame, "␣Paris")
    assert "At block 2, where it costs most (−1.18 nats)" in said
    assert "so any push hurts there" in said
    assert "by chance alone at about 3 of 30" in said


def made(*blocks: tuple[float, float, list[float]], factor: float = 0.8) -> pd.DataFrame:
    """Of each block: scaled, left out, pushed; without an edit −1 nat."""
    rows: list[tuple[Any, ...]] = []
    for block, (scale, skip, noise) in enumerate(blocks):
        rows += [(block, "scale", factor, None, scale), (block, "skip", None, None, skip)]
        rows += [(block, "noise", factor, seed, each) for seed, each in enumerate(noise)]
    columns = ["block", "edit", "factor", "seed", "logprob"]
    return pd.DataFrame(rows, columns=columns).assign(clean_logprob=-1.0)


def test_by_block_and_measures() -> None:
    frame = made((-2.0, -9.0, [-1.0, -3.0, -2.0]), (-5.0, -1.0, [-1.0, -4.0, -1.5]))
    rows = words.by_block(frame)
    assert rows["block"].tolist() == [0, 1]
    assert rows[["low", "median", "high"]].to_numpy().tolist() == [[-3, -2, -1], [-4, -1.5, -1]]
    assert rows["worse"].tolist() == [2, 0], "as much counts, too"
    assert CONCEPT.measures["beyond_noise"](frame) == 1
    assert CONCEPT.measures["noise_as_bad"](frame) == 0
    other = made((-2.0, -9.0, [-1.0, -3.0, -2.0]), (-1.5, -1.0, [-1.0, -4.0, -1.2]))
    assert CONCEPT.measures["noise_as_bad"](other) == pytest.approx(2 / 3)


def test_the_reading_tells_a_block_that_matters_from_any_push() -> None:
    calm, loud = [-1.1, -1.2, -1.3], [-9.0, -8.0, -1.4]
    said = words.controls_reading(made((-3.0, -2.0, calm), (-1.1, -4.5, loud)), "␣a")
    assert said == (
        "Multiplying the stream by 0.8 costs “␣a” more than all 3 random pushes of the same size "
        "at block 0 alone (by chance alone at fewer than 1 of 2). So it does at block 0, where it "
        "costs most (−2.00 nats): there this direction matters, not the push alone. Left out "
        "whole, block 1 costs most (−3.50 nats)."
    )
    said = words.controls_reading(made((-1.1, -1.0, calm), (-3.0, -1.0, loud)), "␣a", "mlp")
    assert "at no block (by chance" in said
    assert "At block 1, where it costs most (−2.00 nats), a push costs as much in 2 of 3" in said
    assert "so any push hurts there. Left out whole, no block costs anything." in said
    hardly = made((-8.5, -1.0, [-9.0, -8.0, -1.4]))
    assert "in 1 of 3 random runs, so it hardly stands out" in words.controls_reading(hardly, "x")
    same = words.controls_reading(made((-1.0, -2.0, [-1.0]), factor=1), "x")
    assert same.startswith("A factor of 1 pushes nothing, and no noise is needed beside it. Left")
    helps = made((-0.9, -2.0, [-0.8]), (-0.995, -2.0, [-0.5]))  # and each push helps more
    assert words.by_block(helps)["worse"].tolist() == [0, 0]
    assert CONCEPT.measures["beyond_noise"](helps) == 0
    assert math.isnan(CONCEPT.measures["noise_as_bad"](helps))
    assert words.controls_reading(helps, "x") == (
        "Multiplying the stream by 0.8 costs “x” more than a random push of the same size at no "
        "block (by chance alone at about 1 of 2 at most). It makes it less likely after no block "
        "at all. Left out whole, block 0 costs most (−1.00 nats)."
    )
    mixed = words.controls_reading(made((-0.9, -2.0, [-0.8]), (-2.0, -2.0, [-1.5])), "x")
    assert "at block 1 alone (by chance" in mixed
    many = words.controls_reading(made(*[(-3.0, -2.0, calm)] * 5), "x")
    assert "at all 5 blocks (by chance alone at about 1 of 5 at most)" in many
    few = words.controls_reading(made((-3.0, -2.0, [-1.1]), *[(-1.5, -2.0, [-1.6])] * 4), "x")
    assert "costs most (−2.00 nats), yet at no more blocks than by chance. Left" in few


def test_a_sink_among_the_pushed_tokens_is_told_of() -> None:
    one = words.pushed_sinks(["The"], [0])
    assert one.startswith("“The” (position 0) is an attention sink, with states many times as long")
    many = words.pushed_sinks(["␣dog"] * 5, [0, 2, 4, 6, 8])
    assert "“␣dog” (position 4) and 2 more are attention sinks" in many


def test_a_pair_of_words_is_one_less_the_other(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    both, one, other = (
        controls(model, trace, target, FACTOR, n_seeds=SEEDS) for target in ((TARGET, 3), TARGET, 3)
    )
    for column in ("logprob", "clean_logprob"):
        np.testing.assert_allclose(both[column], one[column] - other[column], atol=1e-5)
    assert np.ptp(both["logprob"]) > 0.01
    said = words.controls_reading(made((-3.0, -2.0, [-1.1, -1.2])), "␣a", minus="␣b")
    assert "by 0.8 lowers “␣a” minus “␣b” more than all 2 random pushes" in said
    same = words.controls_reading(made((0.5, -2.0, [0.6])), "␣a", minus="␣b")
    assert "It lowers the difference after no block at all." in same
    with pytest.raises(InputError, match="two different words"):
        controls(model, trace, (3, 3), FACTOR)


@pytest.mark.parametrize(
    ("name", "part", "positions", "factor", "target_id"),
    [
        ("llama", "stream", None, 0.3, TARGET),
        ("gpt2", "mlp", [1, 2], -0.5, (TARGET, 3)),
        ("falcon-7b", "attn", None, 1.4, TARGET),
        ("lfm2", "attn", [3], 1.0, TARGET),
    ],
)
def test_the_script_makes_the_same_numbers(
    tiny: Tiny,
    tiny_folder: Callable[[str], Path],
    name: str,
    part: Part,
    positions: list[int] | None,
    factor: float,
    target_id: TargetId,
) -> None:
    model = tiny(name)
    choices: dict[str, Any] = {"target_id": target_id, "part": part, "positions": positions}
    code = script(
        str(tiny_folder(name)),
        None,
        PROMPT,
        factor=factor,
        blocks=model.blocks_path,
        within=places(model, part)["within"].tolist(),
        n_seeds=SEEDS,
        **choices,
    )
    ran: dict[str, Any] = {}
    exec(compile(code, "script.py", "exec"), ran)
    frame = controls(model, model.capture(PROMPT), factor=factor, n_seeds=SEEDS, **choices)
    for block, skip, noise in ran["controls"]:
        here = frame[frame["block"] == block].set_index("edit")["logprob"]
        assert skip == pytest.approx(here["skip"], abs=1e-4)
        np.testing.assert_allclose(noise, here["noise"], atol=1e-4)
        assert ran["rows"][block][1] == pytest.approx(here["scale"], abs=1e-4)
