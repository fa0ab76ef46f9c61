"""The final norm held fixed: on every family it stays the norm, and what goes through adds up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from strata.errors import ModelError
from strata.model import Model
from strata.model.frozen_norm import freeze
from tests.plain import Plain
from tests.tiny import PROMPT, WITHOUT_WRITES

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]


def uncapped(network: torch.nn.Module, states: torch.Tensor, plain: Plain) -> torch.Tensor:
    """(T, V): logits before any cap, from the output of the head inside a run of its own."""
    kept: list[torch.Tensor] = []
    head = network.get_output_embeddings()
    hooks = [
        plain.blocks[-1].register_forward_hook(
            lambda m, a, out: (
                (states[:, None], *out[1:]) if isinstance(out, tuple) else states[:, None]
            )
        ),
        head.register_forward_hook(lambda m, a, out: kept.append(out[:, 0])),
    ]
    try:
        with torch.no_grad():
            network(input_ids=torch.ones(len(states), 1, dtype=torch.int64), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return kept[0]


def factor(network: torch.nn.Module) -> float:
    """What a family does to the head's output, before a cap, read from its configuration."""
    config = network.config
    return {
        "granite": lambda: 1 / config.logits_scaling,
        "granitemoe": lambda: 1 / config.logits_scaling,
        "hyperclovax": lambda: config.logits_scaling,
        "cohere": lambda: config.logit_scale,
        "cohere2": lambda: config.logit_scale,
    }.get(config.model_type, lambda: 1.0)()


def test_frozen_at_a_state_it_is_the_norm_there(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    states = model.capture(PROMPT).hidden[-1]
    if name == "opt-post_norm":  # projects out of the stream, which is no norm
        with pytest.raises(ModelError, match="final norm"):
            freeze(model.float_head, states)
        return
    frozen = freeze(model.float_head, states)
    assert (frozen.normed(states) + frozen.bias - model.normed(states)).abs().max() <= 2e-5
    zero = frozen.normed(torch.zeros_like(states))
    assert zero.abs().max() == 0, "without its bias it makes nothing of nothing"
    doubled = frozen.normed(2 * states)
    assert torch.allclose(doubled, 2 * frozen.normed(states), rtol=1e-5, atol=1e-6), "it is linear"


def test_embedding_writes_and_biases_sum_to_the_logits_before_any_cap(
    name: str, tiny: Tiny, twin: Twin
) -> None:
    if name in WITHOUT_WRITES:
        return
    model, plain = tiny(name), twin(name)
    ids = model.capture(PROMPT).token_ids
    run = plain.run(ids)  # states and writes by hooks that Strata has no part in
    frozen = freeze(model.float_head, run.hidden[-1])
    total = frozen.norm_bias() + frozen.head_bias() + frozen.logits(run.states[0])
    for write in (*run.attn, *run.mlp):
        total = total + frozen.logits(write)
    expected = uncapped(plain.network, run.hidden[-1], plain) * factor(plain.network)
    assert (total - expected).abs().max() <= 1e-4
    cap = getattr(plain.network.config, "final_logit_softcapping", None)
    logits = cap * torch.tanh(total / cap) if cap else total
    assert (logits - run.logits).abs().max() <= 1e-4
    if cap:
        assert (total - run.logits).abs().max() > 0.1, "the cap does not bite in this test"


@pytest.mark.parametrize("name", ["gptj", "codegen", "phi"])
def test_the_heads_bias_counts_once(name: str, tiny: Tiny, twin: Twin) -> None:
    model = tiny(name)
    frozen = freeze(model.float_head, model.capture(PROMPT).hidden[-1])
    bias = twin(name).network.get_output_embeddings().bias
    assert torch.equal(frozen.head_bias(), bias)
    assert bias.abs().max() > 0.01
    assert frozen.logits(torch.zeros(model.d_model)).abs().max() == 0


def test_a_single_tokens_logit_is_that_of_all(tiny: Tiny) -> None:
    model = tiny("granite")
    states = model.capture(PROMPT).hidden
    frozen = freeze(model.float_head, states[-1])
    every = frozen.logits(states[0])
    assert torch.allclose(
        frozen.along(states[0], frozen.matrix[17]).float(), every[:, 17], atol=1e-5
    )
    third = frozen.at(slice(3, 4)).logits(states[0, 3:4])
    assert torch.allclose(third[0], every[3], atol=1e-6)


def test_what_is_no_scaling_is_refused(tiny: Tiny) -> None:
    class Squashed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(x)

    model = tiny("llama")
    states = model.capture(PROMPT).hidden[-1]
    with pytest.raises(ModelError, match="cannot be attributed") as refusal:
        freeze(replace(model.float_head, norm=Squashed()), states)
    assert "\n" not in str(refusal.value)
