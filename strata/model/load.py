"""Loading a model: weights, tokenizer and device, with every failure in one sentence."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    GgufConfig,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
)

from strata.errors import ModelError, NotEnoughMemory, StrataError, of_a_library
from strata.model import remembered
from strata.model.architecture import text_type
from strata.model.compared_texts import TEXTS
from strata.model.device import best_device, device_named, free_memory, number_type
from strata.model.families import row_of
from strata.model.gguf_config import arguments_of
from strata.model.gguf_file import left_over, read_gguf
from strata.model.gguf_tokenizer import tokenizer_of
from strata.model.model import Model, Progress
from strata.weights import sources
from strata.weights.catalogue import resolve
from strata.weights.fitting import require_memory

_MADE = re.compile(r"(inv_freq|masked_bias|position_ids|(attn|attention)\.bias|rotary_emb\.\w+)$")
_AHEAD = re.compile(r"\.(eh_proj|enorm|hnorm)\..*")  # of a block that guesses further ahead
_OPTIONS = {"add_prefix_space", "trim_offsets", "prepend_scheme"}
log = logging.getLogger(__name__)


def load_model(
    name_or_path: str,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    progress: Progress | None = None,
) -> Model:
    """Load a model by catalogue name, hub id, local folder or path to a .gguf file.

    device None: cuda, then mps, then cpu. dtype None: float32 on the CPU, the catalogue's on a
    GPU. Only safetensors are read and no code from a repository is ever run. Raises ModelError.
    """
    card = resolve(str(name_or_path))
    place = best_device() if device is None else device_named(device)
    usual = "float32" if place.type == "cpu" else card.dtype
    numbers = number_type(dtype if dtype is not None else usual)
    tell = progress or (lambda fraction, message: None)
    require_memory(card, numbers.itemsize)
    folder = sources.folder(card, convert_gguf, lambda done, what: tell(0.9 * done, what))
    require_memory(card, numbers.itemsize)  # the size of what was not in the catalogue is known now
    tell(0.9, f"Loading {card.title}")
    version = transformers.__version__
    try:
        with _or_say(
            f"The config.json of {card.title} cannot be read, or is of a model that transformers "
            f"{version} does not know."
        ):
            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            row_of(text_type(config))
            reader = _reader(config.model_type, card.title)
        with _or_say(
            f"The weights of {card.title} cannot be read: its folder needs whole safetensors files "
            "that fit its config.json."
        ):
            network = _weights(reader, folder, card.title, numbers)
        with _or_say(
            f"The tokenizer of {card.title} could not be read; its folder needs a tokenizer.json "
            "that was written by save_pretrained of transformers."
        ):
            tokenizer = _tokenizer(folder, converted=card.source in ("bundled", "gguf"))
        with _or_say(
            f"{card.title} could be loaded but not run: transformers {version} fails on a short "
            "text with this config.json."
        ):
            network = network.to(place)
            key = remembered.key(folder, network.device, numbers)
            model = Model(card.id, network, tokenizer, card, remembered.recall(key))
    except (torch.OutOfMemoryError, MemoryError):
        free_memory()
        raise NotEnoughMemory(f"{card.title} does not fit in the memory of {place}.") from None
    if model.agreements is not None:
        remembered.keep(key, model.agreements)
    tell(1.0, f"{card.title} is ready")
    return model


@contextmanager
def _or_say(sentence: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes this one sentence; the server's log keeps what it was."""
    try:
        yield
    except (StrataError, torch.OutOfMemoryError, MemoryError):
        raise
    except ImportError as error:
        missing = f"the package {error.name!r}" if error.name else "a package"
        raise ModelError(f"This model needs {missing}, which is not installed.") from error
    except BaseException as error:
        if not of_a_library(error):
            raise
        log.info("%s %s: %s", sentence, type(error).__name__, error)
        raise ModelError(sentence) from error


def _reader(family: str, title: str) -> Any:
    """The class of transformers that makes a causal language model of such a config: of one with
    pictures or sound the whole wrapper, of which only the text model is run."""
    if family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return AutoModelForCausalLM
    if family in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return AutoModelForImageTextToText
    raise ModelError(
        f"{title} is a {family} model, which transformers {transformers.__version__} does not "
        "run as a language model."
    )


