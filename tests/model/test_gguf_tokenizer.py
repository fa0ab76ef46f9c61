"""The tokenizer of a GGUF file: its rule, its special tokens, its flags, or a refusal by name."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import regex
from tokenizers import Regex, Tokenizer, pre_tokenizers

from strata.errors import ModelError
from strata.model import Model
from strata.model.compared_texts import TEXTS
from strata.model.gguf_rules import RULES
from strata.model.gguf_tokenizer import tokenizer_of
from tests import tiny

HERE = Path(__file__).parent


@cache
def written() -> dict[str, list[str]]:
    """Name of a rule -> its expressions, as written in the source of the format."""
    rules = tomllib.loads((HERE / "pre_tokenizers.toml").read_text(encoding="utf-8"))["rule"]
    return {name: rule["expressions"] for rule in rules for name in rule["names"].split()}


def words(text: str, expressions: list[str]) -> list[str]:
    """What an expression matches, and what lies between, is a piece for the next expression."""
    pieces = [text]
    for expression in expressions:
        parted: list[str] = []
        for piece in pieces:
            done = 0
            for match in regex.finditer(expression, piece, regex.VERSION1):
                parted += [piece[done : match.start()], match.group()]
                done = match.end()
            parted.append(piece[done:])
        pieces = [piece for piece in parted if piece]
    return pieces


@pytest.mark.parametrize("name", RULES)
def test_each_rule_cuts_as_its_source_says(name: str) -> None:
    """By another engine for regular expressions (package regex) and the source's own words."""
    ours = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(each), "isolated") for each in RULES[name].expressions]
    )
    for text in TEXTS:
        assert [piece for piece, _ in ours.pre_tokenize_str(text)] == words(text, written()[name])


def test_no_rule_of_the_source_is_missing() -> None:
    assert RULES.keys() == written().keys()


@cache
def expected() -> dict[str, Any]:
    return json.loads((HERE / "llama_cpp_ids.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", expected()["rules"])
def test_each_rule_gives_the_ids_of_llama_cpp(name: str) -> None:
    """In a vocabulary whose tokens reach over words, so that it shows where words end; but for a
    few texts, on which llama.cpp departs from the model's own rule (docs/models.md says why)."""
    right = expected()["rules"][name]
    tokens = expected()["tokens"].split(" ")
    core, _ = tokenizer_of(
        byte_pairs(
            pre=name,
            tokens=tokens,
            token_type=[3, *[1] * (len(tokens) - 1)],
            merges=expected()["merges"].split("\n"),
        )
    )
    texts = [text for text in TEXTS if text not in right["apart"]]
    found = json.dumps([each.ids for each in core.encode_batch(texts)])
    assert hashlib.sha256(found.encode()).hexdigest() == right["sha256"]
    assert len(right["apart"]) <= 3


def test_the_bundled_models_tokens_are_those_of_llama_cpp(model: Model) -> None:
    ids = expected()["smollm2-135m"]
    assert len(ids) >= 40
    for text, right in ids.items():
        assert model.encode(text).tolist() == right, text


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("a  12", ("a", "  ", "1", "2")),
        ("a\n\n12", ("a", "\n\n", "1", "2")),
        (
            "x = 3;\n\n    return  42",
            ("x", " =", " ", "3", ";", "\n\n   ", " return", "  ", "4", "2"),
        ),
    ],
)
def test_the_bundled_models_spaces_before_digits(
    text: str, tokens: tuple[str, ...], model: Model
) -> None:
    assert model.capture(text).tokens == tokens


# Byte pairs ----------------------------------------------------------------------------------


def byte_pairs(**changes: Any) -> dict[str, Any]:
    """Keys of a file with the tokenizer of `tests.tiny`; `changes` by what follows the last dot."""
    bpe = json.loads(tiny.tokenizer().backend_tokenizer.to_str())["model"]
    keys = {
        "model": "gpt2",
        "pre": "gpt-2",
        "tokens": sorted(bpe["vocab"], key=bpe["vocab"].get),
        "token_type": [3, *[1] * (tiny.VOCABULARY - 1)],
        "merges": [" ".join(pair) for pair in bpe["merges"]],
        "eos_token_id": tiny.END,
        "bos_token_id": tiny.END,
    } | changes
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


