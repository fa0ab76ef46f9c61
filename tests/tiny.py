"""Tiny random models of every family that Strata knows, and a small tokenizer for them.

Every parameter is random, norm weights and biases too, so that nothing passes by being 1 or 0;
windows are shorter than the test prompts, multipliers are away from 1 and caps are low enough to
bite. `NAMES` are the configurations, `WITHOUT_WRITES` those whose write identity cannot hold.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

VOCABULARY = 300
END = 0  # id of <eos>, the one special token
WINDOW = 4
LIMIT = 64  # positions
PROMPT = "The cat sat on the mat, and the dog ran."

_SENTENCES = (
    "The cat sat on the mat, and the dog ran after the other cat in the garden.",
    "Where the river is wide, the water is slow and the stones are round.",
    "She said that the answer was in the third drawer of the desk on the left.",
)
_IDS = {"vocab_size": VOCABULARY, "bos_token_id": END, "eos_token_id": END, "pad_token_id": None}
_LLAMA: dict[str, Any] = {  # the names that most families share
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LIMIT,
}
_GPT2: dict[str, Any] = {
    "n_embd": 32,
    "n_inner": 48,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": LIMIT,
}
_FALCON = {"hidden_size": 32, "ffn_hidden_size": 48, "num_hidden_layers": 3}
_FALCON |= {"num_attention_heads": 4, "max_position_embeddings": LIMIT}
_OPT = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
_OPT |= {"max_position_embeddings": LIMIT}
_BLOOM = {"hidden_size": 32, "n_layer": 3, "n_head": 4}
_MIXED = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_SLIDING = {"sliding_window": WINDOW, "layer_types": _MIXED, "num_hidden_layers": 4}
_QWEN_SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
_GEMMA = _SLIDING | {"head_dim": 8, "query_pre_attn_scalar": 16, "tie_word_embeddings": True}
_CAPS = {"final_logit_softcapping": 3.0, "attn_logit_softcapping": 1.5}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_ROPE = {"rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": LIMIT // 4}
_YARN = _ROPE | {"rope_type": "yarn", "beta_fast": 32.0, "beta_slow": 1.0}
_LLAMA3_ROPE = _ROPE | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_GRANITE = {
    "embedding_multiplier": 1.7,
    "residual_multiplier": 0.37,
    "attention_multiplier": 0.21,
    "logits_scaling": 2.5,
}
_GEMMA4 = _SLIDING | {
    "head_dim": 8,
    "global_head_dim": 16,
    "final_logit_softcapping": 3.0,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size_per_layer_input": 0,
}

# configuration -> (config.model_type, arguments of its config class)
_CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", _GPT2),
    "gpt_bigcode": ("gpt_bigcode", _GPT2),
    "gptj": ("gptj", _GPT2 | {"rotary_dim": 4}),
    "codegen": ("codegen", _GPT2 | {"rotary_dim": 4}),
    "gpt_neo": (
        "gpt_neo",
        {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_layers": 4,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 2]],
            "window_size": WINDOW,
            "max_position_embeddings": LIMIT,
        },
    ),
    "gpt_neox-parallel": ("gpt_neox", _LLAMA | {"use_parallel_residual": True}),
    "gpt_neox-sequential": ("gpt_neox", _LLAMA | {"use_parallel_residual": False}),
    "opt": ("opt", _OPT),
    "opt-post_norm": ("opt", _OPT | {"do_layer_norm_before": False, "word_embed_proj_dim": 16}),
    "bloom": ("bloom", _BLOOM),
    "bloom-normed_residual": ("bloom", _BLOOM | {"apply_residual_connection_post_layernorm": True}),
    "falcon-new": ("falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon-7b": ("falcon", _FALCON | {"multi_query": True, "parallel_attn": True}),
    "falcon-rw": (
        "falcon",
        _FALCON | {"multi_query": False, "parallel_attn": False, "alibi": True, "bias": True},
    ),
    "phi": ("phi", _LLAMA | {"qk_layernorm": True}),
    "persimmon": ("persimmon", _LLAMA),
    "stablelm-parallel": ("stablelm", _LLAMA | {"use_parallel_residual": True}),
    "stablelm-sequential": ("stablelm", _LLAMA | {"use_qkv_bias": True, "qk_layernorm": True}),
    "starcoder2": ("starcoder2", _LLAMA | {"sliding_window": WINDOW}),
    "nemotron": ("nemotron", _LLAMA | {"mlp_bias": True}),
    "olmo": ("olmo", _LLAMA | {"clip_qkv": 0.5}),
    "cohere": ("cohere", _LLAMA | {"logit_scale": 0.31, "use_qk_norm": True}),
    "cohere2": ("cohere2", _LLAMA | _SLIDING | {"logit_scale": 0.31}),
    "llama": ("llama", _LLAMA | {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", _LLAMA | {"sliding_window": WINDOW}),
    "ministral": ("ministral", _LLAMA | _SLIDING | {"head_dim": 8}),
    "ministral3": (
        "ministral3",
        _LLAMA
        | {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "rope_parameters": _YARN | {"llama_4_scaling_beta": 0.1},
        },
    ),
    "qwen2": ("qwen2", _LLAMA | _QWEN_SLIDING),
    "qwen3": ("qwen3", _LLAMA | _QWEN_SLIDING | {"head_dim": 16, "tie_word_embeddings": True}),
    "phi3": ("phi3", _LLAMA | {"sliding_window": WINDOW}),
    "smollm3": (
        "smollm3",
        _LLAMA
        | {"no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": WINDOW},
    ),
    "glm": ("glm", _LLAMA | {"head_dim": 8}),
    "arcee": ("arcee", _LLAMA | {"mlp_bias": True}),
    "apertus": ("apertus", _LLAMA | {"rope_parameters": _LLAMA3_ROPE}),
    "helium": ("helium", _LLAMA | {"head_dim": 8}),
    "seed_oss": ("seed_oss", _LLAMA | {"head_dim": 16}),
    "ernie4_5": ("ernie4_5", _LLAMA | {"head_dim": 8, "use_bias": True}),
    "hunyuan_v1_dense": ("hunyuan_v1_dense", _LLAMA | {"head_dim": 8}),
    "qwen3_moe": (
        "qwen3_moe",
        _LLAMA
        | _EXPERTS
        | {
            "moe_intermediate_size": 24,
            "head_dim": 8,
            "mlp_only_layers": [1],
            "use_sliding_window": True,
            "sliding_window": WINDOW,
        },
    ),
    "olmoe": ("olmoe", _LLAMA | _EXPERTS),
    "mixtral": ("mixtral", _LLAMA | _LOCAL_EXPERTS | {"sliding_window": WINDOW}),
    "gpt_oss": (
        "gpt_oss",
        _LLAMA | _SLIDING | _LOCAL_EXPERTS | {"head_dim": 8, "rope_parameters": _YARN},
    ),
    "gemma": ("gemma", _LLAMA | {"head_dim": 16}),
    "gemma2": ("gemma2", _LLAMA | _GEMMA | _CAPS),
    "gemma3_text": ("gemma3_text", _LLAMA | _GEMMA),  # no caps: the family's usual case
    "vaultgemma": ("vaultgemma", _LLAMA | _GEMMA | _CAPS),
    "olmo2": ("olmo2", _LLAMA),
    "olmo3": ("olmo3", _LLAMA | _SLIDING),
    "exaone4": ("exaone4", _LLAMA | _SLIDING),
    "glm4": ("glm4", _LLAMA | {"head_dim": 8}),
    "granite": ("granite", _LLAMA | _GRANITE),
    "granitemoe": ("granitemoe", _LLAMA | _GRANITE | _LOCAL_EXPERTS),
    "hyperclovax": ("hyperclovax", _LLAMA | _GRANITE),
    "minicpm3": (
        "minicpm3",
        _LLAMA
        | {
            "num_key_value_heads": 4,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_nope_head_dim": 8,
            "qk_rope_head_dim": 4,
            "v_head_dim": 8,
            "scale_emb": 1.7,
            "scale_depth": 1.4,
            "dim_model_base": 16,
        },
    ),
    "nanochat": ("nanochat", _LLAMA | {"final_logit_softcapping": 3.0}),
    "lfm2": (
        "lfm2",
        _LLAMA | {"layer_types": ["conv", "full_attention", "conv"], "block_multiple_of": 16},
    ),
    "qwen3_5_text": (
        "qwen3_5_text",
        _LLAMA
        | {
            "layer_types": ["linear_attention", "full_attention", "linear_attention"],
            "head_dim": 16,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
        },
    ),
    "xglm": (
        "xglm",
        {
            "d_model": 32,
            "ffn_dim": 48,
            "num_layers": 3,
            "attention_heads": 4,
            "max_position_embeddings": LIMIT,
            "pad_token_id": 1,  # its position table is built around a padding id
        },
    ),
    "biogpt": ("biogpt", {key: _LLAMA[key] for key in _LLAMA if "key_value" not in key}),
    "gemma4_text": ("gemma4_text", _LLAMA | _GEMMA4),
}

NAMES = tuple(_CONFIGS)
EXPERTS = frozenset(
    name for name, (_, arguments) in _CONFIGS.items() if any("expert" in each for each in arguments)
)
WITHOUT_WRITES = frozenset({"opt-post_norm", "bloom-normed_residual"})


def config(name: str, **changes: Any) -> PreTrainedConfig:
    """The configuration `name`; `changes` override its arguments."""
    family, arguments = _CONFIGS[name]
    return AutoConfig.for_model(family, **(_IDS | arguments | changes))


def build(name: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A model of configuration `name` with every parameter random, the same for the same seed."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config(name, **changes)).eval()
    randomise(model, seed)
    return model


@torch.no_grad()
def randomise(model: PreTrainedModel, seed: int = 0) -> None:
    """Random values for every parameter, scaled so that states keep a size of order 1.

    Vectors (norm weights, biases, gates) move away from where the family starts them, since some
    families store a norm's weight as w and others as 1 + w.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {model.get_input_embeddings().weight, model.get_output_embeddings().weight}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            parameter.add_((0.15 if name.endswith("weight") else 0.1) * noise)
        else:
            parameter.copy_((0.4 if parameter in embeddings else 0.2) * noise)
    if getattr(model.config, "hidden_size_per_layer_input", 0):  # a learned buffer of Gemma 4
        for name, buffer in model.named_buffers():
            if name.endswith("layer_scalar"):
                buffer.fill_(0.8)


@cache
def tokenizer(bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 300 tokens: 256 bytes, merges, <eos>; with `bos`, <eos> leads."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_SENTENCES, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single="<eos> $A", special_tokens=[("<eos>", END)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<eos>", bos_token="<eos>", model_max_length=LIMIT
    )
    assert len(fast) == VOCABULARY
    assert fast.eos_token_id == END
    return fast


def write(model: PreTrainedModel, folder: Path, bos: bool = False) -> Path:
    """Write `model` (safetensors) and the tokenizer into `folder`, as the hub would serve them."""
    model.save_pretrained(folder)
    tokenizer(bos).save_pretrained(folder)
    return folder


def save(name: str, folder: Path, seed: int = 0, bos: bool = False, **changes: Any) -> Path:
    """`build` the configuration and `write` it into `folder`; returns the folder."""
    return write(build(name, seed, **changes), folder, bos)