def _tokenizer(folder: Path, converted: bool) -> Any:
    """The tokenizer of a folder. Its tokenizer.json is the model's own rule of cutting texts;
    AutoTokenizer of transformers 5 puts that of some families in its place (of a qwen2 model that
    was trained with another tokenizer, say), so where both differ the file counts."""
    given: Any = {"trust_remote_code": False, "local_files_only": True}
    if not converted:
        chosen = AutoTokenizer.from_pretrained(folder, **given)
        if _splits_as(folder / "tokenizer.json", chosen):
            return chosen
    return PreTrainedTokenizerFast.from_pretrained(folder, **given)


def _splits_as(file: Path, tokenizer: Any) -> bool:
    """Whether a tokenizer splits texts as the file says; True where there is none, and where what
    differs are options such as lower case, which are the tokenizer's to set."""
    if not file.is_file() or not tokenizer.is_fast:
        return True
    own = tokenizers.Tokenizer.from_file(str(file))
    own.no_truncation()
    own.no_padding()
    for text in TEXTS:
        try:
            told = own.encode(text, add_special_tokens=False).ids
            if told != tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]:
                return _cuts(own) == _cuts(tokenizer.backend_tokenizer)
        except Exception as error:  # of characters for which it has no token
            log.info("%s: %s", file, error)
    return True


def _cuts(tokenizer: tokenizers.Tokenizer) -> list[dict[str, Any]]:
    """Where a tokenizer cuts texts, step by step, without its options for spaces."""

    def steps(told: dict[str, Any] | None) -> list[dict[str, Any]]:
        inner = (told or {}).get("pretokenizers")
        if inner is not None:
            return [step for each in inner for step in steps(each)]
        return [{k: v for k, v in told.items() if k not in _OPTIONS}] if told else []

    return steps(json.loads(tokenizer.to_str())["pre_tokenizer"])


def _weights(reader: Any, folder: Path, title: str, numbers: torch.dtype) -> Any:
    network, found = reader.from_pretrained(
        folder,
        output_loading_info=True,
        dtype=numbers,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
    )
    if found["missing_keys"]:
        raise ModelError(
            f"The weights of {title} are incomplete: {min(found['missing_keys'])} is missing."
        )
    blocks = row_of(text_type(network.config)).blocks
    unread = found["unexpected_keys"]
    ahead = {_AHEAD.sub("", name) for name in unread if _AHEAD.search(name)}
    lost = sorted(
        name
        for name in unread
        if _counts(name, blocks) and not any(name.startswith(f"{one}.") for one in ahead)
    )
    if lost:
        raise ModelError(
            f"The weights of {title} hold {lost[0]}, for which its config.json has no place, so "
            "its numbers would be another model's."
        )
    return network


def _counts(name: str, blocks: str) -> bool:
    """Whether a tensor that nothing reads is a weight of a block, so that what it did is missing;
    tables that a model makes by itself lie beside weights in older files."""
    of_a_block = re.search(rf"(^|\.){re.escape(blocks)}\.\d+\.", name)
    return of_a_block is not None and not _MADE.search(name)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write a .gguf file's weights (dequantized to float32) and tokenizer as a plain folder.

    transformers turns tensors into weights; what the keys mean, and the tokenizer, is read by
    Strata, since transformers passes over what it does not know. Raises ModelError where anything
    in the file would be left out.
    """
    file = read_gguf(gguf)
    tokenizer, special = tokenizer_of(file.keys)
    described = arguments_of(file.keys, file.tensors, file.factors)
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    config = (
        AutoConfig.for_model(described[0], **described[1])
        if described
        else AutoConfig.from_pretrained(**source)
    )
    row_of(config.model_type)  # before minutes are spent
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        **source,
        config=config,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # so that they are told apart below
    )
    network, found = loaded
    if found["mismatched_keys"]:
        name, theirs, ours = min(found["mismatched_keys"])
        raise ModelError(
            f"{gguf.name} has {tuple(theirs)} numbers for {name}, where its keys ask for "
            f"{tuple(ours)}."
        )
    if found["missing_keys"]:
        raise ModelError(f"{gguf.name} has no tensor for {min(found['missing_keys'])}.")
    over = left_over(file, {name: p.shape for name, p in network.named_parameters()})
    if over:
        raise ModelError(
            f"{gguf.name} holds {over}, which transformers' {config.model_type} model has no place "
            "for, so the model's numbers would not be its own."
        )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        chat_template=file.keys.get("tokenizer.chat_template"),
        **special,
    ).save_pretrained(folder)
    network.save_pretrained(folder)
