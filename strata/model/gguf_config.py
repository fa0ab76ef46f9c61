"""What a GGUF file says about a model's arithmetic, as arguments of transformers' config.

One row an architecture: which key becomes which argument. Nothing is read beside the rows: a key
that no row takes, and that could change a number, is a reason to refuse the file. What the format
leaves to its readers (`fixed`, and constants below) is as in src/llama-model.cpp of
ggml-org/llama.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gguf

from strata.errors import ModelError

_SHAPE = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
}
_RMS = {"attention.layer_norm_rms_epsilon": "rms_norm_eps"}
_EPS = "attention.layer_norm_epsilon"
_WINDOW = {"attention.sliding_window": "sliding_window"}
_LAST_CAP = {"final_logit_softcapping": "final_logit_softcapping"}
_CAPS = {"attn_logit_softcapping": "attn_logit_softcapping", **_LAST_CAP}
_EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
_SAYS_NOTHING = {  # keys that change no number while they have this value
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 8.0,  # BLOOM's own, which is the only one that transformers has
    "attention.scale": 0.0,
    "embedding_scale": 0.0,
    "expert_count": 0,
    "expert_used_count": 0,
    "expert_weights_scale": 0.0,
    "logit_scale": 0.0,
    "nextn_predict_layers": 0,
    "residual_scale": 0.0,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_log_multiplier": 0.0,
    "tensor_data_layout": "jploski",  # Falcon's, for one head of keys and values the same as plain
}
_NONE_IF_0 = {"sliding_window", *_CAPS.values()}  # zero says that there is none, as for Phi 4
_NO_MATTER = ("rope.scaling.finetuned", "vocab_size")  # a remark; the embedding has its rows
# Keys of an architecture begin with its name; no reader looks at others, a converter's notes say.
_ARCHITECTURES = frozenset(gguf.MODEL_ARCH_NAMES.values())
_ROPE_BASE = 10_000.0  # where the file gives none


@dataclass(frozen=True)
class Family:
    """How an architecture of the format becomes a config of transformers.

    `keys`: key after the architecture's name -> argument. `rope`: "" without rotary positions,
    "whole", "part" where fewer dimensions than the head's may turn, "local" with a second base for
    blocks that see a window. `head_dim`: a head may have another width than D / heads. `shown`:
    argument -> a tensor whose presence makes it true. `otherwise`: arguments where their key is
    missing. `fixed`: arguments that no key gives. `equal`: keys that must have the value of
    another (None: of 1) times a number.
    """

    model_type: str
    keys: Mapping[str, str]
    rope: str = "whole"
    head_dim: bool = False
    shown: Mapping[str, str] = field(default_factory=dict)
    otherwise: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    equal: Mapping[str, tuple[str | None, int]] = field(default_factory=dict)


_QKV_BIAS = {"attention_bias": "blk.0.attn_q.bias"}
_MLP_BIAS = {"mlp_bias": "blk.0.ffn_up.bias"}
_NO_WINDOW = {"sliding_window": None}
FAMILIES: dict[str, Family] = {
    "llama": Family("llama", _SHAPE | _RMS, head_dim=True, shown=_QKV_BIAS | _MLP_BIAS),
    "qwen2": Family("qwen2", _SHAPE | _RMS),
    "qwen3": Family("qwen3", _SHAPE | _RMS, head_dim=True, shown=_QKV_BIAS),
    "qwen3moe": Family(
        "qwen3_moe",
        _SHAPE | _RMS | _EXPERTS,
        head_dim=True,
        shown=_QKV_BIAS,
        fixed={"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []},
    ),
    "phi3": Family("phi3", _SHAPE | _RMS | _WINDOW, rope="part", otherwise=_NO_WINDOW),
    "gpt2": Family(
        "gpt2",
        {
            "context_length": "n_positions",
            "block_count": "n_layer",
            "embedding_length": "n_embd",
            "feed_forward_length": "n_inner",
            "attention.head_count": "n_head",
            _EPS: "layer_norm_epsilon",
        },
        rope="",
        equal={"attention.head_count_kv": ("attention.head_count", 1)},
    ),
    "bloom": Family(
        "bloom",
        {
            "context_length": "seq_length",
            "block_count": "n_layer",
            "embedding_length": "hidden_size",
            "attention.head_count": "n_head",
            _EPS: "layer_norm_epsilon",
        },
        rope="",
        equal={
            "attention.head_count_kv": ("attention.head_count", 1),
            "feed_forward_length": ("embedding_length", 4),
        },
    ),
    "falcon": Family(  # Falcon 7B; of larger ones transformers does not undo the grouping of heads
        "falcon",
        {
            "context_length": "max_position_embeddings",
            "block_count": "num_hidden_layers",
            "embedding_length": "hidden_size",
            "feed_forward_length": "ffn_hidden_size",
            "attention.head_count": "num_attention_heads",
            _EPS: "layer_norm_epsilon",
        },
        fixed={
            "multi_query": True,
            "parallel_attn": True,
            "new_decoder_architecture": False,
            "alibi": False,
            "bias": False,
        },
        equal={"attention.head_count_kv": (None, 1)},
    ),
    "stablelm": Family(
        "stablelm",
        _SHAPE | {_EPS: "layer_norm_eps"},
        rope="part",
        shown={"use_qkv_bias": "blk.0.attn_q.bias"},
    ),
    "starcoder2": Family("starcoder2", _SHAPE | {_EPS: "norm_epsilon"}),
    "nemotron": Family(
        "nemotron",
        _SHAPE | {_EPS: "norm_eps"},
        rope="part",
        head_dim=True,
        shown=_QKV_BIAS | _MLP_BIAS,
    ),
    "gemma2": Family(
        "gemma2",
        _SHAPE | _RMS | _WINDOW | _CAPS,
        head_dim=True,
        otherwise={
            "sliding_window": 4096,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3": Family(
        "gemma3_text",
        _SHAPE | _RMS | _WINDOW | _LAST_CAP,
        rope="local",
        head_dim=True,
        otherwise=_NO_WINDOW | {"final_logit_softcapping": None},
    ),
}
# transformers reads these whole itself and raises where one is missing: what it takes, and no more
_BY_TRANSFORMERS: dict[str, tuple[str, ...]] = {
    "lfm2": (*_SHAPE, *_RMS, "rope.freq_base", "shortconv.l_cache"),
    "qwen35": (
        *_SHAPE,
        *_RMS,
        *("attention.key_length", "attention.value_length", "full_attention_interval"),
        *("rope.freq_base", "rope.dimension_count", "rope.dimension_sections"),
        *(f"ssm.{name}" for name in "conv_kernel state_size group_count time_step_rank".split()),
        "ssm.inner_size",
        "nextn_predict_layers",  # blocks after the last, which foresee tokens for speed only
    ),
}
_LARGEST = {"gemma2": 46, "gemma3": 62}  # blocks of the 27B models, which scale by D / heads


def arguments_of(
    keys: Mapping[str, Any],
    tensors: Mapping[str, Sequence[int]],
    factors: Mapping[str, list[float]],
) -> tuple[str, dict[str, Any]] | None:
    """(model_type, arguments of its config) of a GGUF file; None where transformers reads it whole.

    keys: all of the file. tensors: name -> shape, as torch has it. factors: the values of tensors
    named rope_*: by how much each frequency of the rotation is divided. Raises ModelError, naming
    the key, where something would be left out.
    """
    name = str(keys.get("general.architecture"))
    if name not in FAMILIES and name not in _BY_TRANSFORMERS:
        raise ModelError(
            f"Strata does not read GGUF files of the architecture {name!r}; it reads "
            f"{', '.join(sorted({*FAMILIES, *_BY_TRANSFORMERS}))}."
        )
    found = _Keys(name, keys)
    if name in _BY_TRANSFORMERS:
        found.refuse_others(_BY_TRANSFORMERS[name])
        if factors:
            raise _left_out(min(factors), "a table")
        return None
    row = FAMILIES[name]
    arguments = _ids(keys) | {
        "vocab_size": tensors["token_embd.weight"][0],
        "tie_word_embeddings": "output.weight" not in tensors,
        **{argument: tensor in tensors for argument, tensor in row.shown.items()},
        **row.fixed,
    }
    heads, width = found.take("attention.head_count"), found.take("embedding_length")
    otherwise = {"num_key_value_heads": heads, **row.otherwise}
    for key, argument in row.keys.items():
        value = found.take(key, otherwise.get(argument, _NEEDED))
        arguments[argument] = value or None if argument in _NONE_IF_0 else value
    for key, (other, times) in row.equal.items():
        found.require(key, times * (found.take(other) if other else 1))
    head_dim = width // heads
    if row.head_dim:
        arguments["head_dim"] = head_dim = found.take("attention.key_length", head_dim)
    found.require("attention.key_length", head_dim)
    found.require("attention.value_length", head_dim)
    if row.rope:
        arguments["rope_parameters"] = rope = _rope(found, row, head_dim, factors)
        if (
            row.model_type == "phi3" and factors
        ):  # its config's own value would win over the table's
            original = "original_max_position_embeddings"
            arguments[original] = rope[original]
    if name == "stablelm":
        arguments["use_parallel_residual"] = "blk.0.ffn_norm.weight" not in tensors
        found.require("use_parallel_residual", arguments["use_parallel_residual"])
    if name in _LARGEST:
        largest = arguments["num_hidden_layers"] == _LARGEST[name]
        arguments["query_pre_attn_scalar"] = width // heads if largest else head_dim
        pattern = 2 if name == "gemma2" else found.take("attention.sliding_window_pattern", 6)
        arguments["layer_types"] = [
            "sliding_attention"
            if arguments["sliding_window"] and (block + 1) % pattern
            else "full_attention"
            for block in range(arguments["num_hidden_layers"])
        ]
    found.refuse_others()
    return row.model_type, arguments


_NEEDED = object()


class _Keys:
    """The keys of the file's architecture. What nobody takes must be without meaning."""

    def __init__(self, name: str, keys: Mapping[str, Any]) -> None:
        self._keys = keys
        self._name = name
        self._taken: set[str] = set()

    def take(self, key: str, otherwise: Any = _NEEDED) -> Any:
        """The value of a key; a list, one value a block, must hold one value only."""
        full = f"{self._name}.{key}"
        self._taken.add(full)
        value = self._keys.get(full, otherwise)
        if value is _NEEDED:
            raise ModelError(f"This GGUF file has no {full}, which its architecture needs.")
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise _left_out(full, value)
            value = value[0]
        return value

    def require(self, key: str, value: Any) -> None:
        """Refuse the file if it has this key with another value."""
        if self.take(key, value) != value:
            raise _left_out(f"{self._name}.{key}", self.take(key))

    def refuse_others(self, but: Sequence[str] = ()) -> None:
        """Refuse the file if it has a key that nobody took, unless it is without meaning."""
        for full, value in self._keys.items():
            name, _, key = full.partition(".")
            if full in self._taken or name not in _ARCHITECTURES:
                continue
            known = key in (*but, *_NO_MATTER) or _SAYS_NOTHING.get(key, _NEEDED) == value
            if name != self._name or not known:
                raise _left_out(full, value)


