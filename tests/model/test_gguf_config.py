"""GGUF files: what they say about a model's arithmetic is used, or the file is refused by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from strata.errors import ModelError
from strata.model import convert_gguf
from strata.model.gguf_file import GgufFile, left_over
from tests import gguf_files

IDS = torch.tensor([[40, 61, 3, 250, 17, 9, 88, 120, 33, 71, 5, 299]])


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        return network(IDS).logits


def converted(path: Path) -> Any:
    folder = path.with_suffix("")
    folder.mkdir()
    convert_gguf(path, folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def differ(one: Any, other: Any) -> float:
    return float((logits(one) - logits(other)).abs().max())


@pytest.fixture(scope="module")
def qwen2() -> Any:
    return gguf_files.network_of("qwen2")


@pytest.mark.parametrize("architecture", gguf_files.ARCHITECTURES)
def test_a_converted_file_gives_the_models_own_logits(architecture: str, tmp_path: Path) -> None:
    network = gguf_files.network_of(architecture)
    path = gguf_files.write(network, tmp_path / "tiny.gguf", architecture)
    assert differ(converted(path), network) <= 1e-5


@pytest.mark.parametrize("architecture", ["gpt2", "bloom", "falcon", "qwen3"])
def test_a_head_of_its_own_is_kept(architecture: str, tmp_path: Path) -> None:
    """Also in families whose head is the embedding, and where the file has both."""
    network = gguf_files.network_of(architecture, tie_word_embeddings=False)
    assert not torch.equal(network.lm_head.weight, network.get_input_embeddings().weight)
    read = converted(gguf_files.write(network, tmp_path / "tiny.gguf", architecture))
    assert not read.config.tie_word_embeddings
    assert differ(read, network) <= 1e-5


@pytest.mark.parametrize(
    ("architecture", "key", "changes"),
    [
        ("phi3", "attention.sliding_window", {"sliding_window": None}),
        ("gemma2", "attn_logit_softcapping", {"attn_logit_softcapping": None}),
        ("gemma2", "final_logit_softcapping", {"final_logit_softcapping": None}),
    ],
)
def test_zero_says_that_there_is_none(
    architecture: str, key: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    network = gguf_files.network_of(architecture, **changes)
    keys = {f"{architecture}.{key}": 0 if "window" in key else 0.0}
    path = gguf_files.write(network, tmp_path / "tiny.gguf", architecture, keys=keys)
    assert differ(converted(path), network) <= 1e-5


def test_blocks_that_foresee_tokens_are_not_missed() -> None:
    """They stand after the model's own; any other tensor without a place is named."""
    keys = {"general.architecture": "qwen35", "qwen35.block_count": 3}
    own = {"blk.0.ffn_up.weight": (2, 3), "blk.1.ffn_up.weight": (2, 3)}
    parameters = {f"model.layers.{block}.mlp.up_proj.weight": (2, 3) for block in range(2)}
    more = {"blk.2.ffn_up.weight": (2, 3)}
    assert left_over(GgufFile(keys, own | more, {}), parameters) == "blk.2.ffn_up.weight"
    keys["qwen35.nextn_predict_layers"] = 1
    assert left_over(GgufFile(keys, own | more, {}), parameters) == ""
    odd = {"blk.0.odd.weight": (1,)}
    assert left_over(GgufFile(keys, own | more | odd, {}), parameters) == "blk.0.odd.weight"


