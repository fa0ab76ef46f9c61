"""How each kind of model is made tiny, as data: width 32, four blocks, every kind of layer.

`SMALL` holds values by the names that configurations use; a configuration takes those that it has.
`BY_TYPE` holds what a type needs beside them, or instead (`LEAVE`: as the type has it itself).
"""

from __future__ import annotations

from typing import Any

from tests.tiny import LIMIT, VOCABULARY, WINDOW

LEAVE = ...
BLOCKS = 4

SMALL: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "embedding_size"), 32),
    **dict.fromkeys(
        "intermediate_size n_inner ffn_dim decoder_ffn_dim encoder_ffn_dim dff "
        "ffn_hidden_size".split(),
        48,
    ),
    **dict.fromkeys("num_hidden_layers n_layer decoder_layers num_layers n_layers".split(), BLOCKS),
    "encoder_layers": 2,
    **dict.fromkeys(
        "num_attention_heads n_head decoder_attention_heads encoder_attention_heads "
        "attention_heads num_heads n_heads swa_num_attention_heads".split(),
        4,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads"), 2),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), LIMIT),
    **dict.fromkeys(("head_dim", "global_head_dim", "swa_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("sliding_window", "sliding_window_size"), WINDOW),
    **dict.fromkeys(("bos_token_id", "eos_token_id"), 0),
    "type_vocab_size": 2,
    "query_pre_attn_scalar": 16,
    "max_window_layers": 1,
    "kv_channels": 8,
    # experts
    **dict.fromkeys(("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "num_experts_per_token"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts"), 1),
    "first_k_dense_replace": 1,
    **dict.fromkeys(
        "moe_intermediate_size shared_expert_intermediate_size shared_intermediate_size "
        "expert_ffn_hidden_size".split(),
        24,
    ),
    **dict.fromkeys(("moe_latent_size", "pad_token_id")),
    "num_nextn_predict_layers": 0,
    # attention through a narrow state
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank"), 16),
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "qk_head_dim": 12,
    "index_head_dim": 8,
    "index_n_heads": 2,
    "index_topk": 64,
    # other token mixers
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_conv_kernel_dim": 4,
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
    "mamba_dt_rank": 4,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "n_groups": 1,
    "state_size": 8,
    "ssm_state_size": 8,
    "time_step_rank": 4,
    "chunk_size": 8,
    "conv_kernel": 4,
    "conv_L_cache": 3,
    "hidden_size_per_layer_input": 8,
    "global_config": None,
}

MIXED = ["sliding_attention", "full_attention"] * 2
LINEAR = ["linear_attention", "full_attention"] * 2
_ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 5_000.0},
}
_GRANITE = {
    "embedding_multiplier": 1.7,
    "residual_multiplier": 0.37,
    "attention_multiplier": 0.21,
    "logits_scaling": 2.5,
}
_MIXED = {"layer_types": MIXED}
_LINEAR = {"layer_types": LINEAR}
_WINDOWS = {"use_sliding_window": True, "layer_types": MIXED}
_ROTATED = {"rotary_dim": 4}
_DECODER = {"is_decoder": True}  # BERT and its kin read in both directions without
_PADDED = {"pad_token_id": 1}
_NARROW = {"num_key_value_heads": 4, "head_dim": LEAVE}
_ENCODER = {"encoder_layers": 4}  # a cache of the decoder is sized by it
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}
_INKLING = {
    "d_rel": 4,
    "rel_extent": 16,
    "log_scaling_n_floor": 8,
    "unpadded_vocab_size": VOCABULARY,
    "layer_types": ["hybrid_sliding", "hybrid"] * 2,
    "head_dim": 8,
}
_DOTS3 = {
    "num_key_value_heads": 4,
    "head_dim": 12,
    "layer_types": ["indexed_attention", "sliding_attention"] * 2,
    "per_layer_config": {
        block: {"kv_lora_rank": 32, "qk_nope_head_dim": 12, "head_dim": 16} for block in (1, 3)
    },
    "shared_experts_intermediate_size": 24,
}
_HYBRID = {
    "layers_block_type": ["linear_attention", "hybrid"] * 2,
    "attention_hidden_size": 64,
    "attention_head_dim": 16,
    "num_key_value_heads": 4,
}
_LINEAR_HEADS = {
    "linear_head_dim": 8,
    "linear_num_heads": 4,
    "layer_types": LINEAR,
    "num_key_value_heads": 4,
    "head_dim": LEAVE,
    "num_expert_group": 1,
}
_GEMMA4 = {
    "text_config": {"pad_token_id": 1, "layer_types": MIXED},
    "image_token_id": 299,
    "video_token_id": 298,
    "audio_token_id": 297,
}

