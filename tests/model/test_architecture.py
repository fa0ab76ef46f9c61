"""Every family's row: the two identities, and each state and write against plain transformers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig

from strata.errors import ModelError
from strata.model import Model, load_model
from strata.model.families import ROWS
from strata.trace import Scale, Trace
from tests import tiny as tiny_models
from tests.plain import Plain, Run
from tests.tiny import EXPERTS, NAMES, PROMPT, WITHOUT_WRITES

Tiny = Callable[[str], Model]
Twin = Callable[[str], Plain]


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    return float((a - b).abs().max() / b.abs().max())


@cache
def clean_run(model: Model) -> Trace:
    return model.capture(PROMPT)


@cache
def plain_run(plain: Plain) -> Run:
    return plain.run(torch.tensor(tiny_models.tokenizer()(PROMPT).input_ids))


def test_configurations_are_the_measured_ones() -> None:
    """Those of `tests.families` reach the other rows."""
    assert len(NAMES) == 60
    assert len(WITHOUT_WRITES) == 2
    types = {tiny_models.config(name).model_type for name in NAMES}
    assert len(types) == 54
    assert types <= set(ROWS)


def test_parameters_are_random_and_windows_bite(name: str, twin: Twin) -> None:
    network = twin(name).network
    for key, parameter in network.named_parameters():
        assert parameter.numel() == 1 or parameter.std() > 0, f"{key} is constant"
        assert parameter.abs().max() < 10, f"{key} is not scaled sanely"
    window = {"window_size", "sliding_window"} & vars(network.config).keys()
    if not any(getattr(network.config, key) == tiny_models.WINDOW for key in window):
        return
    wide = tiny_models.build(name, **dict.fromkeys(window, 64))
    wide.load_state_dict(network.state_dict())
    ids = torch.tensor([tiny_models.tokenizer()(PROMPT).input_ids])
    with torch.no_grad():
        short, long = network(input_ids=ids).logits, wide(input_ids=ids).logits
    assert not torch.allclose(short[0, -1], long[0, -1], atol=1e-3), "the window is never reached"


def test_identities_hold_on_every_family(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    trace = clean_run(model)
    for check, run in ((model.check, "at load"), (trace.check, "of this run")):
        assert check.lens_ok, f"lens {run}: {check}"
        assert check.lens_error <= 1e-4, f"lens {run}: {check}"
        if name in WITHOUT_WRITES:
            assert not check.write_ok, run
            assert not check.ok, run
            assert "writes" in check.reason, run
        else:
            assert check.write_error <= 2e-6, f"writes {run}: {check}"
            assert check.ok, run
            assert check.reason == "", run
    assert trace.check is not model.check


def test_states_and_logits_are_the_models_own(name: str, tiny: Tiny, twin: Twin) -> None:
    """Against `output_hidden_states` and plain hooks: bit for bit, since nothing was changed."""
    model = tiny(name)
    trace = clean_run(model)
    plain = twin(name)
    run = plain_run(plain)
    official = plain.official_states(trace.token_ids)

    assert model.family == plain.network.config.model_type
    assert trace.hidden.shape == (model.n_layers + 1, len(trace.tokens), model.d_model)
    assert trace.hidden.dtype == torch.float32
    assert len(official) == model.n_layers + 1
    for layer, state in enumerate(official[:-1]):
        assert torch.equal(trace.hidden[layer], state), f"hidden[{layer}]"
    assert torch.equal(trace.hidden, run.hidden), "hidden"
    assert torch.equal(trace.logits, run.logits), "logits"

    logits = model.unembed(trace.hidden[-1])
    assert logits.dtype == torch.float32
    assert logits.shape == (len(trace.tokens), model.d_vocab)
    assert (logits - run.logits).abs().max() <= 1e-4, "unembed(hidden[L]) is not the model's logits"
    normed = model.normed(trace.hidden[-1])
    assert (normed - official[-1]).abs().max() <= 1e-4, "normed(hidden[L])"
    if normed.shape == trace.hidden[-1].shape:  # some project to the width of the embedding
        assert (normed - trace.hidden[-1]).abs().max() > 0.1, "hidden[L] is before the norm"


def test_unembed_is_the_norm_and_head_at_every_state(name: str, tiny: Tiny, twin: Twin) -> None:
    """Each state put in the place of hidden[L] of a run gives the logits of that run."""
    model = tiny(name)
    trace = clean_run(model)
    states = trace.hidden[:, -1]  # (L + 1, D)
    network, blocks = twin(name).network, twin(name).blocks

    def replace_state(module: torch.nn.Module, args: object, output: object) -> object:
        return (states[:, None], *output[1:]) if isinstance(output, tuple) else states[:, None]

    hook = blocks[-1].register_forward_hook(replace_state)
    try:
        ids = torch.ones(len(states), 1, dtype=torch.int64)
        with torch.no_grad():
            expected = network(input_ids=ids, use_cache=False).logits[:, 0]  # (L + 1, V)
    finally:
        hook.remove()
    assert (model.unembed(states) - expected).abs().max() <= 1e-4
    # any leading shape, one state at a time included
    assert torch.allclose(model.unembed(states[0]), expected[0], atol=1e-4)
    assert torch.allclose(model.unembed(states[None])[0], expected, atol=1e-4)


def test_writes_are_what_each_part_added(name: str, tiny: Tiny, twin: Twin) -> None:
    model = tiny(name)
    trace = clean_run(model)
    if name in WITHOUT_WRITES:
        for part in ("attn", "mlp"):
            with pytest.raises(ModelError, match="writes") as refusal:
                getattr(trace, part)
            assert "\n" not in str(refusal.value)
            with pytest.raises(ModelError, match="writes"):
                model.capture(PROMPT, [Scale(0, 0.5, part)])
            with pytest.raises(ModelError, match="writes"):
                model.generate(PROMPT, 2, [Scale(0, 0.5, part)])
        return
    assert trace.attn.shape == trace.mlp.shape == (model.n_layers, *trace.hidden.shape[1:])
    written = trace.attn + trace.mlp
    assert apart(trace.hidden[:-1] + written, trace.hidden[1:]) <= 1e-6, "identity"
    run = plain_run(twin(name))
    for part in ("attn", "mlp"):
        ours, theirs = getattr(trace, part), torch.stack(getattr(run, part))
        assert apart(ours, theirs) <= 1e-6, part
        assert theirs.abs().amax(dim=(1, 2)).min() > 1e-3, f"{part} writes next to nothing"


@pytest.mark.parametrize("part", ["stream", "attn", "mlp"])
def test_edits_equal_plain_hooks(part: str, name: str, tiny: Tiny, twin: Twin) -> None:
    model = tiny(name)
    if part != "stream" and name in WITHOUT_WRITES:
        pytest.skip("no part edits where the writes are not known")
    clean = clean_run(model)
    plain = twin(name)
    unscaled = model.capture(PROMPT, [Scale(1, 1.0, part)])
    assert torch.equal(unscaled.hidden, clean.hidden)
    assert torch.equal(unscaled.logits, clean.logits)

    for positions in (None, (2, 5)):
        edit = Scale(1, 0.3, part, positions)
        touched = list(positions or range(len(clean.tokens)))
        others = [i for i in range(len(clean.tokens)) if i not in touched]
        edited = model.capture(PROMPT, [edit])
        run = plain.run(clean.token_ids, [edit])
        assert torch.equal(edited.hidden[:2], clean.hidden[:2]), "layers below the edit"
        assert apart(edited.hidden, run.hidden) <= 1e-5, "states"
        assert apart(edited.logits, run.logits) <= 1e-5, "logits"
        assert apart(edited.hidden[2:], clean.hidden[2:]) > 1e-2, "the edit is not felt"
        assert edited.check.lens_ok
        if part == "stream":
            expected = clean.hidden[2].clone()
            expected[touched] *= 0.3
            assert torch.equal(edited.hidden[2], expected), "hidden[b + 1] is scaled exactly"
        if name in WITHOUT_WRITES:
            continue
        assert edited.check.write_ok, "the identity holds in the edited run"
        if part == "attn":
            expected = clean.attn[1].clone()
            expected[touched] *= 0.3
            assert apart(edited.attn[1], expected) <= 1e-6, "the scaled write of attention"
            assert apart(edited.attn, torch.stack(run.attn)) <= 1e-5
        if part == "mlp":
            expected = clean.mlp[1].clone()
            expected[touched] *= 0.3
            assert torch.equal(edited.attn[1], clean.attn[1]), "attention runs before the MLP"
            assert apart(edited.mlp[1], expected) <= 1e-6, "the scaled write of the MLP"
            assert apart(edited.mlp, torch.stack(run.mlp)) <= 1e-5
        if part != "stream" and others:
            difference = edited.hidden[2][others] - clean.hidden[2][others]
            # Experts take together the tokens that chose them, so a product's shape may change.
            allowed = 2e-6 if name in EXPERTS else 0
            assert difference.abs().max() <= allowed, "positions that were not asked for"


def test_gradients_equal_plain_autograd(name: str, tiny: Tiny, twin: Twin) -> None:
    model = tiny(name)
    gradients = model.gradients(PROMPT)
    expected = twin(name).gradients(model.encode(PROMPT))
    assert gradients.shape == expected.shape == clean_run(model).hidden.shape
    for layer in range(len(gradients)):
        assert apart(gradients[layer], expected[layer]) <= 1e-4, f"layer {layer}"
    assert gradients[:, -1].abs().max() == 0, "the last position predicts nothing that is scored"
    assert gradients[:, :-1].abs().sum(dim=-1).min() > 0
    assert all(parameter.grad is None for parameter in model._network.parameters())


def test_generate_with_a_cache_equals_the_loop_without(
    name: str, tiny: Tiny, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny(name)
    generated: list[int] = []
    spell = model.texts.continuation

    def heard(token_ids: Tensor, after: Tensor) -> str:
        generated[:] = token_ids.tolist()
        return spell(token_ids, after)

    monkeypatch.setattr(model.texts, "continuation", heard)
    plain, ids = twin(name), model.encode(PROMPT)
    part = "stream" if name in WITHOUT_WRITES else "attn"
    last = len(ids) - 1  # the position that predicts the first new token
    for edits in (
        (),
        (Scale(1, -0.7),),
        (Scale(1, 4.0, part, (2, last, last + 2, last + 5)), Scale(0, -2.0, "stream", (last + 3,))),
    ):
        text = model.generate(PROMPT, 10, edits)
        expected = plain.greedy(ids, 10, edits, guess=generated)
        assert generated == expected, f"edits {edits}"
        assert text == model.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_batch_gives_what_each_prompt_gives_alone(name: str, tiny: Tiny, twin: Twin) -> None:
    model = tiny(name)
    texts = [PROMPT, "A dog", "The river is wide and slow."]
    for text, trace in zip(texts, model.capture_many(texts), strict=True):
        alone = clean_run(model) if text == PROMPT else model.capture(text)
        assert trace.tokens == alone.tokens
        assert torch.equal(trace.token_ids, alone.token_ids)
        size = alone.hidden.abs().amax(dim=-1)  # (L + 1, T)
        assert ((trace.hidden - alone.hidden).abs().amax(dim=-1) / size).max() <= 1e-5, "hidden"
        assert apart(trace.logits, alone.logits) <= 1e-5, "logits"
        if name not in WITHOUT_WRITES:
            assert apart(trace.attn, alone.attn) <= 1e-5
            assert apart(trace.mlp, alone.mlp) <= 1e-5
        assert trace.check.lens_ok
        assert trace.check.write_ok == (name not in WITHOUT_WRITES)


def test_states_alone_are_the_same_bit_for_bit(name: str, tiny: Tiny) -> None:
    model = tiny(name)
    texts = [PROMPT, "A dog", "The river is wide and slow."]
    pairs = zip(model.capture_many(texts), model.capture_many(texts, states_only=True), strict=True)
    for i, (whole, states) in enumerate(pairs):
        assert torch.equal(states.hidden, whole.hidden)
        assert (states.writes is None) == (whole.writes is None)
        assert whole.writes is None or torch.equal(states.writes, whole.writes)
        assert states.tokens == whole.tokens
        if states.verify is None:
            assert i > 0
            assert len(states.logits) == 0
        else:
            assert apart(states.logits, whole.logits) <= 1e-5
            assert states.check.ok == whole.check.ok
    if model.check.batch_ok:
        assert states.verify is None, "the head read every prompt"
    assert not model.architecture.head._forward_pre_hooks


# -- what is refused ----------------------------------------------------------------------------


def test_an_unknown_family_is_refused_with_the_place_to_add_it(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path)
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"strata/model/families\.py") as refusal:
        load_model(str(tmp_path))
    assert "vit" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_broken_final_norm_fails_the_lens_alone(tmp_path: Path) -> None:
    """A head that is not the model's own is found out, and only what needs it is refused."""
    model = load_model(str(tiny_models.save("gpt2", tmp_path)))
    with torch.no_grad():  # a norm that the model does not use any more
        model.architecture.norm.weight.mul_(1.5)
        model._network.transformer.ln_f = torch.nn.LayerNorm(model.d_model)
    check = model.capture(PROMPT).check
    assert check.lens_error > 1e-2
    assert not check.lens_ok
    assert check.write_ok
    assert not check.ok
    assert "norm" in check.reason


