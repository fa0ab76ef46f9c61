"""Where each model family keeps what Strata reads, as data: the one place that knows module names.

To add a family, add its `config.model_type` to a row. Nothing measured is written down here: the
factors by which a family scales its writes and its logits are fitted when a model is loaded, and
the self-check (`Model.check`) judges whether the row is right.
"""

from __future__ import annotations

from dataclasses import dataclass

from strata.errors import ModelError


@dataclass(frozen=True)
class Row:
    """Paths in a family's models. Of several names the first that exists is taken.

    `blocks` and `norm` are paths from the model. A norm of "" is none: the head reads the state.
    With no name at all, and where norm and head alone do not give the model's logits, what follows
    the last block is asked of the model itself.

    `attn` and `mlp` are paths from each block to the modules whose *output* is added to the
    residual stream, which is a norm in families that norm a part's output before adding it; "a+b"
    is a part of two modules. Hybrids have another token mixer at some blocks. A family whose block
    is a single mixer has no `mlp`; one whose writes cannot be told apart has neither. `why` says
    why what a block adds is, or may be, more than what its modules give.
    """

    blocks: str
    norm: tuple[str, ...] = ()
    attn: tuple[str, ...] = ()
    mlp: tuple[str, ...] = ()
    why: str = ""


_POST = (
    "its blocks normalise the sum of state and write, so that nothing is simply added to a stream"
)
_STREAMS = "its stream has several rows which every block mixes"
_PASSES = "its blocks run several times in one pass, so that a block is no layer"
_HELPER = "it is a helper that reads another model's keys and values"
_MUSIC = "it writes several streams of audio codes, not text"
_IMAGES = "its text blocks read pictures by attention, without which the text model is not defined"

_L = "model.layers"
_H = "transformer.h"
_B = "transformer.blocks"
_D = "model.decoder.layers"
_POST_NORMS = "post_attention_layernorm"


def _row(blocks: str, norm: str = "", attn: str = "", mlp: str = "", why: str = "") -> Row:
    return Row(blocks, tuple(norm.split()), tuple(attn.split()), tuple(mlp.split()), why)


