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
_LONGEST = 512  # tokens of a text, in llama.cpp
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
    """llama.cpp, as the package cyllama brings it; ModelError where that is not installed."""
    if importlib.util.find_spec("cyllama") is None:
        raise ModelError(
            "No second reader of GGUF files is installed; “pip install cyllama” brings llama.cpp."
        )
    llama_cpp: Any = importlib.import_module("cyllama.llama.llama_cpp")

    class Opened(llama_cpp.LlamaModel):
        # cyllama 0.2, the last for Python 3.11, asks for this when it copies logits
        n_vocab = property(lambda self: self.get_vocab().n_vocab)

    llama_cpp.disable_logging()
    network = Opened(str(gguf))
    settings = llama_cpp.LlamaContextParams()
    settings.n_ctx = settings.n_batch = _LONGEST
    run = llama_cpp.LlamaContext(network, settings)

    def read(text: str) -> tuple[list[int], Tensor]:
        ids = list(network.get_vocab().tokenize(text, True, True))
        batch = llama_cpp.LlamaBatch(n_tokens=_LONGEST, embd=0, n_seq_max=1)
        batch.set_batch(ids, 0, False)
        batch.set_last_logits_to_true()
        run.kv_cache_clear(True)
        run.decode(batch)
        return ids, torch.tensor(run.get_logits())

    return read
