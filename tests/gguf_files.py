"""Tiny models as .gguf files, laid out as llama.cpp's converter lays them out.

What is done to each tensor is told from conversion scripts of ggml-org/llama.cpp
(convert_hf_to_gguf.py), independent of how Strata and transformers undo it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from tests import tiny

PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
_NO_WINDOW = {"use_sliding_window": False}
# architecture of the format -> (configuration of tests.tiny, changes that the format can express)
ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"head_dim": 16}),
    "qwen2": ("qwen2", _NO_WINDOW),
    "qwen3": ("qwen3", _NO_WINDOW),
    "qwen3moe": ("qwen3_moe", _NO_WINDOW | {"mlp_only_layers": [], "norm_topk_prob": True}),
    "phi3": ("phi3", {"rope_parameters": PLAIN_ROPE | {"partial_rotary_factor": 0.5}}),
    "gpt2": ("gpt2", {}),
    "bloom": ("bloom", {}),
    "falcon": ("falcon-7b", {}),
    "stablelm": ("stablelm-sequential", {"qk_layernorm": False}),
    "starcoder2": ("starcoder2", {"sliding_window": None}),
    "nemotron": ("nemotron", {}),
    "gemma2": ("gemma2", {"query_pre_attn_scalar": 8}),
    "gemma3": (
        "gemma3_text",
        {"query_pre_attn_scalar": 8, "num_hidden_layers": 7, "layer_types": None},
    ),
    "lfm2": ("lfm2", {}),
    "qwen35": (
        "qwen3_5_text",
        {
            "num_hidden_layers": 4,
            "layer_types": None,
            "full_attention_interval": 2,
            "head_dim": 32,  # a quarter of it turns, in three sections
        },
    ),
}


def network_of(architecture: str, **changes: Any) -> Any:
    """A tiny random model in plain transformers that the format can express."""
    name, usual = ARCHITECTURES[architecture]
    return tiny.build(name, **(usual | changes))


def write(
    network: Any,
    path: Path,
    architecture: str,
    pre: str | None = "gpt-2",
    keys: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """The model and the tokenizer of `tests.tiny` as one file; `keys` and `tensors` are added to
    it, or take the place of its own, and the tensors and keys named in `without` are left out."""
    writer = gguf.GGUFWriter(str(path), architecture)
    own = {f"{architecture}.{key}": value for key, value in _keys(network, architecture).items()}
    for key, value in {**own, **_tokenizer(pre), **(keys or {})}.items():
        if key not in without:
            _add(writer, key, value)
    for name, tensor in {**_tensors(network, architecture), **(tensors or {})}.items():
        if name not in without:
            writer.add_tensor(name, np.ascontiguousarray(np.asarray(tensor, dtype=np.float32)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    adders = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    adders[type(value)](key, value)


def _tokenizer(pre: str | None) -> dict[str, Any]:
    bpe = json.loads(tiny.tokenizer().backend_tokenizer.to_str())["model"]
    keys = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": sorted(bpe["vocab"], key=bpe["vocab"].get),
        "tokenizer.ggml.token_type": [3, *[1] * (tiny.VOCABULARY - 1)],  # control, then normal
        "tokenizer.ggml.merges": [" ".join(pair) for pair in bpe["merges"]],
        "tokenizer.ggml.eos_token_id": tiny.END,
    }
    return keys | ({"tokenizer.ggml.pre": pre} if pre else {})


def _keys(network: Any, architecture: str) -> dict[str, Any]:
    config = network.config
    heads = config.num_attention_heads
    keys: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": tiny.LIMIT,
        "embedding_length": config.hidden_size,
        "feed_forward_length": getattr(config, "intermediate_size", None)
        or getattr(config, "n_inner", None)
        or getattr(config, "ffn_hidden_size", None)
        or 4 * config.hidden_size,
        "attention.head_count": heads,
        "vocab_size": config.vocab_size,
    }
    if architecture == "lfm2":
        at = [kind == "full_attention" for kind in config.layer_types]
        keys["attention.head_count_kv"] = [config.num_key_value_heads * here for here in at]
        keys["shortconv.l_cache"] = config.conv_L_cache
        keys["feed_forward_length"] = network.model.layers[0].feed_forward.w1.out_features
        return keys | {
            "attention.layer_norm_rms_epsilon": config.norm_eps,
            "rope.freq_base": config.rope_parameters["rope_theta"],
        }
    if architecture != "gpt2":
        alone = {"falcon": 1}  # one head of keys and values for all
        keys["attention.head_count_kv"] = alone.get(
            architecture, getattr(config, "num_key_value_heads", heads)
        )
    for name in (
        "rms_norm_eps",
        "layer_norm_epsilon",
        "layer_norm_eps",
        "norm_epsilon",
        "norm_eps",
    ):
        if hasattr(config, name):
            root = "rms_" if name == "rms_norm_eps" else ""
            keys[f"attention.layer_norm_{root}epsilon"] = getattr(config, name)
            break
    rope = getattr(config, "rope_parameters", None)
    if rope:
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        if architecture in ("llama", "qwen3", "qwen3moe", "gemma2", "gemma3", "nemotron"):
            keys |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
        rope = rope.get("full_attention", rope)
        keys["rope.freq_base"] = rope["rope_theta"]
        if architecture != "gemma3":
            turned = int(head_dim * rope.get("partial_rotary_factor", 1.0))
            keys["rope.dimension_count"] = turned
    if architecture == "qwen35":
        keys |= {
            "attention.key_length": config.head_dim,
            "attention.value_length": config.head_dim,
            "rope.dimension_sections": [2, 1, 1, 0],
            "full_attention_interval": 2,
            "ssm.conv_kernel": config.linear_conv_kernel_dim,
            "ssm.state_size": config.linear_key_head_dim,
            "ssm.group_count": config.linear_num_key_heads,
            "ssm.time_step_rank": config.linear_num_value_heads,
            "ssm.inner_size": config.linear_num_value_heads * config.linear_value_head_dim,
        }
    if architecture == "qwen3moe":
        keys |= {
            "expert_count": config.num_experts,
            "expert_used_count": config.num_experts_per_tok,
            "expert_feed_forward_length": config.moe_intermediate_size,
        }
    if architecture in ("phi3", "gemma2", "gemma3"):
        keys["attention.sliding_window"] = config.sliding_window or 0
    if architecture == "gemma2":
        keys["attn_logit_softcapping"] = config.attn_logit_softcapping or 0.0
        keys["final_logit_softcapping"] = config.final_logit_softcapping or 0.0
    if architecture == "stablelm":
        keys["use_parallel_residual"] = config.use_parallel_residual
    return keys


def _tensors(network: Any, architecture: str) -> dict[str, Tensor]:
    config = network.config
    kind = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    tensors: dict[str, Tensor] = {}
    for key, value in network.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        block = key.split(".")[2] if "layers." in key else ""
        if key.endswith("experts.gate_up_proj"):
            gate, up = value.chunk(2, dim=1)
            tensors[f"blk.{block}.ffn_gate_exps.weight"] = gate
            tensors[f"blk.{block}.ffn_up_exps.weight"] = up
        elif key.endswith("experts.down_proj"):
            tensors[f"blk.{block}.ffn_down_exps.weight"] = value
        else:
            # BLOOM's converter first takes this off, as its names are those of the model inside
            bare = key.removeprefix("transformer.") if architecture == "bloom" else key
            if key.endswith("dt_bias"):
                bare = key.replace("dt_bias", "dt_proj.bias")
            name = names.get_name(bare, try_suffixes=(".weight", ".bias"))
            assert name, key
            tensors[name] = _laid_out(name, value, architecture, config)
    return tensors


def _laid_out(name: str, value: Tensor, architecture: str, config: Any) -> Tensor:
    """The value as the converter would store it."""
    if architecture == "llama" and (".attn_q." in name or ".attn_k." in name):
        heads = config.num_attention_heads if "_q" in name else config.num_key_value_heads
        halves = value.view(heads, 2, value.shape[0] // heads // 2, *value.shape[1:])
        return halves.transpose(1, 2).reshape(value.shape)
    if architecture == "gpt2" and name.endswith(".weight") and value.ndim == 2 and "blk." in name:
        return value.T
    if architecture == "bloom" and "attn_qkv" in name:
        parts = value.view(config.n_head, 3, config.hidden_size // config.n_head, *value.shape[1:])
        return torch.cat([parts[:, i].reshape(-1, *value.shape[1:]) for i in range(3)])
    if architecture in ("gemma2", "gemma3", "nemotron") and name.endswith("norm.weight"):
        return value + 1
    if architecture == "lfm2" and "shortconv.conv" in name:
        return value.squeeze(1)
    if architecture == "qwen35":
        return _linear_attention(name, value, config)
    return value


def _linear_attention(name: str, value: Tensor, config: Any) -> Tensor:
    """Value heads stand by their number within a group of keys, not group by group; norms hold 1
    more, but for the one within; the decay is stored whole."""
    if name.endswith("norm.weight"):
        return value if "ssm_norm" in name else value + 1
    groups, heads = config.linear_num_key_heads, config.linear_num_value_heads
    before = 2 * groups * config.linear_key_head_dim  # rows of queries and keys
    width = config.linear_value_head_dim

    def tiled(rows: Tensor, size: int) -> Tensor:
        parted = rows.reshape(groups, heads // groups, size, *rows.shape[1:])
        return parted.transpose(0, 1).reshape(rows.shape)

    if "attn_qkv" in name or "ssm_conv1d" in name:
        value = value.squeeze(1)
        return torch.cat([value[:before], tiled(value[before:], width)])
    if "attn_gate" in name:
        return tiled(value, width)
    if "ssm_out" in name:
        return tiled(value.T, width).T
    if name.split(".")[-1] == "ssm_a":
        return tiled(-value.exp(), 1)
    if any(part in name for part in ("ssm_alpha", "ssm_beta", "ssm_dt")):
        return tiled(value, 1)
    return value