_TYPES: dict[Row, str] = {
    _row(_L, "model.norm", "self_attn", "mlp"): """
        apertus apertus1p5_text arcee aria_text axk1 axk2 bailing_hybrid bitnet cohere cohere2
        cohere2_moe cohere_compass_text cosmos3_edge_text cwm deepseek_ocr2_text deepseek_v2
        deepseek_v3 deepseek_v32 diffllama dots1 dots3_note_text emu3_text_model ernie4_5
        ernie4_5_moe ernie4_5_vl_moe_text exaone exaone_moe flint gemma glm glm4_moe glm4_moe_lite
        glm4v_moe_text glm_moe_dsa gpt_oss granite granite_docling_text granite_swa helium
        hunyuan_v1_dense hunyuan_v1_moe hunyuan_vl_text hy_v3 internlm3 iquestcoder jais2
        kimi_linear laguna llama mellum mimo_v2_flash minicpm3 minimax_m2 minimax_m3_vl_text
        ministral ministral3 mistral mistral4 mistral_large4_text mixtral moshi muse_glimmer_text
        nanochat nemotron olmo olmoe paddleocr_vl_text phi3 phi4_multimodal phimoe
        qwen2 qwen2_5_omni_text qwen2_5_vl_text qwen2_moe qwen2_vl_text qwen3 qwen3_moe
        qwen3_omni_moe_text qwen3_vl_moe_text qwen3_vl_text sarvam_mla sarvam_moe seed_oss smollm3
        solar_open stablelm starcoder2 step3p5 unlimited_ocr_text vaultgemma youtu""",
    _row(_L, "model.norm", "self_attn linear_attn", "mlp"): """
        lara_mini qwen3_5_moe_text qwen3_5_text qwen3_next""",
    _row(_L, "model.norm", "self_attn", "feed_forward"): "llama4_text",
    _row(_L, "model.norm", "self_attention", "mlp"): "jetmoe",
    _row(_L, "model.norm", "self_attn", "block_sparse_moe"): "granitemoe",
    _row(_L, "model.norm", "self_attn", "block_sparse_moe+shared_mlp"): """
        granitemoe_swa granitemoeshared""",
    _row(_L, "model.norm", "self_attn mamba", "block_sparse_moe+shared_mlp shared_mlp"): """
        granitemoehybrid""",
    _row(_L, "model.norm", "self_attn.0+self_attn.1", "mlps.0+mlps.1+mlp"): "longcat_flash",
    _row(_L, "model.norm", _POST_NORMS, "post_feedforward_layernorm"): """
        beam exaone4 flex_olmo gemma2 gemma3_text olmo2 olmo3""",
    _row(
        _L,
        "model.norm",
        _POST_NORMS,
        "post_feedforward_layernorm+post_per_layer_input_norm post_feedforward_layernorm",
    ): "gemma4_text gemma4_unified_text",
    # Linear blocks norm before, attention blocks after, under names of the opposite meaning.
    _row(
        _L, "model.norm", f"linear_attn {_POST_NORMS}", "post_feedforward_layernorm mlp"
    ): "olmo_hybrid",
    _row(_L, "model.norm", _POST_NORMS, "post_mlp_layernorm"): "afmoe",
    _row(_L, "model.norm", "post_self_attn_layernorm", "post_mlp_layernorm"): """
        glm4 glm4v_text glm_ocr_text kolibri1""",
    _row(_L, "model.norm", "post_norm1", "post_norm2"): "hyperclovax",
    _row(_L, "model.norm", "attn_sconv", "mlp_sconv"): "inkling_text",
    _row(_L, "model.embedding_norm", "self_attn conv", "feed_forward"): "lfm2 lfm2_moe",
    _row(_L, "model.embedding_norm", "post_operator_norm", "post_ffn_norm"): "lfm3",
    _row(_L, "model.final_layernorm", "self_attn", "mlp"): "persimmon phi",
    _row(_L, "model.final_layernorm", "self_attn mamba", "feed_forward"): "bamba jamba",
    _row(_L, "model.final_layernorm", "mamba+self_attn", "feed_forward"): "falcon_h1",
    _row(_L, "model.final_layernorm", "mamba_decoder.mamba mamba"): "zamba zamba2",
    _row(_L, "model.norm_f", "mixer"): "nemotron_h",
    _row(_L, "model.final_norm", "temporal_block", "mlp_block"): "recurrent_gemma",
    _row(_L, "model.final_norm", "attn", "mlp"): "modernbert-decoder",
    _row(_L, "model.layer_norm", "self_attn", "fc2"): "xglm",
    _row("backbone.layers", "backbone.norm_f", "mixer"): "falcon_mamba mamba mamba2",
    _row("biogpt.layers", "biogpt.layer_norm", "self_attn", "fc2"): "biogpt",
    _row(_D, "model.decoder.final_layer_norm", "self_attn", "fc2"): "opt",
    # The decoder half of a translator, which adds what it reads of the encoder only if there is one
    _row(_D, "model.decoder.layer_norm", "self_attn", "fc2"): "blenderbot mbart pegasus whisper",
    _row(_D, "model.decoder.layernorm_embedding", "self_attn", "fc2"): "bigbird_pegasus",
    _row(_H, "transformer.ln_f", "attn", "mlp"): "codegen gpt2 gpt_bigcode gpt_neo gptj",
    _row(_H, "transformer.ln_f", "self_attention", "mlp"): "falcon",
    # Some modules add the residual themselves; their last layer gives what is added.
    _row(_H, "transformer.ln_f", "self_attention.dense", "mlp.dense_4h_to_h"): "bloom",
    _row(_B, "transformer.norm_f", "attn", "ffn.down_proj"): "mpt",
    _row(_B, "transformer.norm_f", "norm_attn_norm.attn", "ffn"): "dbrx",
    _row(_H, "transformer.layernorm", "multi_head_attention", "ffn"): "ctrl",
    _row("gpt_neox.layers", "gpt_neox.final_layer_norm", "attention", "mlp"): "gpt_neox",
    _row(
        "gpt_neox_japanese.layers", "gpt_neox_japanese.final_layer_norm", "attention", "mlp"
    ): "gpt_neox_japanese",
    _row("roberta.encoder.layer", "", "attention.output.dense", "output.dense"): "xlm-roberta-xl",
    _row(
        "roberta_prelayernorm.encoder.layer", "", "attention.output.dense", "output.dense"
    ): "roberta-prelayernorm",
    _row("bert.encoder.layer", "", "attention.output.dense", "output.dense"): "megatron-bert",
    _row(
        "rwkv.blocks",
        "rwkv.ln_out",
        "attention",
        "feed_forward",
        "its first block normalises the state before it adds to it",
    ): "rwkv",
    _row(
        _L, "model.norm", why="its blocks add to the normed state, not to the one that enters them"
    ): "minimax",
    _row(
        _L, "model.norm", why="its blocks multiply each dimension of the stream by a learned number"
    ): "doge",
    _row(
        _L,
        "model.norm",
        why="its blocks multiply each dimension of the stream by a learned number, and shift it by "
        "another",
    ): "zaya",
    _row(_L, why=_STREAMS): "deepseek_v4 hy_v4 qwen4_exp_text",
    Row(_D, ("",), why=_POST): "bart blenderbot-small marian mvp plbart trocr",
    _row("bert.encoder.layer", why=_POST): "bert bert-generation big_bird",
    _row("electra.encoder.layer", why=_POST): "electra",
    _row("ernie.encoder.layer", why=_POST): "ernie",
    _row("roc_bert.encoder.layer", why=_POST): "roc_bert",
    _row("roformer.encoder.layer", why=_POST): "roformer",
    _row("rembert.encoder.layer", why=_POST): "rembert",
    _row("roberta.encoder.layer", why=_POST): "camembert roberta xlm-roberta xmod",
    _row("data2vec_text.encoder.layer", why=_POST): "data2vec-text",
    Row(_H, ("",), why=_POST): "openai-gpt",
    Row("git.encoder.layer", ("",), why=_POST): "git",
}

