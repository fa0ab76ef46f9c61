"""A pair of words as the target of the logit lens: the difference of their logits, in plain
transformers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.concepts.logit_lens import (
    attribution,
    followed,
    grid,
    modules,
    statistics,
    target_logit,
)
from strata.concepts.logit_lens.script import script
from strata.concepts.target import check_target
from strata.errors import InputError
from strata.model import Model
from tests.concepts.logit_lens.test_logit_lens import unembed
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
A, B = 11, 42
PAIR = (A, B)


@pytest.mark.parametrize("name", "llama gpt2 gemma2 cohere granite bloom phi falcon-7b".split())
def test_a_difference_of_logits_at_every_layer(
    tiny: Tiny, twin: Callable[[str], Plain], name: str
) -> None:
    model, plain = tiny(name), twin(name)
    trace = model.capture(PROMPT)
    logits = unembed(plain, plain.run(trace.token_ids).hidden).double()  # (L + 1, T, V)
    apart = (logits[..., A] - logits[..., B]).flatten()
    of_chances = logits.log_softmax(dim=-1)
    np.testing.assert_allclose(apart, (of_chances[..., A] - of_chances[..., B]).flatten())

    drawn = grid(model, trace, width=64, target_id=PAIR)
    np.testing.assert_allclose(drawn["target_logit"], apart, atol=2e-4)
    single = grid(model, trace, width=64, target_id=A)
    of_no_pair = [name for name in drawn if not name.startswith("target_")]
    pd.testing.assert_frame_equal(drawn[of_no_pair], single[of_no_pair])
    assert single["target_rank"].dtype == np.int64

    for frame in (drawn, statistics(model, trace, PAIR)):
        assert frame["target_prob"].isna().all()
        assert frame["target_prob"].dtype == single["target_prob"].dtype
        assert frame["target_rank"].isna().all()
        assert frame["target_rank"].dtype == pd.Int64Dtype()
    alone = statistics(model, trace, A)
    kept = [name for name in alone if not name.startswith("target_")]
    pd.testing.assert_frame_equal(statistics(model, trace, PAIR)[kept], alone[kept])

    ways = followed(model, trace, 3, [7], PAIR)
    assert ways["token_id"].unique().tolist() == [7, A, B]
    own, difference = (ways[(ways["other"] == "") == single] for single in (True, False))
    pd.testing.assert_frame_equal(
        own.astype({"rank": int}), followed(model, trace, 3, [7, A, B]), check_dtype=False
    )
    at_3 = (logits[:, 3, A] - logits[:, 3, B]).numpy()
    np.testing.assert_allclose(difference["logit"], at_3, atol=2e-4)
    assert difference["layer"].tolist() == list(range(model.n_layers + 1))
    assert (difference["token_id"] == A).all()
    assert [*difference["predicted"][:1], *difference["other"][:1]] == list(model.decode(PAIR))
    assert difference[["prob", "rank"]].isna().all(axis=None)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite"])
def test_parts_of_a_difference(tiny: Tiny, name: str) -> None:
    """Against NumPy: of two tokens' own rows, which add up to two logits."""
    model = tiny(name)
    trace = model.capture(PROMPT)
    of_a, of_b = (attribution(model, trace, each, 4)["logit"].to_numpy() for each in PAIR)
    for against in (None, "mean"):
        frame = attribution(model, trace, PAIR, 4, against)
        np.testing.assert_allclose(frame["logit"], of_a - of_b, atol=1e-6)
    pd.testing.assert_frame_equal(attribution(model, trace, A, 4, B), frame)
    [own] = target_logit(model, trace, PAIR, 4).itertuples()
    assert own.logit == pytest.approx(frame["logit"].sum(), abs=1e-3)
    logits = trace.logits[4].double()
    assert own.own == pytest.approx(float(logits[A] - logits[B]), abs=1e-4)
    assert pd.isna(own.rank)
    assert pd.isna(own.prob)
    assert (own.predicted, own.other) == model.decode(PAIR, after=trace.token_ids[:5])
    with pytest.raises(InputError, match="comparison already"):
        attribution(model, trace, PAIR, 4, 5)


def test_pairs_that_are_none(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    refused: list[tuple[Any, str]] = [
        ((7, 7), "two different words"),
        ((7,), "pair of tokens, not 1"),
        ((1, 2, 3), "pair of tokens, not 3"),
        ((1, model.d_vocab), "0 to 299"),
        ((1, 2.5), "whole number"),
        ("12", "whole number"),
    ]
    for wrong, said in refused:
        for view in (statistics, grid):
            with pytest.raises(InputError, match=said):
                view(model, trace, target_id=wrong)
        with pytest.raises(InputError, match=said):
            attribution(model, trace, wrong, 4)
        with pytest.raises(InputError, match=said):
            followed(model, trace, 4, target_id=wrong)
    assert check_target(np.array([3, 4]), 5) == check_target([3, 4], 5) == (3, 4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "mode"), [("llama", "states"), ("gpt2", "mlp_frozen_norm"), ("granite", "states")]
)
def test_the_script_of_a_pair_prints_the_same(
    tiny: Tiny, tiny_folder: Callable[[str], Path], name: str, mode: str
) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    [paths] = modules(model).to_dict("records")
    what: dict[str, Any] = {"mode": mode, "target_id": PAIR, "position": 4, "against": "mean"}
    code = script(str(tiny_folder(name)), None, PROMPT, k=3, **what, **paths)
    ran: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "script.py", "exec"), ran)
    wanted = grid(model, trace, mode, width=64, target_id=PAIR)
    found = [row[-1] for row in ran["statistics"]]
    np.testing.assert_allclose(found, wanted["target_logit"], atol=2e-4)
    parts = attribution(model, trace, PAIR, 4)
    np.testing.assert_allclose([v for *_, v in ran["attribution"]], parts["logit"], atol=1e-4)
    assert " minus " in printed.getvalue()
    assert "AGAINST" not in code
