"""Where a model would be read wrongly and both identities hold: measured, refused, or mended; and
what is not a prompt, an edit or a model's folder gets one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from strata.errors import InputError, ModelError, StrataError
from strata.model import Model, limits, load_model
from strata.model.load import _cuts
from strata.trace import Scale
from tests import tiny as tiny_models
from tests.families.build import build, config
from tests.families.outcome import load
from tests.tiny import PROMPT

# -- what only a long text shows ------------------------------------------------------------------


def test_positions_that_a_block_chose_for_later_ones_switch_replay_off() -> None:
    """DeepSeek's sparse attention: replay would hand on what the clean run chose."""
    network = build("glm_moe_dsa", indexer_types=["full", "full", "shared", "shared"])
    assert not load(network).check.replay_ok
    assert load(build("glm_moe_dsa")).check.replay_ok


def test_agreements_reach_beyond_a_window() -> None:
    """moshi, whose continuations are wrong once the text is longer than its window."""
    assert limits.reach(config("moshi")) > 0
    model = load(build("moshi", sliding_window=24))
    assert not model.check.cache_ok
    assert load(build("llama", max_position_embeddings=64)).check.cache_ok


def test_a_window_that_is_too_long_to_measure_limits_what_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "_SHOWN", 8)
    model = load(build("moshi", sliding_window=30))
    assert model.check.cache_ok
    with pytest.raises(InputError, match="reads at most 30"):
        model.generate("z" * 28, 3)
    assert model.capture("z" * 40).logits.shape[0] == 40


# -- what a folder holds --------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", ["biases", "block"])
def test_weights_without_a_place_are_refused_by_name(tmp_path: Path, dropped: str) -> None:
    tiny_models.save("llama", tmp_path)
    file = tmp_path / "config.json"
    told = json.loads(file.read_text())
    if dropped == "biases":
        del told["attention_bias"], told["mlp_bias"]
    else:
        told["num_hidden_layers"] -= 1
    file.write_text(json.dumps(told))
    with pytest.raises(ModelError, match=r"hold model\.layers\.\d\.\S+, for which its config.json"):
        load_model(str(tmp_path), device="cpu")


def test_tables_that_a_model_makes_by_itself_may_lie_beside_weights(tmp_path: Path) -> None:
    network = tiny_models.build("llama")
    more = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4), "other": torch.ones(1)}
    network.save_pretrained(tmp_path, state_dict=network.state_dict() | more)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    assert load_model(str(tmp_path), device="cpu").check.ok


def test_blocks_that_guess_further_ahead_are_not_read(tmp_path: Path) -> None:
    """As DeepSeek's for several tokens at once, which no plain run uses."""
    network = tiny_models.build("llama")
    more = {f"model.layers.3.{name}.weight": torch.ones(1) for name in ("eh_proj", "mlp.up_proj")}
    network.save_pretrained(tmp_path, state_dict=network.state_dict() | more)
    tiny_models.tokenizer().save_pretrained(tmp_path)
    assert network.config.num_hidden_layers == 3
    assert load_model(str(tmp_path), device="cpu").check.ok


def test_options_of_a_tokenizer_are_no_other_rule() -> None:
    def cut(step: Any) -> Any:
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = step
        return _cuts(made)

    spaced, bare = (pre_tokenizers.ByteLevel(add_prefix_space=spaced) for spaced in (True, False))
    digits = pre_tokenizers.Digits(individual_digits=True)
    assert cut(spaced) == cut(bare) != cut(pre_tokenizers.Sequence([digits, bare]))
    assert cut(pre_tokenizers.Sequence([digits, spaced])) == cut(
        pre_tokenizers.Sequence([digits, bare])
    )
    assert _cuts(Tokenizer(models.BPE())) == []


