"""How many weights a model has, read from the headers of its files."""

from __future__ import annotations

import json
import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open

from strata.errors import ModelError

GGUF_WIDTHS = {
    0: 1,
    1: 1,
    2: 2,
    3: 2,
    4: 4,
    5: 4,
    6: 4,
    7: 1,
    10: 8,
    11: 8,
    12: 8,
}  # bytes of a type
GGUF_STRING, GGUF_ARRAY = 8, 9
_INTEGERS = {"I8": 8, "U8": 8, "I32": 32}  # types in which weights are packed


def count_parameters(path: Path) -> int:
    """The number of weights in a .gguf file or in a folder's safetensors; raises ModelError.

    Of a folder's files those count that transformers reads, and of packed integers each weight.
    """
    if path.is_dir():
        try:
            bits = _packed_bits(path)
            return sum(_count_in_safetensors(part, bits) for part in _parts(path))
        except (AttributeError, TypeError, ValueError, OSError) as error:
            raise ModelError(
                f"The files of {path} that say where its weights are cannot be read."
            ) from error
    return _count_in_gguf(path)


def _parts(folder: Path) -> list[Path]:
    """The files with a model's weights, without copies in another format that lie beside them
    (`consolidated.safetensors` is the same model once more)."""
    shards = _described(folder / "model.safetensors.index.json").get("weight_map", {})
    if shards:
        return [folder / name for name in sorted(set(shards.values()))]
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def _packed_bits(folder: Path) -> int | None:
    """Bits of each weight, where a folder holds several in one integer; None where it does not."""
    told = _described(folder / "config.json").get("quantization_config") or {}
    if told.get("load_in_4bit") or told.get("quant_method") == "mxfp4":
        return 4
    groups = (told.get("config_groups") or {}).values()
    inside = [(group.get("weights") or {}).get("num_bits") for group in groups]
    return next(filter(None, (told.get("bits"), told.get("w_bit"), *inside)), None)


def _described(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError):  # what is wrong with it is told when the model is loaded
        return {}


def _count_in_safetensors(path: Path, bits: int | None) -> int:
    try:
        with safe_open(path, framework="numpy") as file:
            return sum(_weights_of(file.get_slice(name), bits) for name in list(file.keys()))
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file, or is cut short.") from error


def _weights_of(tensor: Any, bits: int | None) -> int:
    width = _INTEGERS.get(tensor.get_dtype(), 0)  # of one number, in bits
    packed = width // bits if bits and width > bits else 1
    return math.prod(tensor.get_shape()) * packed


def _count_in_gguf(path: Path) -> int:
    try:
        with path.open("rb") as file:
            magic, _version, n_tensors, n_keys = _unpack(file, "<4sIQQ")
            if magic != b"GGUF":
                raise ValueError("no GGUF magic")
            for _ in range(n_keys):
                _skip_string(file)
                _skip_value(file, _unpack(file, "<I")[0])
            return sum(_tensor_size(file) for _ in range(n_tensors))
    except (struct.error, ValueError, KeyError, OverflowError) as error:
        raise ModelError(f"{path} is not a GGUF file, or is cut short.") from error


def _unpack(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _skip_string(file: BinaryIO) -> None:
    file.seek(_unpack(file, "<Q")[0], os.SEEK_CUR)


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == GGUF_STRING:
        _skip_string(file)
    elif kind == GGUF_ARRAY:
        item, length = _unpack(file, "<IQ")
        if item in GGUF_WIDTHS:
            file.seek(GGUF_WIDTHS[item] * length, os.SEEK_CUR)
        else:
            for _ in range(length):
                _skip_value(file, item)
    else:
        file.seek(GGUF_WIDTHS[kind], os.SEEK_CUR)


def _tensor_size(file: BinaryIO) -> int:
    _skip_string(file)
    (n_dimensions,) = _unpack(file, "<I")
    *shape, _kind, _offset = _unpack(file, f"<{n_dimensions}QIQ")
    return math.prod(shape)
