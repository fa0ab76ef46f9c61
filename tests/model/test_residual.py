"""Families whose blocks multiply the stream before they add: their writes, edits and logits."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from strata.concepts.hidden_states import archive
from strata.concepts.logit_lens import attribution, lens, proof
from strata.errors import ModelError
from strata.model import Model
from strata.trace import Scale, Trace
from tests import tiny
from tests.families import build
from tests.families.outcome import load
from tests.tiny import PROMPT

SCALARS = (0.8, 1.3, -0.6, 0.9995)  # the last so near to 1 that rounding it would be seen
MIXED: dict[str, Any] = {"hidden_size_per_layer_input": 0, "enable_moe_block": False}
EXPERTS = MIXED | {
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
}
NAMES = ("beam", "gemma4", "gemma4_text", "gemma4_text alone", "gemma4_text moe", "gemma4_unified")


def network_of(name: str) -> Any:
    family, _, kind = name.partition(" ")
    network = build.build(family, **{"": {}, "alone": MIXED, "moe": EXPERTS}[kind])
    for scalar, (_, buffer) in zip(
        SCALARS,
        [each for each in network.named_buffers() if each[0].endswith("layer_scalar")],
        strict=False,
    ):
        buffer.fill_(scalar)
    return network


@dataclass(frozen=True)
class Known:
    """The model and an independent copy of its network with what is known of each block."""

    model: Model
    network: Any
    blocks: list[Any]

    def coefficients(self, block: int) -> tuple[float, float, float]:
        """By what stream, attention and MLP are multiplied, as the family's code has it."""
        if self.model.family == "beam":
            n = 2 * (block + 1)
            after = math.sqrt(n / (n + 1))  # what the MLP's sum leaves of the attention's
            return math.sqrt((n - 1) / n) * after, after / math.sqrt(n), 1 / math.sqrt(n + 1)
        return (SCALARS[block],) * 3

    def modules(self, block: int) -> dict[str, list[Any]]:
        found = self.blocks[block]
        third = [m for name, m in found.named_children() if name == "post_per_layer_input_norm"]
        return {
            "attn": [found.post_attention_layernorm],
            "mlp": [found.post_feedforward_layernorm, *third],
        }

    @torch.no_grad()
    def run(
        self, ids: Tensor, edit: Scale | None = None, frozen: dict[Any, Tensor] | None = None
    ) -> tuple[list[Tensor], dict[Any, Tensor], Tensor]:
        """States, what each module gave and the logits, by hooks of its own. `frozen`: what modules
        give in place of their own."""
        states: list[Tensor] = []
        given: dict[Any, Tensor] = {}
        with ExitStack() as stack:

            def listen(module: Any, hook: Callable[..., Any]) -> None:
                stack.callback(module.register_forward_hook(hook).remove)

            for b, block in enumerate(self.blocks):
                enter = block.register_forward_pre_hook(lambda m, a: states.append(a[0][0].clone()))
                stack.callback(enter.remove)
                for part, modules in self.modules(b).items():
                    for i, module in enumerate(modules):

                        def hook(m: Any, a: Any, out: Tensor, key: Any = (b, part, i)) -> Any:
                            if frozen is not None:
                                return frozen[key].reshape(out.shape)
                            if edit and (edit.block, edit.part) == key[:2]:
                                out = out * edit.factor
                            given[key] = out.reshape(len(ids), -1)
                            return out

                        listen(module, hook)
            listen(self.blocks[-1], lambda m, a, out: states.append(_first(out)[0].clone()))
            logits = self.network(input_ids=ids[None], use_cache=False).logits[0]
        return states, given, logits


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


@pytest.fixture(scope="module")
def known() -> Callable[[str], Known]:
    @cache
    def of(name: str) -> Known:
        model, network = load(network_of(name)), network_of(name)
        return Known(model, network, list(network.get_submodule(model.blocks_path)))

    return of


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max() / theirs.abs().max())