def ids(keys: dict[str, Any], text: str) -> list[int]:
    return tokenizer_of(keys)[0].encode(text).ids


def with_tokens(*tokens: str, kinds: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    """The same with more tokens, which have the ids 300, 301, ..."""
    keys = byte_pairs(**changes)
    keys["tokenizer.ggml.tokens"] += tokens
    keys["tokenizer.ggml.token_type"] += kinds
    return keys


def test_start_and_end_are_added_where_file_or_rule_say_so() -> None:
    plain = ids(byte_pairs(), "The cat")
    assert plain == tiny.tokenizer()("The cat").input_ids
    for changes, start, end in (
        ({"add_bos_token": True}, [0], []),
        ({"add_eos_token": True}, [], [0]),
        ({"add_bos_token": True, "add_eos_token": True}, [0], [0]),
        ({"pre": "llama-bpe", "add_bos_token": False}, [], []),
        ({"pre": "llama-bpe"}, [0], []),  # the rule's own start
        ({"pre": "tekken"}, [0], []),
    ):
        assert ids(byte_pairs(**changes), "The cat") == [*start, *plain, *end], changes


def test_a_word_that_is_a_token_is_not_merged_where_the_rule_says_so() -> None:
    keys = with_tokens("Ġzqx", kinds=(1,))
    assert ids(keys, " zqx") != [300]
    assert ids(keys | {"tokenizer.ggml.pre": "llama-bpe"}, " zqx") == [0, 300]


def test_control_and_user_defined_tokens_stay_whole() -> None:
    tokens = ("<think>", "<|im_end|>", "plain", "<｜end｜>", "    ")
    keys = with_tokens(*tokens, kinds=(4, 1, 1, 3, 4))
    core, _ = tokenizer_of(keys)
    whole = core.encode("a<think>b<|im_end|>c<｜end｜>d    e plain").ids
    assert [i for i in whole if i >= 300] == [300, 301, 303, 304]
    assert core.decode(whole, skip_special_tokens=True) == "a<think>bcd    e plain"
    assert core.decode(whole, skip_special_tokens=False).startswith("a<think>b<|im_end|>c<｜end｜>")


def test_accents_are_composed_for_models_that_learned_them_so() -> None:
    apart, together = "e\u0301", "\u00e9"
    assert ids(byte_pairs(), apart) != ids(byte_pairs(), together)
    for name in ("qwen2", "qwen35", "command-r", "olmo"):
        assert ids(byte_pairs(pre=name), apart) == ids(byte_pairs(), together)


def test_every_text_is_given_back_by_every_rule() -> None:
    for name, rule in RULES.items():
        if not rule.spaces and not rule.composed:
            core, _ = tokenizer_of(byte_pairs(pre=name, add_bos_token=False))
            for text in TEXTS:
                assert core.decode(core.encode(text).ids) == text, name


# SentencePiece -------------------------------------------------------------------------------

PIECES = [
    *("<unk>", "<s>", "</s>"),
    *(f"<0x{byte:02X}>" for byte in range(256)),
    *("▁", "a", "b", "c", "ab", "▁a", "bc", "▁ab", "▁▁", "\n"),
]


def sentencepiece(**changes: Any) -> dict[str, Any]:
    scores = [0.0] * 259 + [-9.0, -9.0, -9.0, -9.0, -2.0, -3.0, -1.0, -4.0, -5.0, -9.0]
    keys = {
        "model": "llama",
        "tokens": PIECES,
        "scores": scores,
        "token_type": [2, 3, 3, *[6] * 256, *[1] * 10],
    } | changes
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


def by_score(text: str, scores: dict[str, float]) -> Iterator[str]:
    """SentencePiece by its definition: merge the pair of best score, the leftmost of equals."""
    pieces = list(text)
    while True:
        pairs = [
            (-scores[left + right], at)
            for at, (left, right) in enumerate(pairwise(pieces))
            if left + right in scores
        ]
        if not pairs:
            break
        at = min(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    for piece in pieces:
        yield from [piece] if piece in scores else [f"<0x{b:02X}>" for b in piece.encode()]


@pytest.mark.parametrize("text", ["ab", "abc", "a b  c", " a", "aab\nbc", "é", "b▁a", "cab abc  "])
@pytest.mark.parametrize("prefix", [True, False])
def test_pieces_are_merged_by_score(text: str, prefix: bool) -> None:
    keys = sentencepiece(add_space_prefix=prefix, add_bos_token=False)
    scores = dict(zip(PIECES, keys["tokenizer.ggml.scores"], strict=True))
    spaced = ("▁" if prefix else "") + text.replace(" ", "▁")
    core, _ = tokenizer_of(keys)
    assert core.encode(text).tokens == list(by_score(spaced, scores))
    assert core.decode(core.encode(text).ids) == text.replace("▁", " ")


def test_a_sentencepiece_file_that_says_nothing_starts_with_token_1() -> None:
    assert ids(sentencepiece(), "ab") == [1, PIECES.index("▁ab")]
    assert ids(sentencepiece(add_bos_token=False), "ab") == [PIECES.index("▁ab")]
    assert ids(sentencepiece(add_eos_token=True, bos_token_id=2), "ab")[::2] == [2, 2]
    roles = tokenizer_of(sentencepiece())[1]
    assert roles == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def test_each_piece_after_a_special_token_gets_its_space() -> None:
    assert ids(sentencepiece(), "ab</s>ab") == [1, PIECES.index("▁ab"), 2, PIECES.index("▁ab")]


def test_phi_3_drops_spaces_after_its_special_tokens() -> None:
    keys = sentencepiece() | {"general.name": "Phi-3 Mini"}
    assert ids(keys, "ab</s>  ab") == ids(sentencepiece(), "ab</s>ab")
    assert ids(keys, "ab<s>  ab") == ids(sentencepiece(), "ab<s>  ab")


def test_gemma_4_reads_spaces_as_pieces_and_always_starts() -> None:
    keys = sentencepiece(
        model="gemma4", merges=["b c", "a b", "▁ ab"], bos_token_id=1, add_bos_token=False
    )
    core, _ = tokenizer_of(keys)
    assert core.encode("ab abc\né").tokens == [
        "<s>",
        "ab",
        "▁",
        "a",
        "bc",
        "\n",
        "<0xC3>",
        "<0xA9>",
    ]
    assert core.decode(core.encode("ab abc\né").ids) == "ab abc\né"


# Refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (byte_pairs(pre="some-new-rule"), "'some-new-rule'"),
        (byte_pairs(pre="roberta-bpe"), "'roberta-bpe'"),
        (byte_pairs(pre=None), "tokenizer.ggml.pre is missing"),
        (byte_pairs(model="bert"), "'bert'"),
        (byte_pairs(model="t5"), "'t5'"),
        (byte_pairs(model="rwkv"), "'rwkv'"),
        (byte_pairs(model=None), "None"),
        (byte_pairs(add_space_prefix=True), "add_space_prefix"),
        (byte_pairs(add_sep_token=True), "add_sep_token"),
        (sentencepiece(remove_extra_whitespaces=True), "remove_extra_whitespaces"),
        (sentencepiece(precompiled_charsmap=[1]), "precompiled_charsmap"),
        (byte_pairs(some_new_flag=False), "some_new_flag"),
        (byte_pairs(add_bos_token=True, bos_token_id=None), "bos_token_id is missing"),
        (byte_pairs(merges=[]), "no merges"),
        (byte_pairs(merges=["z z"]), "'zz', which is no token"),
        (byte_pairs(tokens=[]), "no tokens"),
        (byte_pairs(tokens=["a", "b", "a"]), "'a' twice"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_read_right_is_refused_by_name(keys: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError) as refusal:
        tokenizer_of({key: value for key, value in keys.items() if value is not None})
    assert named in str(refusal.value)
    assert str(refusal.value).endswith(".")


def test_what_changes_no_token_is_no_reason() -> None:
    keys = byte_pairs(add_sep_token=False, fim_pre_token_id=3, eot_token_id=0)
    keys |= {"tokenizer.chat_template": "{{ messages }}", "tokenizer.chat_template.tool": "x"}
    assert isinstance(tokenizer_of(keys)[0], Tokenizer)
