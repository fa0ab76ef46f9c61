"""Every causal type of the installed transformers is known, and a sample of them is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from transformers import CONFIG_MAPPING

from strata.errors import ModelError
from strata.model import load_model
from strata.model.architecture import text_type
from strata.model.families import REFUSED, ROWS, row_of
from strata.trace import Scale
from tests.families.build import CAUSAL, WRAPPERS, build, wrapper
from tests.families.outcome import load, outcome
from tests.tiny import PROMPT, write

# One for each mechanism: rows of every form, and what only they need.
SAMPLE = {
    "writes": "afmoe bloom ctrl dbrx deepseek_v3 falcon_h1 falcon_mamba granitemoeshared lfm2_moe "
    "longcat_flash mbart modernbert-decoder mpt olmo_hybrid qwen3_next recurrent_gemma zamba2",
    "lens": "bart minimax openai-gpt roberta hy_v4",
    "refused": "reformer xlnet",
}
WRAPPED = {"writes": "gemma3 llava qwen3_5", "refused": "paligemma"}


def cases(groups: dict[str, str]) -> list[tuple[str, str]]:
    return [(family, kind) for kind, names in groups.items() for family in names.split()]


def test_every_causal_type_has_a_row_or_a_reason() -> None:
    """A type of transformers whose configuration is another's counts by that one's name."""
    known = ROWS.keys() | REFUSED.keys()
    for name in set(CAUSAL) - known:
        assert text_type(CONFIG_MAPPING[name]()) in known, name
    assert not ROWS.keys() & REFUSED.keys()


@pytest.mark.parametrize("family", sorted(REFUSED))
def test_what_cannot_be_read_is_refused_with_its_reason(family: str) -> None:
    with pytest.raises(ModelError) as refusal:
        row_of(family)
    assert str(refusal.value) == (
        f"Strata cannot read {family} models layer by layer: {REFUSED[family]}."
    )


@pytest.mark.parametrize(("family", "kind"), cases(SAMPLE))
def test_a_sample_is_served_as_the_table_says(family: str, kind: str) -> None:
    """Against plain transformers with hooks of its own: logits, lens, an edit, its replay, a batch
    (`tests.families.outcome`)."""
    assert family in CAUSAL
    found = outcome(family, wrapped=False)
    assert found.kind == kind, found.said


@pytest.mark.parametrize(("family", "kind"), cases(WRAPPED))
def test_of_a_wrapper_the_text_model_is_read(family: str, kind: str) -> None:
    assert family in WRAPPERS
    found = outcome(family, wrapped=True)
    assert found.kind == kind, found.said


def test_a_lens_asked_of_the_model_is_the_models_own() -> None:
    """RoBERTa's head is a dense layer, an activation, a norm and a matrix: run by hand here."""
    network = build("roberta")
    model = load(network)
    states = model.capture(PROMPT).hidden
    head = network.lm_head
    with torch.no_grad():
        inner = head.layer_norm(torch.nn.functional.gelu(head.dense(states)))
        expected = inner @ head.decoder.weight.T + head.decoder.bias
    assert model.architecture.norm_path is None
    torch.testing.assert_close(model.normed(states), inner, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.unembed(states), expected, rtol=1e-5, atol=1e-4)


def test_each_module_has_its_own_factor() -> None:
    """Falcon H1 adds 0.6 of its mixer and 0.5 of its attention, by its configuration."""
    model = load(build("falcon_h1"))
    for writes in model.architecture.attn:
        assert [write.path for write in writes] == ["mamba", "self_attn"]
        assert [write.scale for write in writes] == pytest.approx([0.6, 0.5], rel=1e-4)
    assert model.check.write_error <= 2e-6
    trace = model.capture(PROMPT)
    grown = trace.hidden.diff(dim=0)
    assert (trace.attn + trace.mlp - grown).abs().max() <= 2e-6 * grown.abs().max()


def test_a_block_of_one_mixer_has_no_mlp() -> None:
    model = load(build("mamba"))
    trace = model.capture(PROMPT)
    torch.testing.assert_close(trace.attn, trace.hidden.diff(dim=0), rtol=1e-5, atol=1e-5)
    assert trace.mlp.abs().max() == 0
    assert "single mixer" in model.switched_off["mixer"]
    with pytest.raises(ModelError, match="no MLP"):
        model.require_part("mlp")


def test_a_stream_of_several_rows_is_one_state() -> None:
    network = build("hy_v4")
    model = load(network)
    trace = model.capture(PROMPT)
    kept = []
    hook = network.model.layers[-1].register_forward_hook(lambda m, a, o: kept.append(o))
    try:
        with torch.no_grad():
            network(input_ids=trace.token_ids[None])
    finally:
        hook.remove()
    state = kept[0][0] if isinstance(kept[0], tuple) else kept[0]  # (1, T, rows, width)
    assert model.d_model == state.shape[2] * state.shape[3]
    assert torch.equal(trace.hidden[-1], state[0].flatten(1))
    assert model.gradients(PROMPT).shape == trace.hidden.shape


@pytest.mark.parametrize("family", ["qwen3_5", "llava"])
def test_a_folder_of_a_wrapper_is_loaded(family: str, tmp_path: Path) -> None:
    """As the hub has Qwen 3.5: the configuration carries the wrapper's name, and transformers reads
    the text model alone; of others it reads the whole wrapper."""
    network = wrapper(family)
    write(network, tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    trace = model.capture(PROMPT)
    with torch.no_grad():
        expected = network(input_ids=trace.token_ids[None]).logits[0]
    assert model.check.ok
    torch.testing.assert_close(trace.logits, expected, rtol=1e-5, atol=1e-5)
    reader = getattr(transformers, model.reader)
    again = reader.from_pretrained(tmp_path)
    assert type(again) is type(model._network), "what a shown program loads"
    assert again.get_submodule(model.blocks_path)[0] is not None


def test_what_an_edit_inside_a_block_changes_is_read_there() -> None:
    """LongCat's second attention reads what its first MLP wrote, so an edit of the MLP's part has
    to go through the block: against a whole run."""
    model = load(build("longcat_flash"))
    assert model.check.replay_ok
    trace = model.capture(PROMPT)
    edit = Scale(1, -0.7, "mlp")
    [(_, [state])] = list(model.replay(trace, [edit]))
    expected = model.capture(PROMPT, [edit]).hidden[-1, -1]
    assert (state - expected).abs().max() <= 1e-5 * expected.abs().max()
