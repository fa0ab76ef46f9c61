"""A second opinion: tokens and final logits of one model, read by Strata and by somebody else."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from strata.errors import ModelError
from strata.model.compared_texts import TEXTS
from strata.model.model import Model

# Other readers compute with a file's quantized weights, transformers with the same in float32.
TOLERANCES = {"transformers": 1e-3, "gguf": 2.0}
Reader = Callable[[str], tuple[list[int], Tensor]]  # text -> token ids, logits (V,) after them


@dataclass(frozen=True)
class Comparison:
    """One text read twice: both token ids, and the largest difference of the logits that follow it
    (NaN where the tokens differ, since then they follow something else)."""

    text: str
    ours: list[int]
    theirs: list[int]
    difference: float
    same_best: bool

    @property
    def same_tokens(self) -> bool:
        return self.ours == self.theirs


def compare(model: Model, reader: Reader) -> Iterator[Comparison]:
    """Each of the texts read by Strata's model and by another reader of the same weights."""
    for text in TEXTS:
        trace = model.capture(text)
        ours, logits = trace.token_ids.tolist(), trace.logits[-1].float()
        theirs, other = reader(text)
        if ours != theirs:
            yield Comparison(text, ours, theirs, float("nan"), False)
            continue
        shared = min(len(logits), len(other))
        difference = float((logits[:shared] - other[:shared]).abs().max())
        same_best = int(logits.argmax()) == int(other.argmax())
        yield Comparison(text, ours, theirs, difference, same_best)


def by_transformers(folder: Path) -> Reader:
    """transformers' own tokenizer, and its own `generate` with a cache, in float32 on the CPU."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    network: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
    ).eval()

    def read(text: str) -> tuple[list[int], Tensor]:
        inputs = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            made = network.generate(
                **inputs,
                max_new_tokens=1,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
                pad_token_id=0,
            )
        return inputs["input_ids"][0].tolist(), made.logits[0][0]

    return read


def by_llama_cpp(gguf: Path) -> Reader:
    """llama.cpp, as the package llama-cpp-python brings it; ModelError where that is missing."""
    if importlib.util.find_spec("llama_cpp") is None:
        raise ModelError(
            "No second reader of GGUF files is installed; “pip install llama-cpp-python” brings "
            "llama.cpp."
        )
    llama_cpp: Any = importlib.import_module("llama_cpp")
    network = llama_cpp.Llama(str(gguf), n_ctx=512, logits_all=True, verbose=False)

    def read(text: str) -> tuple[list[int], Tensor]:
        ids = network.tokenize(text.encode("utf-8"), add_bos=True, special=True)
        network.reset()
        network.eval(ids)
        return list(ids), torch.tensor(network.scores[len(ids) - 1])

    return read
