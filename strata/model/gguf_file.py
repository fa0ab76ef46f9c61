"""What is in a GGUF file, beside its weights: keys, the names and shapes of tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf

from strata.errors import ModelError


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file's header.

    `keys`: all of them, with their values. `tensors`: name -> shape in torch's order. `factors`:
    the tables of the rotation, tensors named rope_*, which are settings rather than weights.
    """

    keys: dict[str, Any]
    tensors: dict[str, tuple[int, ...]]
    factors: dict[str, list[float]]


def read_gguf(path: Path) -> GgufFile:
    """The header of a file; ModelError if it cannot be read or is one part of several."""
    try:
        reader = gguf.GGUFReader(path)
        keys = {key: field.contents() for key, field in reader.fields.items()}
        tensors = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
        factors = {
            t.name: gguf.dequantize(t.data, t.tensor_type).flatten().tolist()
            for t in reader.tensors
            if t.name.startswith("rope_")
        }
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise ModelError(f"{path.name} is not a GGUF file, or is cut short.") from error
    n_parts = keys.pop("split.count", 1)
    if n_parts > 1:
        raise ModelError(
            f"{path.name} is one of {n_parts} parts of a model; join them first with llama.cpp's "
            "llama-gguf-split --merge."
        )
    keys = {key: value for key, value in keys.items() if not key.startswith("split.")}
    return GgufFile(keys, tensors, factors)


def left_over(file: GgufFile, parameters: Mapping[str, Sequence[int]]) -> str:
    """The name of a tensor of the file that no parameter took; "" if all were taken.

    parameters: name -> shape in transformers' model, each once and all filled from the file. So the
    file was used up if it holds as many numbers; names only tell which tensor it was, since a
    parameter may be made of several tensors. Blocks that only foresee further tokens do not count.
    """
    architecture = file.keys["general.architecture"]
    n_blocks = file.keys[f"{architecture}.block_count"]
    n_own = n_blocks - file.keys.get(f"{architecture}.nextn_predict_layers", 0)
    beside = (*file.factors, *(f"blk.{block}." for block in range(n_own, n_blocks)))
    weights = {name: shape for name, shape in file.tensors.items() if not name.startswith(beside)}
    if sum(map(math.prod, weights.values())) == sum(map(math.prod, parameters.values())):
        return ""
    kind = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(kind, n_blocks)
    taken = {names.get_name(parameter, (".weight", ".bias")) for parameter in parameters}
    return min(weights.keys() - taken, default="a tensor")