def test_a_file_with_such_blocks_is_read_without_them(tmp_path: Path) -> None:
    network = gguf_files.network_of("qwen35")
    path = gguf_files.write(
        network,
        tmp_path / "tiny.gguf",
        "qwen35",
        keys={"qwen35.block_count": 5, "qwen35.nextn_predict_layers": 1},
        tensors={"blk.4.ffn_up.weight": torch.ones(48, 32), "blk.4.nextn.hnorm.weight": [1.0] * 32},
    )
    assert differ(converted(path), network) <= 1e-5


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
SCALED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "linear": ("qwen2", {"rope_type": "linear", "factor": 4.0}, {"type": "linear", "factor": 4.0}),
    "without a type": ("qwen2", {"rope_type": "linear", "factor": 4.0}, {"factor": 4.0}),
    "none": ("qwen2", {"rope_type": "default"}, {"type": "none", "factor": 4.0}),
    "yarn": (
        "llama",
        YARN,
        {"type": "yarn", "factor": 4.0, "original_context_length": 16, "finetuned": True},
    ),
    "yarn, other bounds": (
        "qwen3",
        YARN | {"beta_fast": 8.0, "beta_slow": 0.5},
        {
            "type": "yarn",
            "factor": 4.0,
            "original_context_length": 16,
            "yarn_beta_fast": 8.0,
            "yarn_beta_slow": 0.5,
        },
    ),
}


@pytest.mark.parametrize("case", SCALED)
def test_a_scaled_rotation_is_kept(case: str, tmp_path: Path) -> None:
    architecture, rope, keys = SCALED[case]
    network = gguf_files.network_of(architecture, rope_parameters={"rope_theta": 1e4, **rope})
    path = gguf_files.write(
        network,
        tmp_path / "tiny.gguf",
        architecture,
        keys={f"{architecture}.rope.scaling.{key}": value for key, value in keys.items()},
    )
    assert differ(converted(path), network) <= 1e-5
    if case != "none":
        plain = gguf_files.network_of(architecture, rope_parameters=gguf_files.PLAIN_ROPE)
        assert differ(plain, network) > 1e-3  # so the test would see that it is dropped


def test_frequencies_of_llama_3_are_kept(tmp_path: Path) -> None:
    """The file has a table by which the plain frequencies are divided."""
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    network = gguf_files.network_of("llama", rope_parameters=rope)
    plain = gguf_files.network_of("llama", rope_parameters=gguf_files.PLAIN_ROPE)
    table = plain.model.rotary_emb.inv_freq / network.model.rotary_emb.inv_freq
    assert differ(plain, network) > 1e-3
    path = gguf_files.write(
        network, tmp_path / "tiny.gguf", "llama", tensors={"rope_freqs.weight": table}
    )
    assert differ(converted(path), network) <= 1e-5


def phi_3(original: int) -> Any:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "attention_factor": 1.19}
    rope |= {"short_factor": [1.0, 1.3, 1.7, 2.0], "long_factor": [2.0, 3.0, 4.5, 6.0]}
    place = {"original_max_position_embeddings": original}
    return gguf_files.network_of("phi3", rope_parameters=rope | place, **place)


@pytest.mark.parametrize("original", [8, 32], ids=["long", "short"])
def test_both_tables_of_phi_3_are_kept(original: int, tmp_path: Path) -> None:
    """The one for texts that are longer than `original` tokens, and the other; these have 12."""
    assert differ(phi_3(8), phi_3(32)) > 1e-2
    network = phi_3(original)
    path = gguf_files.write(
        network,
        tmp_path / "tiny.gguf",
        "phi3",
        keys={
            "phi3.rope.scaling.original_context_length": original,
            "phi3.rope.scaling.attn_factor": 1.19,
        },
        tensors={
            f"rope_factors_{name}.weight": network.config.rope_parameters[f"{name}_factor"]
            for name in ("short", "long")
        },
    )
    assert differ(converted(path), network) <= 1e-5


def test_the_second_base_of_gemma_3_is_kept(tmp_path: Path) -> None:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
    }
    network = gguf_files.network_of("gemma3", rope_parameters=rope)
    keys = {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0, "rope.freq_base_swa": 5e3}
    path = gguf_files.write(
        network,
        tmp_path / "tiny.gguf",
        "gemma3",
        keys={f"gemma3.{key}": value for key, value in keys.items()},
    )
    assert differ(converted(path), network) <= 1e-5


