"""Where a logit comes from: each part by the network's own head, and what it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strata.concepts.logit_lens import attribution, target_logit
from strata.errors import InputError
from strata.model import Model
from strata.trace import Scale
from tests.concepts.logit_lens.test_logit_lens import unembed
from tests.plain import Plain
from tests.tiny import PROMPT

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]


def test_attribution_names_each_part_once(tiny: Tiny) -> None:
    model = tiny("phi")
    frame = attribution(model, model.capture(PROMPT), 7, 2)
    assert list(frame) == ["part", "block", "logit"]
    assert frame["part"].tolist() == ["embedding", *["attn", "mlp"] * 3, "norm_bias", "head_bias"]
    assert frame["block"].isna().tolist() == [True, *[False] * 6, True, True]
    assert frame["block"].dropna().tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("name", "llama gpt2 gemma2 cohere granite phi bloom falcon-7b opt".split())
def test_each_part_by_the_networks_own_head(name: str, tiny: Tiny, twin: Twin) -> None:
    """A norm divides a state by its size, so that the part of a sum is what the network makes of
    it alone, times its size, by the size of the sum. Of a run whose MLP is turned round."""
    model, plain, position = tiny(name), twin(name), 3
    edit = Scale(1, -0.7, "mlp")
    trace = model.capture(PROMPT, [edit])
    run = plain.run(trace.token_ids, (edit,))
    norm = plain.network.get_submodule(plain.norm_path)
    centred = type(norm).__name__.endswith("LayerNorm")
    cap = getattr(plain.network.config, "final_logit_softcapping", None)
    epsilon = next(getattr(norm, n) for n in ("eps", "variance_epsilon") if hasattr(norm, n))

    def size(state: Tensor) -> Tensor:
        state = state - state.mean(dim=-1, keepdim=True) if centred else state
        return (state.square().mean(dim=-1) + epsilon).sqrt()

    def logits(states: Tensor) -> Tensor:  # (n, D) -> (n, V)
        found = unembed(plain, states[:, None])[:, 0].double()
        return cap * (found / cap).atanh() if cap else found

    both = zip(run.attn, run.mlp, strict=True)
    parts = torch.stack([run.states[0], *(each for pair in both for each in pair)])[:, position]
    biases = logits(torch.zeros_like(parts[:1]))  # (1, V)
    share = size(parts) / size(run.states[-1][position])
    wanted = (logits(parts) - biases) * share[:, None]  # (2L + 1, V)
    for target, against, taken in (
        (7, None, 0 * wanted[:, 0]),
        (7, "mean", wanted.mean(dim=-1)),
        (7, 9, wanted[:, 9]),
        ((7, 9), None, wanted[:, 9]),
    ):
        frame = attribution(model, trace, target, position, against)
        np.testing.assert_allclose(
            frame["logit"][:-2], wanted[:, 7] - taken, atol=2e-4, err_msg=f"{target} {against}"
        )
    own = attribution(model, trace, 7, position, 9)["logit"][-2:].sum()
    assert own == pytest.approx(float(biases[0, 7] - biases[0, 9]), abs=1e-4)


@pytest.mark.parametrize("name", ["phi", "gpt2"])  # biases of norm and head; of the norm
def test_an_attribution_against_others_is_the_difference_of_bare_ones(
    tiny: Tiny, name: str
) -> None:
    model = tiny(name)
    trace = model.capture(PROMPT)
    bare = np.stack(
        [attribution(model, trace, token, 2)["logit"].to_numpy() for token in range(model.d_vocab)]
    )  # (V, 2L + 3)
    for against, taken in (("mean", bare.mean(axis=0)), (9, bare[9])):
        frame = attribution(model, trace, 7, 2, against)
        assert list(frame) == ["part", "block", "logit"]
        np.testing.assert_allclose(frame["logit"], bare[7] - taken, atol=1e-6)


@pytest.mark.parametrize("against", [7, "median", 2.5, -1, 10**6])
def test_what_a_token_cannot_be_compared_with(tiny: Tiny, against: Any) -> None:
    model = tiny("llama")
    for view in (attribution, target_logit):
        with pytest.raises(InputError, match=r"[Cc]ompare|[Tt]oken"):
            view(model, model.capture(PROMPT), 7, 2, against)


@pytest.mark.parametrize("factor", [0.3, -0.7])
def test_attribution_follows_an_edit_of_a_part_but_not_of_the_stream(
    tiny: Tiny, factor: float
) -> None:
    model = tiny("llama")
    edited = model.capture(PROMPT, [Scale(1, factor, "mlp")])
    logits = edited.logits[3].double()
    for against, taken in ((None, 0.0), ("mean", float(logits.mean())), (9, float(logits[9]))):
        total = attribution(model, edited, 5, 3, against)["logit"].sum()
        assert total == pytest.approx(float(logits[5]) - taken, abs=1e-3)
    with pytest.raises(InputError, match="changed the stream"):
        attribution(model, model.capture(PROMPT, [Scale(1, 0.3)]), 5, 3)
