"""How many weights a model has, read from the headers of its files."""

from __future__ import annotations

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


def count_parameters(path: Path) -> int:
    """The number of weights in a .gguf file or in a folder's safetensors; raises ModelError."""
    if path.is_dir():
        return sum(_count_in_safetensors(part) for part in path.glob("*.safetensors"))
    return _count_in_gguf(path)


def _count_in_safetensors(path: Path) -> int:
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()
            return sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file, or is cut short.") from error


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