def test_a_broken_write_fails_the_writes_alone(tiny: Tiny) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    hook = model._network.model.layers[1].mlp.register_forward_hook(lambda m, a, o: o * 1.01)
    try:
        # runs before Strata's hook, so the writes still add up: what they were is what counts
        assert model.capture(PROMPT).check.ok
    finally:
        hook.remove()
    hook = model._network.model.layers[1].register_forward_hook(lambda m, a, o: o + 0.01)
    try:
        check = model.capture(PROMPT).check  # a block that adds something beside its writes
    finally:
        hook.remove()
    assert check.lens_ok
    assert check.write_error > 1e-4
    assert not check.write_ok
    assert "writes" in check.reason
    assert torch.equal(model.capture(PROMPT).hidden, trace.hidden)


@pytest.mark.parametrize(
    "name",
    ["llama", "gpt2", "gemma2", "granite", "falcon-new", "cohere", "cohere2", "hyperclovax"],
)
def test_bfloat16_is_served_without_writes(name: str, tiny_folder: Callable[[str], Path]) -> None:
    """The lens is checked in the head's own dtype; writes need float32 and say so."""
    model = load_model(str(tiny_folder(name)), device="cpu", dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    assert model.check.lens_ok, model.check
    assert not model.check.write_ok
    assert "float32" in model.check.reason
    trace = model.capture(PROMPT)
    assert trace.check.lens_ok, trace.check
    assert trace.hidden.dtype == torch.float32
    with pytest.raises(ModelError, match="float32"):
        _ = trace.mlp
    logits = model.unembed(trace.hidden[-1])
    assert logits.dtype == torch.float32
    assert (logits - trace.logits.float()).abs().max() < 0.5  # near, through a finer head
    assert not math.isnan(float(logits.sum()))