ROWS: dict[str, Row] = {name: row for row, names in _TYPES.items() for name in names.split()}

# What is known and cannot be read layer by layer, with the reason.
REFUSED: dict[str, str] = {
    "blt": "it reads bytes in patches, by three stacks of blocks one inside the other",
    "cpmant": "it puts learned positions before the prompt, so that states and tokens do not match",
    "dory": _PASSES,
    "gemma3n": "its stream has four rows, which its blocks predict and correct",
    "gemma3n_text": "its stream has four rows, which its blocks predict and correct",
    "gemma4_assistant": _HELPER,
    "gemma4_unified_assistant": _HELPER,
    "hrm_text": _PASSES,
    "inkling2_loop_text": _PASSES,
    "inkling2_text": "its blocks attend to the states of earlier blocks, so that no single state "
    "decides what follows",
    "mllama": _IMAGES,
    "mllama_text_model": _IMAGES,
    "musicgen": _MUSIC,
    "musicgen_melody": _MUSIC,
    "prophetnet": "it predicts several tokens at once, in streams of their own",
    "reformer": "its blocks are reversible: two streams that take turns, not one",
    "xlm": "its layers are lists of parts and not blocks",
    "xlnet": "it reads text in any order, by two streams, and not from left to right",
    "xlstm": "its blocks need lengths that a prompt does not have",
}


def row_of(family: str) -> Row:
    """The row of a family; ModelError with the reason, or with the place to add one."""
    if family in REFUSED:
        raise ModelError(f"Strata cannot read {family} models layer by layer: {REFUSED[family]}.")
    if family not in ROWS:
        raise ModelError(
            f"Strata does not know the model family {family!r}; "
            "to add it, add one row in strata/model/families.py."
        )
    return ROWS[family]
