"""The tokenizer of a SentencePiece model in a GGUF file, against SentencePiece itself."""

from __future__ import annotations

import io
from typing import Any

import pytest
import sentencepiece

from strata.model.compared_texts import TEXTS
from strata.model.gguf_tokenizer import tokenizer_of

UNKNOWN, CONTROL, USER_DEFINED, BYTE, NORMAL = 2, 3, 4, 6, 1
OWN = ("<think>", "</think>")


def trained(prefix: bool) -> sentencepiece.SentencePieceProcessor:
    """A small model of the texts, like Llama's: byte pairs by score, bytes for what it lacks."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in TEXTS for line in text.split("\n") if line),
        model_writer=written,
        model_type="bpe",
        vocab_size=500,
        character_coverage=0.98,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=prefix,
        user_defined_symbols=list(OWN),
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def keys_of(pieces: sentencepiece.SentencePieceProcessor, prefix: bool) -> dict[str, Any]:
    """The model as llama.cpp's converter writes it down."""
    tokens = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]

    def kind(i: int) -> int:
        if tokens[i] in OWN:
            return USER_DEFINED
        kinds = {UNKNOWN: pieces.is_unknown, CONTROL: pieces.is_control, BYTE: pieces.is_byte}
        return next((kind for kind, holds in kinds.items() if holds(i)), NORMAL)

    keys = {
        "model": "llama",
        "pre": "default",  # which means nothing for this kind
        "tokens": tokens,
        "scores": [pieces.get_score(i) for i in range(len(tokens))],
        "token_type": [kind(i) for i in range(len(tokens))],
        "add_space_prefix": prefix,
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


@pytest.mark.parametrize("prefix", [True, False], ids=["prefix", "no prefix"])
def test_ids_are_those_of_sentencepiece(prefix: bool) -> None:
    pieces = trained(prefix)
    core, _ = tokenizer_of(keys_of(pieces, prefix))
    for text in TEXTS:
        ids = core.encode(text).ids
        assert ids == pieces.encode(text)
        assert core.decode(ids) == text
    assert any(pieces.is_byte(i) for text in TEXTS for i in core.encode(text).ids)