def writes_of(known: Known, given: dict[Any, Tensor], part: str) -> Tensor:
    """(L, T, D) from what the modules gave and the family's own coefficients."""
    which = ("attn", "mlp").index(part) + 1
    return torch.stack(
        [
            known.coefficients(b)[which]
            * sum(given[b, part, i] for i in range(len(known.modules(b)[part])))
            for b in range(len(known.blocks))
        ]
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_stream_is_multiplied_and_then_added_to(
    name: str, known: Callable[[str], Known]
) -> None:
    of = known(name)
    trace = of.model.capture(PROMPT)
    assert of.model.check.ok
    assert trace.check.ok
    states, given, _ = of.run(trace.token_ids)
    wanted = [of.coefficients(b)[0] for b in range(of.model.n_layers)]
    assert trace.residual == pytest.approx(wanted, abs=1e-6)
    assert torch.equal(trace.hidden, torch.stack(states))
    for part in ("attn", "mlp"):
        assert apart(getattr(trace, part), writes_of(of, given, part)) <= 1e-5, part
    assert apart(trace.added, trace.attn + trace.mlp) <= 1e-5
    assert "multiplies the stream by a number" in of.model.switched_off["residual"]


@pytest.mark.parametrize("name", NAMES)
def test_an_edit_scales_only_what_its_part_added(name: str, known: Callable[[str], Known]) -> None:
    of = known(name)
    trace = of.model.capture(PROMPT)
    edits = [Scale(b, -0.7, part) for b in range(of.model.n_layers) for part in ("attn", "mlp")]
    for edit in edits:
        edited = of.model.capture(PROMPT, [edit])
        states, given, logits = of.run(trace.token_ids, edit)
        assert apart(edited.hidden, torch.stack(states)) <= 1e-5
        assert apart(edited.logits, logits) <= 1e-5
        assert edited.check.write_ok
        clean, scaled = (getattr(each, edit.part)[edit.block] for each in (trace, edited))
        if edit.part == "attn" or len(of.modules(edit.block)["mlp"]) == 1:
            assert apart(scaled, -0.7 * clean) <= 1e-5
        assert apart(scaled, writes_of(of, given, edit.part)[edit.block]) <= 1e-5
    [last] = [e for e in edits if (e.block, e.part) == (of.model.n_layers - 1, "attn")]
    for group, found in of.model.replay(trace, [*edits, last]):
        for i, state in zip(group, found, strict=True):
            wanted = of.run(trace.token_ids, [*edits, last][i])[0][-1][-1]
            assert apart(state, wanted) <= 1e-4, edits[i]


@pytest.mark.parametrize("name", ["beam", "gemma4_text alone"])
def test_replay_starts_above_a_scaled_mlp(name: str, known: Callable[[str], Known]) -> None:
    """Computed from the clean run: what the block keeps of the stream counts there, too."""
    model = known(name).model
    trace = model.capture(PROMPT)
    edits = [Scale(b, -0.7, "mlp") for b in range(model.n_layers)]
    for group, states in model.replay(trace, edits, whole=False):
        for i, state in zip(group, states, strict=True):
            wanted = known(name).run(trace.token_ids, edits[i])[0][-1][-1]
            assert apart(state, wanted) <= 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_a_write_counts_by_what_later_blocks_leave_of_it(
    name: str, known: Callable[[str], Known]
) -> None:
    """With all other outputs held fixed, the last state lacks what is left of an absent one."""
    of = known(name)
    trace = of.model.capture(PROMPT)
    states, given, _ = of.run(trace.token_ids)
    for part in ("attn", "mlp"):
        left = trace.carried(getattr(trace, part))
        for block in range(of.model.n_layers):
            absent = {key: out * (key[:2] != (block, part)) for key, out in given.items()}
            without = of.run(trace.token_ids, frozen=absent)[0][-1]
            assert apart(left[block], states[-1] - without) <= 1e-4
    nothing = {key: torch.zeros_like(out) for key, out in given.items()}
    assert apart(trace.embedding, of.run(trace.token_ids, frozen=nothing)[0][-1]) <= 1e-5


@pytest.mark.parametrize("name", ["beam", "gemma4_text"])
def test_what_is_left_adds_up_to_the_logits(name: str, known: Callable[[str], Known]) -> None:
    model = known(name).model
    trace = model.capture(PROMPT)
    for position in (0, len(trace.tokens) - 1):
        assert proof(model, trace, position)["ok"].all()
        assert proof(model, trace, position)["terms"][1] == 2 * model.n_layers + 1
    last = len(trace.tokens) - 1
    parts = attribution(model, trace, 7, last)
    cap = model.architecture.logit_cap
    logit = float(model.unembed(trace.hidden[-1, last])[7])
    uncapped = cap * math.atanh(logit / cap) if cap else logit
    assert parts["logit"].sum() == pytest.approx(uncapped, abs=1e-4)
    for part in ("attn", "mlp"):
        table = lens(model, trace, model.d_vocab, f"{part}_frozen_norm")
        cells = table[(table["position"] == last) & (table["token_id"] == 7)]
        wanted = parts[parts["part"] == part]["logit"]
        np.testing.assert_allclose(cells["logit"], wanted, atol=1e-5)
    both = lens(model, trace, model.d_vocab, "deltas_frozen_norm")
    cells = both[(both["position"] == last) & (both["token_id"] == 7)]["logit"]
    wanted = parts.dropna(subset="block").groupby("block")["logit"].sum()
    np.testing.assert_allclose(cells, wanted, atol=1e-4)


def test_the_download_says_by_what_blocks_multiply(known: Callable[[str], Known]) -> None:
    def arrays(trace: Trace) -> Any:
        return np.load(io.BytesIO(archive(trace)["content"][0]))

    trace = known("beam").model.capture(PROMPT)
    np.testing.assert_array_equal(arrays(trace)["residual"], trace.residual)
    plain = load(tiny.build("llama")).capture(PROMPT)
    assert "residual" not in arrays(plain)


@pytest.mark.parametrize("family", ["llama", "falcon_h1", "gemma4_text"])
def test_blocks_that_only_add_are_told_as_such(family: str) -> None:
    network = build.build(family)
    for name, buffer in network.named_buffers():
        if name.endswith("layer_scalar"):
            buffer.fill_(1)
    model = load(network)
    trace = model.capture(PROMPT)
    assert trace.check.ok
    assert model.architecture.residual == trace.residual == ()
    assert "residual" not in model.switched_off
    assert torch.equal(trace.added, trace.hidden.diff(dim=0))
    attn = trace.attn
    assert trace.carried(attn) is attn
    assert torch.equal(trace.embedding, trace.hidden[0])


def test_in_coarse_numbers_the_number_type_is_the_reason() -> None:
    model = load(network_of("gemma4_text").bfloat16())
    assert "writes need float32" in model.write_refusal
    trace = model.capture(PROMPT)
    assert trace.residual == ()
    with pytest.raises(ModelError, match="writes need float32"):
        _ = trace.attn


@pytest.mark.parametrize(
    ("family", "reason"),
    [("doge", "by a learned number, so"), ("zaya", "by a learned number, and shift it by another")],
)
def test_a_number_for_each_dimension_is_not_read(family: str, reason: str) -> None:
    assert reason in load(build.build(family)).write_refusal
