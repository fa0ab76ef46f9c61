"""A pair of words as the target of scaling, against one run for each edit in plain transformers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.concepts.scaling import CONCEPT, last_block, places, sweep
from strata.concepts.scaling.script import script
from strata.errors import InputError
from strata.model import Model
from strata.trace import Scale
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
A, B = 42, 7
PAIR = (A, B)
FACTORS = [0.8, -1.0]  # a norm hides positive factors


@pytest.mark.parametrize("name", "llama gpt2 gemma2 falcon-7b granite bloom opt phi".split())
def test_a_difference_after_each_edit(tiny: Tiny, twin: Callable[[str], Plain], name: str) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    clean = plain.run(trace.token_ids).logits[-1].double()
    frame = sweep(model, trace, PAIR, FACTORS)
    alone = sweep(model, trace, A, FACTORS)
    assert list(frame) == list(alone)
    assert frame["rank"].isna().all()
    assert frame["rank"].dtype == pd.Int64Dtype()
    assert alone["rank"].dtype == np.int64
    same = ["block", "factor", "kl"]
    pd.testing.assert_frame_equal(frame[same], alone[same])
    ahead = []
    for row in frame.itertuples():
        edit = Scale(row.block, row.factor)
        edited = plain.run(trace.token_ids, (edit,)).logits[-1].double()
        assert row.logprob == pytest.approx(float(edited[A] - edited[B]), abs=1e-4), edit
        assert row.clean_logprob == pytest.approx(float(clean[A] - clean[B]), abs=1e-4)
        ahead.append(bool(edited[A] > edited[B]))
    assert CONCEPT.measures["share_first"](frame) == pytest.approx(np.mean(ahead))
    worst = frame.loc[frame["logprob"].idxmin()]
    assert CONCEPT.measures["most_hurtful_block"](frame) == worst["block"]
    change = worst["logprob"] - worst["clean_logprob"]
    assert CONCEPT.measures["worst_change"](frame) == pytest.approx(change)
    assert CONCEPT.measures["kl_at_best"](frame) == frame.loc[frame["logprob"].idxmax(), "kl"]
    edited = plain.run(trace.token_ids, (Scale(model.n_layers - 1, -1.0),)).logits[-1].double()
    [last] = last_block(model, trace, PAIR, -1.0).itertuples()
    assert last.logprob == pytest.approx(float(edited[A] - edited[B]), abs=1e-4)
    assert last.clean_logprob == pytest.approx(float(clean[A] - clean[B]), abs=1e-4)


def test_a_word_less_itself_is_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    with pytest.raises(InputError, match="two different words"):
        sweep(model, trace, (A, A), FACTORS)
    with pytest.raises(InputError, match="two different words"):
        last_block(model, trace, (A, A), 0.5)


def test_the_script_of_a_pair_makes_the_same_sweep(
    tiny: Tiny, tiny_folder: Callable[[str], Path]
) -> None:
    model = tiny("llama")
    more: dict[str, Any] = {"target_id": PAIR, "factor": -1.0, "blocks": model.blocks_path}
    within = places(model)["within"].tolist()
    code = script(str(tiny_folder("llama")), None, PROMPT, within=within, **more)
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    frame = sweep(model, model.capture(PROMPT), PAIR, [-1.0])
    np.testing.assert_allclose(ran["rows"], frame[["block", "logprob", "kl"]], atol=1e-4)
    assert f"without an edit: {frame['clean_logprob'][0]:.4f} nats" in printed.getvalue()
    assert ran["worst"][0] == CONCEPT.measures["most_hurtful_block"](frame)
