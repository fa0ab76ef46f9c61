"""One pass over the logits: exact where they lie far apart, and only of writes that hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from strata.concepts.logit_lens import attribution, grid, lens, proof, statistics
from strata.concepts.reading import read
from strata.errors import ModelError
from strata.model import Model
from strata.trace import ModelCheck
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]


def test_logits_far_apart_keep_their_probabilities_and_divergences(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of them are more than 80 below the largest, where exponentials are cut off."""
    model = tiny("gpt2")
    trace = model.capture(PROMPT)
    monkeypatch.setattr(model, "float_head", replace(model.float_head, logit_scale=600.0))
    logits = model.float_head.unembed(trace.hidden).detach().double()  # (L + 1, T, V)
    assert ((logits.amax(dim=-1, keepdim=True) - logits) > 80).float().mean() > 0.5
    logprobs = logits.log_softmax(dim=-1)
    frame = statistics(model, trace, 7)
    wanted = {
        "entropy": -(logprobs.exp() * logprobs).sum(dim=-1),
        "kl_to_final": (logprobs[-1].exp() * (logprobs[-1] - logprobs)).sum(dim=-1),
        "target_prob": logprobs[..., 7].exp(),
    }
    assert wanted["kl_to_final"].max() > 80
    for name, values in wanted.items():
        np.testing.assert_allclose(frame[name], values.flatten(), rtol=1e-3, atol=1e-3)
    best = lens(model, trace, 3)["prob"].to_numpy().reshape(-1, 3)
    top = logprobs.exp().topk(3, dim=-1).values.flatten(0, 1)
    np.testing.assert_allclose(best, top, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("mode", ["states", "deltas_own_norm", "mlp_frozen_norm"])
def test_cells_in_one_row_are_the_same_cells(tiny: Tiny, mode: str) -> None:
    model = tiny("gpt2")
    reading = read(model, model.capture(PROMPT), mode)
    row = reading.in_one_row()
    n_layers, n_tokens = reading.shape
    assert row.shape == (1, n_layers * n_tokens)
    whole = reading.logits(slice(0, n_layers), slice(0, n_tokens))
    torch.testing.assert_close(
        row.logits(slice(0, 1), slice(0, n_layers * n_tokens))[0], whole.flatten(0, 1)
    )


def test_logits_are_let_go_before_the_next_are_made(tiny: Tiny) -> None:
    model = tiny("llama")
    reading = read(model, torch.randn(2, 120, model.d_model))
    alive: list[int] = []
    for span in reading.spans():
        for _, logits in reading.chunks(span):
            alive.append(sys.getrefcount(logits))
            del logits
    assert len(alive) > 1
    assert set(alive) == {2}, "the generator keeps none"


def test_a_run_whose_writes_fail_is_not_attributed(tiny: Tiny) -> None:
    model = tiny("llama")
    run = model.capture(PROMPT)
    failed = replace(run, verify=lambda trace: ModelCheck(0.0, 1.0, "These writes are refused."))
    with pytest.raises(ModelError, match="These writes are refused"):
        attribution(model, failed, 5, 3)
    frame = proof(model, failed, 3)
    assert frame["terms"].tolist() == [1, model.n_layers + 1]  # embedding and whole deltas
    assert frame["ok"].all()
    assert grid(model, failed, "deltas_frozen_norm")["target_logit"].notna().all()
