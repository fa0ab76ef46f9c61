"""Builds the tiny models: a configuration of the type's own class, then random weights."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from tests import tiny
from tests.families.sizes import BY_TYPE, LEAVE, SMALL

CAUSAL = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
WRAPPERS = tuple(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)
MOST = 8_000_000  # parameters: a larger one was not made tiny by the names that are known here

_TEXT_ONLY = {"sliding_window", "layer_types", "bos_token_id", "eos_token_id", "pad_token_id"}
_VISION: dict[str, Any] = {
    **{name: value for name, value in SMALL.items() if name not in _TEXT_ONLY | {"num_experts"}},
    "image_size": 28,
    "patch_size": 14,
    "crop_size": 28,
    "window_size": 2,
    "in_channels": 3,
    "hidden_size": 32,
    "embed_dim": 32,
    "out_hidden_size": 32,
    "projection_dim": 32,
    "depth": 2,
    "num_hidden_layers": 2,
    "num_heads": 4,
    "mlp_dim": 48,
    "output_channels": 16,
    "global_attn_indexes": [1],
    "fullatt_block_indexes": [1],
    "deepstack_visual_indexes": [1],
    "encoder_ffn_dim": 48,
    "num_position_embeddings": 16,
    "spatial_merge_size": 1,
}
_SECTIONS = (  # of the rotation, by time, height and width; a wrapper has no default for so few
    ("qwen2_vl qwen2_5_vl qwen2_5_omni_thinker paddleocr_vl glm4v glm46v glmga glm_ocr", [2, 1, 1]),
    ("glm4v_moe", [1, 1, 0]),
)


def config(family: str) -> PreTrainedConfig:
    """The tiny configuration of a causal type."""
    made = CONFIG_MAPPING[family]
    given = _given(made, SMALL, BY_TYPE.get(family))
    inner = (getattr(made, "sub_configs", None) or {}).get("text_config")
    if inner is not None:
        kind = _kind(made, "text_config", inner)
        own = BY_TYPE.get(kind.model_type, {}) | BY_TYPE.get(family, {}).get("text_config", {})
        given["text_config"] = _named(_given(kind, SMALL, own), kind, inner)
    return made(**given)


def build(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A causal model of this type with every parameter random; `changes` of its configuration."""
    chosen = config(family)
    for name, value in changes.items():
        setattr(chosen, name, value)
    torch.manual_seed(seed)
    return _random(AutoModelForCausalLM.from_config(chosen), seed)


def wrapper_config(family: str) -> PreTrainedConfig:
    """The tiny configuration of a wrapper: small towers, and the text model of its type."""
    made = CONFIG_MAPPING[family]
    given = _nested(made, SMALL)
    for name in _fields(made):
        if name.endswith(("token_id", "token_index")) and name.startswith(
            ("image", "video", "audio", "vision")
        ):
            given[name] = tiny.VOCABULARY - 1
    text = given.get("text_config")
    if isinstance(text, dict):
        if text.get("pad_token_id") is None:
            text["pad_token_id"] = 1
        for names, sections in _SECTIONS:
            if family in names.split():
                text["rope_parameters"] = {
                    "rope_type": "default",
                    "rope_theta": 10_000.0,
                    "mrope_section": sections,
                }
        if family in ("mistral4", "mistral_large4"):
            text["num_key_value_heads"] = 4
            text.pop("head_dim", None)
    return made(**given)


def wrapper(family: str, seed: int = 0) -> PreTrainedModel:
    """A wrapper of this type with every parameter random; ValueError if it is not tiny."""
    chosen = wrapper_config(family)
    with torch.device("meta"):
        sizes = [p.numel() for p in AutoModelForImageTextToText.from_config(chosen).parameters()]
    if sum(sizes) > MOST:
        raise ValueError(f"{sum(sizes):,} parameters are too many")
    torch.manual_seed(seed)
    return _random(AutoModelForImageTextToText.from_config(chosen), seed)


@torch.no_grad()
def _random(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """As `tests.tiny.randomise`, for models of any make: parameters of no axis, of whole numbers,
    learned buffers, and without an embedding."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(model.get_output_embeddings().weight)}
    if model.get_input_embeddings() is not None:
        embeddings.add(id(model.get_input_embeddings().weight))
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            continue
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim < 2:
            parameter.add_((0.15 if name.endswith("weight") and parameter.ndim else 0.1) * noise)
        else:
            parameter.copy_((0.4 if id(parameter) in embeddings else 0.2) * noise)
    for name, buffer in model.named_buffers():
        if name.endswith("layer_scalar"):  # of Gemma 4
            buffer.fill_(0.8)
    return model.eval()


def _fields(made: type[PreTrainedConfig]) -> set[str]:
    """The names of all values that a configuration has, of its parents' too."""
    return {name for each in made.__mro__ for name in getattr(each, "__annotations__", {})}


def _given(
    made: type[PreTrainedConfig], small: dict[str, Any], own: dict[str, Any] | None
) -> dict[str, Any]:
    """Those of the small values that a configuration has under this name, and its own."""
    known, other_names = _fields(made), getattr(made, "attribute_map", None) or {}
    found = {n: v for n, v in small.items() if n in known and n not in other_names}
    return {n: v for n, v in (found | (own or {})).items() if v is not LEAVE}


def _nested(made: type[PreTrainedConfig], small: dict[str, Any]) -> dict[str, Any]:
    given = _given(made, small, None)
    for name, inner in (getattr(made, "sub_configs", None) or {}).items():
        kind = _kind(made, name, inner)
        if kind is None:
            continue
        is_text = name == "decoder" or "text" in name
        below = _nested(kind, SMALL if is_text else _VISION)
        if is_text:
            below |= BY_TYPE.get(kind.model_type, {})
        given[name] = _named({n: v for n, v in below.items() if v is not LEAVE}, kind, inner)
    return given


def _kind(made: type[PreTrainedConfig], name: str, inner: Any) -> Any:
    """The class of a configuration inside another; where any will do, that of the default one."""
    if inner is not AutoConfig:
        return inner
    default = getattr(made(), name, None)
    return None if default is None else type(default)


def _named(given: dict[str, Any], kind: Any, inner: Any) -> dict[str, Any]:
    return given | {"model_type": kind.model_type} if inner is AutoConfig else given