def test_a_folders_own_rule_splits_its_texts(tmp_path: Path) -> None:
    """A qwen2 model with a tokenizer of its own: transformers 5.24 would split each digit."""
    core = Tokenizer(models.BPE())
    core.decoder = decoders.ByteLevel()
    by_three = pre_tokenizers.Split(Regex(r"\p{N}{1,3}"), "isolated")
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([by_three, bytes_])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=["<eos>"], show_progress=False
    )
    core.train_from_iterator(["123 123"] * 5, trainer)
    tiny_models.build("qwen2", vocab_size=300).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>").save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    assert model.encode("123").tolist() == core.encode("123").ids
    assert len(core.encode("123").ids) == 1
    assert model.tokenizer.eos_token == "<eos>"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", "null"),
        ("config.json", "[1, 2]"),
        ("config.json", "5"),
        ("model.safetensors.index.json", "[]"),
        ("model.safetensors.index.json", '{"weight_map": 5}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": ["x"]}}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": ""}}'),
    ],
)
def test_files_of_another_shape_are_one_sentence(tmp_path: Path, file: str, content: str) -> None:
    tiny_models.save("llama", tmp_path)
    (tmp_path / file).write_text(content)
    (tmp_path / "model.safetensors").rename(tmp_path / "shard.safetensors")
    with pytest.raises(StrataError) as refusal:
        load_model(str(tmp_path), device="cpu")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("told", ['"4"', '{"config_groups": [1]}', '{"bits": "4"}'])
def test_a_quantization_of_another_shape_is_one_sentence(tmp_path: Path, told: str) -> None:
    folder = tiny_models.save("llama", tmp_path)
    file = folder / "config.json"
    whole = json.loads(file.read_text()) | {"quantization_config": json.loads(told)}
    file.write_text(json.dumps(whole))
    with pytest.raises(StrataError) as refusal:
        load_model(str(folder), device="cpu")
    assert "\n" not in str(refusal.value)


def test_end_tokens_of_another_shape_end_nothing(tmp_path: Path) -> None:
    folder = tiny_models.save("llama", tmp_path)
    (folder / "generation_config.json").write_text('{"eos_token_id": [[0]]}')
    assert isinstance(load_model(str(folder), device="cpu").generate(PROMPT, 2), str)


def test_a_text_that_the_tokenizer_fails_on_is_refused(tmp_path: Path) -> None:
    """A vocabulary without a token for what is unknown."""
    letters = [("▁", -2.0), ("\n", -3.0)] + [(chr(i), -3.0) for i in range(33, 127)]
    core = Tokenizer(models.Unigram(letters, unk_id=None))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tiny_models.build("llama", vocab_size=100).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=core).save_pretrained(tmp_path)
    model = load_model(str(tmp_path), device="cpu")
    assert model.capture("cat").tokens
    with pytest.raises(InputError, match="tokenizer fails on this text"):
        model.capture("é")


# -- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (Scale(0, 10**400), "finite number"),
        (Scale(0, 1e39), "at most a million"),
        (Scale(0, float("nan")), "finite number"),
        (Scale(0, 2.0, positions=3), "tuple of whole numbers"),  # type: ignore[arg-type]
        (Scale(0, 2.0, positions=0), "tuple of whole numbers"),  # type: ignore[arg-type]
    ],
)
def test_edits_of_another_shape_are_refused(
    tiny: Callable[[str], Model], edit: Scale, reason: str
) -> None:
    model = tiny("llama")
    for ask in (model.capture, lambda text, edits: model.generate(text, 2, edits)):
        with pytest.raises(InputError, match=reason):
            ask(PROMPT, [edit])


def test_arguments_of_another_shape_are_refused(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    nothing: Any = None
    with pytest.raises(InputError, match="list of Scale"):
        model.capture(PROMPT, nothing)
    for count in ("3", 2.5):
        with pytest.raises(InputError, match="must be whole"):
            model.generate(PROMPT, count)  # type: ignore[arg-type]
    assert model.decode([-1, 2**40]) == ("", "")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no cuda device here"):
            load_model("smollm2-135m", device="cuda")