BY_TYPE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        "axk1 axk2 deepseek_v2 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa sarvam_mla "
        "youtu".split(),
        _NARROW,
    ),
    **dict.fromkeys(
        "bart bigbird_pegasus blenderbot blenderbot-small marian mbart mvp pegasus plbart "
        "whisper".split(),
        _ENCODER,
    ),
    **dict.fromkeys(
        "bert bert-generation big_bird electra ernie megatron-bert roformer".split(), _DECODER
    ),
    **dict.fromkeys(
        "camembert data2vec-text roberta roberta-prelayernorm xlm-roberta xlm-roberta-xl".split(),
        _PADDED | _DECODER,
    ),
    **dict.fromkeys(("modernbert-decoder", "xglm"), _PADDED),
    **dict.fromkeys(("exaone4", "gemma3_text", "gpt_oss", "ministral", "olmo3"), _MIXED),
    **dict.fromkeys(("qwen2", "qwen3"), _WINDOWS),
    **dict.fromkeys(("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"), _LINEAR),
    **dict.fromkeys(
        "granite granitemoe granite_swa granitemoe_swa granitemoeshared hyperclovax".split(),
        _GRANITE,
    ),
    **dict.fromkeys(("gptj", "codegen"), _ROTATED),
    **dict.fromkeys(("gemma4", "gemma4_unified"), _GEMMA4),
    "bamba": {"attn_layer_indices": [1, 3]},
    "bailing_hybrid": _LINEAR_HEADS | {"layer_group_size": 2},
    "cohere": {"logit_scale": 0.31, "use_qk_norm": True},
    "cohere2": {"logit_scale": 0.31},
    "cohere2_moe": {"logit_scale": 0.31, "layer_types": MIXED},
    "cohere_compass_text": {"layer_types": MIXED, "rope_parameters": _ROPES},
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10_000.0, "clip_qkv": 0.5},
        "ffn_config": {
            "ffn_hidden_size": 48,
            "moe_num_experts": 4,
            "moe_top_k": 2,
            "hidden_size": 32,
        },
    },
    "dory": {
        "layer_types": ["sliding_attention", "mlp", "full_attention", "mlp"] * 2,
        "n_input_layers": 2,
        "n_recurrent_layers": 4,
        "n_output_layers": 2,
        "num_hidden_layers": 8,
        "rope_parameters": _ROPES,
    },
    "dots3_note": {"text_config": _DOTS3},
    "dots3_note_text": _DOTS3,
    "ernie4_5_moe": {
        "moe_k": 2,
        "moe_layer_end_index": 3,
        "moe_layer_start_index": 1,
        "moe_num_shared_experts": 1,
    },
    "falcon": {"new_decoder_architecture": True},
    "falcon_h1": {
        "mamba_d_ssm": 64,
        "lm_head_multiplier": 0.7,
        "embedding_multiplier": 1.4,
        "mlp_multipliers": [0.8, 0.6],
        "attention_out_multiplier": 0.5,
        "attention_in_multiplier": 0.9,
        "ssm_out_multiplier": 0.6,
        "key_multiplier": 0.7,
    },
    "gemma2": {
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 1.5,
        "layer_types": MIXED,
    },
    "gemma3": {
        "vision_config": _VISION,
        "mm_tokens_per_image": 4,
        "image_token_index": 299,
        "boi_token_index": 298,
        "eoi_token_index": 297,
    },
    "gemma3n_text": {
        "layer_types": MIXED,
        "num_kv_shared_layers": 2,
        "laurel_rank": 8,
        "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
        "final_logit_softcapping": 3.0,
    },
    "gemma4_text": {
        "layer_types": MIXED,
        "final_logit_softcapping": 3.0,
        "num_experts": None,
        "moe_intermediate_size": None,
    },
    "gemma4_unified_text": {"layer_types": MIXED, "final_logit_softcapping": 3.0},
    "git": {"vision_config": _VISION},
    "got_ocr2": {
        "vision_config": _VISION
        | {
            "image_size": 32,
            "mlp_dim": 48,
            "global_attn_indexes": [1],
            "window_size": 2,
            "output_channels": 16,
        },
        "image_token_index": 299,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": WINDOW},
    "granitemoehybrid": _GRANITE | {"layer_types": LINEAR},
    "hrm_text": {"num_layers_per_stack": 2, "num_hidden_layers": LEAVE},
    "inkling_text": _INKLING | {"num_mtp_layers": LEAVE},
    "inkling2_text": _INKLING | {"n_layers_per_attn_res_block": 2},
    "inkling2_loop_text": _INKLING
    | {
        "n_layers_per_attn_res_block": 2,
        "num_hidden_layers": 6,
        "layer_types": ["hybrid_sliding", "hybrid"] * 3,
        "loop_layer_index_start": 2,
        "loop_layer_index_end": 4,
        "loop_num_passes": 3,
        "loop_gate_rank": 8,
    },
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
    },
    "kimi_linear": _LINEAR_HEADS,
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 16},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "lfm3": {"layer_types": ["conv", "full_attention", "conv", "sliding_attention"]},
    "longcat_flash": {
        "num_key_value_heads": 4,
        "head_dim": 4,
        "zero_expert_num": 2,
        "moe_topk": 2,
        "num_layers": 3,
    },
    "mamba2": {"num_heads": 4, "head_dim": 16, "n_groups": 1},
    "marian": _ENCODER | _PADDED,
    "minicpm3": _NARROW | {"scale_emb": 1.7, "scale_depth": 1.4, "dim_model_base": 16},
    "moss_transcribe_diarize": {
        "audio_config": {
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 48,
            "max_source_positions": 64,
        },
        "audio_token_id": 299,
    },
    "nanochat": {"final_logit_softcapping": 3.0},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "moe_shared_expert_intermediate_size": 24,
    },
    "olmo_hybrid": {"layer_types": LINEAR, "linear_num_key_heads": 4},
    "opt": {"word_embed_proj_dim": 32},
    "phi": {"qk_layernorm": True},
    "phi4_multimodal": {
        "vision_config": _VISION
        | {
            "num_hidden_layers": 3,
            "image_size": 28,
            "patch_size": 14,
            "crop_size": 28,
            "num_img_tokens": 4,
        },
        "audio_config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_blocks": 2,
            "num_attention_heads": 4,
            "ext_pw_out_channel": 32,
            "depthwise_separable_out_channel": 32,
            "nemo_conv_channels": 16,
            "input_size": 80,
        },
    },
    "prophetnet": _PADDED
    | {
        "num_encoder_layers": 4,
        "num_decoder_layers": 4,
        "num_encoder_attention_heads": 4,
        "num_decoder_attention_heads": 4,
        "ngram": 2,
    },
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"] * 2,
        "hc_lowrank": 8,
        "ple_layer_ids": [1],
        "ple_embed_dim": 16,
        "ple_conv_kernel_size": 4,
        "heads_per_ngram": 2,
        "ngram_vocab_size_base": 100,
        "make_ngram_vocab_size_divisible_by": 8,
        "split_ngram_parts": 2,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 64,
        "indexer_compress_ratio": 1,
    },
    "recurrent_gemma": {
        "block_types": ["recurrent", "attention"],
        "lru_width": 32,
        "attention_window_size": 8,
        "num_key_value_heads": 2,
    },
    "reformer": _DECODER
    | {
        "attn_layers": ["local", "lsh"] * 2,
        "axial_pos_embds": False,
        "attention_head_size": 8,
        "feed_forward_size": 48,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "num_buckets": 4,
        "hash_seed": 0,
        "pad_token_id": 0,
    },
    "rembert": _DECODER
    | {"input_embedding_size": 16, "output_embedding_size": 24, "embedding_size": LEAVE},
    "roc_bert": _DECODER
    | {
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": 300,
        "shape_embed_dim": 8,
        "shape_vocab_size": 300,
    },
    "stablelm": {"use_qkv_bias": True},
    "vaultgemma": {"layer_types": MIXED, "final_logit_softcapping": 3.0},
    "xlm": {"emb_dim": 32, "causal": True, "pad_token_id": 2},
    "xlstm": {"embedding_dim": 32, "num_blocks": 4, "num_heads": 2, "qk_dim_factor": 1.0},
    "xmod": _PADDED | _DECODER | {"default_language": "en_XX"},
    "zamba": _HYBRID | {"n_mamba_heads": 2},
    "zamba2": _HYBRID
    | {
        "hybrid_layer_ids": [1, 3],
        "n_mamba_heads": 4,
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "num_query_groups": 4,
        "adapter_rank": 8,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
