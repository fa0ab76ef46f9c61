"""Small tokenizers of the kinds that models have, and tiny models that read with them.

`bytes` is GPT-2's kind, `llama2` and `gemma` SentencePiece's with and without a space before every
text, `metaspace` the newer form of the former, `words` WordPiece's, `ends` a BPE whose tokens say
where a word ends.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from strata.model.model import Model
from strata.weights.catalogue import ModelCard
from tests import tiny

ROWS = 440  # of the tiny models' embeddings
BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
KINDS = ("bytes", "llama2", "gemma", "metaspace")
_TEXT = (
    "the cat sat on the mat and the dog ran after the other cat in the garden",
    "The cat and the dog sat on a mat",
)


@cache
def tokenizer(
    kind: str = "llama2", before: tuple[str, ...] = (), after: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """A tokenizer that puts the special tokens `before` and `after` around every text."""
    core = _core(kind)
    core.add_special_tokens(["[a]", "[b]"])
    if before or after:
        around = [*before, "$A", *after]
        ids = [(name, core.token_to_id(name)) for name in {*before, *after}]
        core.post_processor = processors.TemplateProcessing(
            single=" ".join(around), special_tokens=ids
        )
    names = {"bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN}
    return PreTrainedTokenizerFast(tokenizer_object=core, **names)


@cache
def model(kind: str = "llama2", before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Model:
    """A tiny random Llama that reads with that tokenizer."""
    return reading(tokenizer(kind, before, after))


def reading(fast: Any, rows: int = ROWS) -> Model:
    """A tiny random Llama with so many rows that reads with a tokenizer."""
    network = tiny.build("llama", vocab_size=rows)
    return Model("tiny", network, fast, ModelCard(id="tiny", source="folder", licence="none"))


def _core(kind: str) -> Tokenizer:
    special = [BEGIN, END, UNKNOWN]
    if kind == "bytes":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        core.train_from_iterator(_TEXT, trainer)
        return core
    if kind == "words":
        core = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
        core.pre_tokenizer = pre_tokenizers.Whitespace()
        core.decoder = decoders.WordPiece(cleanup=False)
        trainer = trainers.WordPieceTrainer(
            vocab_size=80, special_tokens=special, show_progress=False
        )
        core.train_from_iterator(_TEXT, trainer)
        return core
    if kind == "ends":
        core = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        core.decoder = decoders.BPEDecoder(suffix="</w>")
        trainer = trainers.BpeTrainer(
            vocab_size=60,
            special_tokens=special,
            end_of_word_suffix="</w>",
            show_progress=False,
        )
        core.train_from_iterator(_TEXT, trainer)
        return core
    return _sentencepiece(kind, special)


def _sentencepiece(kind: str, special: list[str]) -> Tokenizer:
    """Pieces that begin with "▁" for a space; what they cannot spell is spelled in bytes."""
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.Metaspace()
    learnt.train_from_iterator(_TEXT, trainers.BpeTrainer(vocab_size=120, show_progress=False))
    state = json.loads(learnt.to_str())["model"]
    names = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *state["vocab"]]
    core = Tokenizer(
        models.BPE(
            {name: i for i, name in enumerate(names)},
            [tuple(pair) for pair in state["merges"]],
            unk_token=UNKNOWN,
            byte_fallback=True,
        )
    )
    core.add_special_tokens(special)
    spaces = decoders.Replace("▁", " ")
    if kind == "metaspace":
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        core.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always", split=False)]
        )
        return core
    as_pieces = normalizers.Replace(" ", "▁")
    if kind == "llama2":
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), as_pieces])
        core.decoder = decoders.Sequence(
            [spaces, decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
        )
    else:
        core.normalizer = as_pieces
        core.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse()])
    return core