def _left_out(key: str, value: Any) -> ModelError:
    shown = str(value)
    return ModelError(
        f"This GGUF file says {key} = {shown if len(shown) <= 60 else shown[:60] + '...'}, which "
        "Strata cannot follow, so the model's numbers would not be its own."
    )


def _ids(keys: Mapping[str, Any]) -> dict[str, int | None]:
    names = {"bos": "bos", "eos": "eos", "pad": "padding"}
    return {f"{n}_token_id": keys.get(f"tokenizer.ggml.{key}_token_id") for n, key in names.items()}


# Rotary positions ----------------------------------------------------------------------------


def _rope(
    found: _Keys, row: Family, head_dim: int, factors: Mapping[str, list[float]]
) -> dict[str, Any]:
    n_turned = found.take("rope.dimension_count", head_dim)
    rope = {"rope_theta": found.take("rope.freq_base", _ROPE_BASE), **_scaling(found, factors)}
    if row.rope == "part":
        rope["partial_rotary_factor"] = n_turned / head_dim
    else:
        found.require("rope.dimension_count", head_dim)
    if row.rope == "local":
        base = found.take("rope.freq_base_swa", _ROPE_BASE)
        local = {"rope_type": "default", "rope_theta": base}
        return {"full_attention": rope, "sliding_attention": local}
    return rope


