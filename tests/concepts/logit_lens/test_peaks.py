"""Tokens by their best probability at any layer, against all of them in plain transformers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from strata.concepts import reading
from strata.concepts.logit_lens import peaks
from strata.errors import InputError
from strata.model import Model
from tests.concepts.logit_lens.test_logit_lens import unembed
from tests.plain import Plain
from tests.tiny import PROMPT


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        *(("llama", 100), ("gpt2", 2), ("gemma2", 1), ("granite", 3), ("bloom", 100)),
        *(("cohere", 2), ("phi", 1), ("falcon-7b", 4)),
    ],
)
def test_the_best_of_all_layers(
    tiny: Callable[[str], Model],
    twin: Callable[[str], Plain],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    rows: int,
) -> None:
    monkeypatch.setattr(reading, "ROWS", rows)  # several chunks of layers
    model = tiny(name)
    trace = model.capture(PROMPT)
    states = twin(name).run(trace.token_ids).hidden[:, 3:4]
    probs = unembed(twin(name), states)[:, 0].double().softmax(dim=-1).numpy()  # (L + 1, V)
    frame = peaks(model, trace, 3, model.d_vocab)
    assert list(frame) == ["token_id", "predicted", "layer", "prob", "final_prob"]
    ids = frame["token_id"].to_numpy()
    assert sorted(ids) == list(range(model.d_vocab))
    np.testing.assert_allclose(frame["prob"], probs.max(axis=0)[ids], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(frame["final_prob"], probs[-1][ids], rtol=1e-3, atol=1e-7)
    assert (frame["layer"] == probs.argmax(axis=0)[ids]).mean() > 0.98  # but for ties
    assert frame["prob"].is_monotonic_decreasing
    after = trace.token_ids[:4]
    assert frame["predicted"].tolist() == list(model.decode(ids.tolist(), after=after))
    assert peaks(model, trace, 3, 5).equals(frame.head(5))
    with pytest.raises(InputError, match="position"):
        peaks(model, trace, 99)


def test_a_word_that_peaks_half_way(model: Model) -> None:
    """ " capital" is far down at the end, and second at layer 29."""
    trace = model.capture("The capital of France is")
    by_name = peaks(model, trace, 4).set_index("predicted")
    row, at_29 = by_name.loc[" capital"], trace.hidden[29, 4]
    chance = torch.softmax(model.unembed(at_29).double(), dim=-1)[int(row["token_id"])]
    assert row["layer"] == 29
    assert row["prob"] == pytest.approx(float(chance), abs=1e-4)
    assert row["final_prob"] < 0.01 < row["prob"]