@pytest.mark.parametrize(
    "keys",
    [
        {"qwen2.rope.scaling.type": "longrope", "qwen2.rope.scaling.factor": 2.0},
        {"qwen2.rope.scaling.attn_factor": 1.2},
        {"qwen2.rope.dimension_count": 4},
        {"qwen2.attention.key_length": 16},
        {"qwen2.attention.sliding_window": 4},
        {"qwen2.attention.causal": False},
        {"qwen2.attention.head_count_kv": [2, 1, 2]},
        {"qwen2.logit_scale": 0.5},
        {"qwen2.final_logit_softcapping": 30.0},
        {"qwen2.expert_count": 4},
        {"qwen2.some.new_key": 1},
        {"llama.context_length": 64},
    ],
    ids=lambda keys: next(iter(keys)),
)
def test_what_would_be_left_out_is_refused_by_name(
    keys: dict[str, Any], qwen2: Any, tmp_path: Path
) -> None:
    path = gguf_files.write(qwen2, tmp_path / "tiny.gguf", "qwen2", keys=keys)
    with pytest.raises(ModelError, match=re.escape(next(iter(keys)))) as refusal:
        converted(path)
    assert re.fullmatch(r"[^\n]+\.", str(refusal.value))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {
                "tensors": {"rope_freqs.weight": torch.ones(4)},
                "keys": {"qwen2.rope.scaling.factor": 2.0},
            },
            "rope_freqs.weight",
        ),
        ({"tensors": {"blk.0.attn_sinks.weight": torch.ones(4)}}, "blk.0.attn_sinks.weight"),
        ({"tensors": {"rope_factors_long.weight": torch.ones(4)}}, "rope_factors_long.weight"),
        ({"without": ("blk.1.ffn_up.weight",)}, "model.layers.1.mlp.up_proj.weight"),
        ({"without": ("qwen2.embedding_length",)}, "qwen2.embedding_length"),
        ({"without": ("qwen2.attention.layer_norm_rms_epsilon",)}, "layer_norm_rms_epsilon"),
        ({"keys": {"qwen2.feed_forward_length": 64}}, "mlp.down_proj.weight, where its keys ask"),
        ({"keys": {"split.count": 3}}, "one of 3 parts"),
        ({"keys": {"general.architecture": "mamba"}}, "architecture 'mamba'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_too_much_and_too_little_is_refused_by_name(
    changes: dict[str, Any], named: str, qwen2: Any, tmp_path: Path
) -> None:
    path = gguf_files.write(qwen2, tmp_path / "tiny.gguf", "qwen2", **changes)
    with pytest.raises(ModelError, match=re.escape(named)) as refusal:
        converted(path)
    assert re.fullmatch(r"[^\n]+\.", str(refusal.value))


def test_falcon_with_several_heads_of_keys_is_refused(tmp_path: Path) -> None:
    keys = {"falcon.attention.head_count_kv": 2}
    network = gguf_files.network_of("falcon")
    path = gguf_files.write(network, tmp_path / "tiny.gguf", "falcon", keys=keys)
    with pytest.raises(ModelError, match=r"falcon.attention.head_count_kv = 2"):
        converted(path)


def test_keys_without_meaning_are_no_reason(qwen2: Any, tmp_path: Path) -> None:
    keys = {
        "general.name": "Tiny",
        "quantize.imatrix.file": "x.dat",
        "somebody.convert_type": "hf",
        "qwen2.expert_count": 0,
        "qwen2.attention.causal": True,
        "qwen2.attention.head_count": [4, 4, 4],
        "split.count": 1,
        "tokenizer.chat_template": "{{ messages }}",
    }
    path = gguf_files.write(qwen2, tmp_path / "tiny.gguf", "qwen2", keys=keys)
    assert differ(converted(path), qwen2) <= 1e-5


def test_what_is_no_gguf_file_is_one_sentence(qwen2: Any, tmp_path: Path) -> None:
    path = gguf_files.write(qwen2, tmp_path / "tiny.gguf", "qwen2")
    whole = path.read_bytes()
    for content in (b"", b"GGUF", b"nothing of the kind", whole[:1000], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"tiny.gguf is not a GGUF file, or is cut short."):
            converted(path)
        path.with_suffix("").rmdir()