def _scaling(found: _Keys, factors: Mapping[str, list[float]]) -> dict[str, Any]:
    kind = found.take("rope.scaling.type", "linear")
    factor = found.take("rope.scaling.factor", 0.0) or found.take("rope.scale_linear", 0.0) or 1.0
    context = found.take("context_length")
    original = found.take("rope.scaling.original_context_length", context)
    attention = found.take("rope.scaling.attn_factor", 1.0)
    fast = found.take("rope.scaling.yarn_beta_fast", 32.0)
    slow = found.take("rope.scaling.yarn_beta_slow", 1.0)
    if factors:
        # A table of its own for each frequency, such as Llama 3's, is what transformers calls
        # longrope; the short and the long table are one where the file has only one.
        if factor != 1.0:
            raise _left_out(min(factors), "a table, beside a factor")
        short, long = (
            factors.get(f"rope_factors_{name}.weight") or factors.get("rope_freqs.weight")
            for name in ("short", "long")
        )
        if not short or not long:
            raise _left_out(min(factors), "one of two tables")
        return {
            "rope_type": "longrope",
            "short_factor": short,
            "long_factor": long,
            "original_max_position_embeddings": original,
            "attention_factor": attention,
        }
    if kind == "yarn":
        found.require("rope.scaling.attn_factor", 1.0)
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "beta_fast": fast,
            "beta_slow": slow,
        }
    if kind not in ("none", "linear"):
        found.require("rope.scaling.type", "linear")
    found.require("rope.scaling.attn_factor", 1.0)
    if kind == "none" or factor == 1.0:
        return {"rope_type": "default"}
    return {"rope_type": "linear", "factor": factor}
