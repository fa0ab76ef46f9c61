"""The text of tokens: where they stand, joined, read back; and what the tokenizer adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from strata.display.tokens import LONGEST, display_candidate
from strata.errors import InputError
from strata.model.pieces import byte_alphabet, spelled
from strata.model.tokenizer import Tokenizer
from tests import spelling
from tests.spelling import BEGIN, END, KINDS, ROWS

TEXTS = (
    "The cat sat on the mat",
    " cat",
    "  two  spaces ",
    "cat\n\n dog\tran",
    "naïve 日本 🙂 ran",
    "🙂",
    "\ufffd the \ufffd",
    "▁cat",
    "<0x41> cat",
)


def shared(kind: str, *around: tuple[str, ...]) -> Tokenizer:
    return Tokenizer(spelling.tokenizer(kind, *around), 100)


# -- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [(), (BEGIN,)])
def test_tokens_joined_are_the_text(kind: str, before: tuple[str, ...]) -> None:
    texts = shared(kind, before)
    for text in TEXTS:
        ids = texts.encode(text)
        tokens = texts.tokens(ids)
        assert len(tokens) == len(ids)
        assert tokens[: len(before)] == before
        joined = "".join(tokens[len(before) :])
        wanted = text if kind == "bytes" else text.replace("▁", " ")  # how these write a space
        if kind == "metaspace":  # to which "cat" and " cat" are the same at the beginning
            joined, wanted = joined.removeprefix(" "), wanted.removeprefix(" ")
        else:
            assert "".join(tokens[len(before) :]) == texts.inner.decode(ids[len(before) :])
        assert joined == wanted


@pytest.mark.parametrize("kind", ["llama2", "gemma", "metaspace"])
def test_a_word_in_the_text_keeps_its_space(kind: str) -> None:
    texts = shared(kind)
    tokens = texts.tokens(texts.encode("the cat sat"))
    assert tokens[1] == " cat"
    assert len(texts.decode(texts.encode("the cat"))) == 2
    one, other = (spelling.tokenizer(kind).convert_tokens_to_ids(name) for name in ("▁cat", "cat"))
    assert texts.decode([one]) == (" cat",)
    assert other in (None, texts.inner.unk_token_id) or texts.decode([other]) == ("cat",)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_token_of_a_character_carries_it(kind: str) -> None:
    texts = shared(kind)
    ids = texts.encode("the 日 cat")
    tokens, pieces = texts.tokens(ids), texts.pieces(ids)
    at = tokens.index("日")
    assert tokens[at - 2 : at] == ("", "")
    assert b"".join(pieces[at - 2 : at + 1]) == "日".encode()
    assert pieces[at - 2] == b"\xe6"
    assert b"".join(pieces).decode() == "the 日 cat"
    # What an id would add: the last byte completes the character, another one leaves it in pieces.
    assert texts.decode([ids[at]], after=ids[:at]) == ("日",)
    assert texts.decode([ids[at]]) == ("⟨A5⟩",)
    assert texts.decode([ids[at - 1]], after=ids[: at - 1]) == ("⟨97⟩",)  # more of it, not all
    assert texts.decode([ids[0]], after=ids[:at])[0].startswith("\ufffd")
    assert texts.decode([ids[at - 2]], after=ids[:at]) == ("\ufffd⟨E6⟩",)
    assert texts.text(ids[:at]) == "the \ufffd"


def test_a_text_that_ends_inside_a_character_is_shown_with_a_replacement() -> None:
    texts = shared("llama2")
    ids = texts.encode("the 日")[:-1]
    assert texts.tokens(ids)[-1] == "\ufffd"


@pytest.mark.parametrize("kind", ["words", "ends"])
def test_tokenizers_whose_tokens_look_at_their_neighbours(kind: str) -> None:
    texts = shared(kind)
    fast = spelling.tokenizer(kind)
    for text in ("the cat sat on the garden", "dogat ran"):
        ids = texts.encode(text)
        assert "".join(texts.tokens(ids)) == fast.decode(ids) == text
        for t in range(1, len(ids)):  # what an id adds is what the text is longer by
            [added] = texts.decode([ids[t]], after=ids[:t])
            assert fast.decode(ids[:t]) + added == fast.decode(ids[: t + 1])


@pytest.mark.parametrize(
    ("piece", "begun", "text"),
    [
        (b"", b"", ""),
        (b"", b"\xf0", ""),
        (b" a", b"", " a"),
        (b" \xf0\x9f", b"", " ⟨F0 9F⟩"),
        (b"\x80b\xc3\xa9\xe2", b"", "⟨80⟩bé⟨E2⟩"),
        (b"\xff\xf0\x9f", b"", "⟨FF F0 9F⟩"),
        (b"\x99\x82!", b"\xf0\x9f", "🙂!"),
        (b"\x99", b"\xf0\x9f", "⟨99⟩"),
        (b"\x99!", b"\xf0\x9f", "\ufffd⟨99⟩!"),
        ("🙂".encode(), b"\xf0\x9f", "\ufffd🙂"),
        ("\ufffd".encode(), b"", "\ufffd"),
        (b"\xed\xb2\x80", b"", "⟨ED B2 80⟩"),  # a lone surrogate is no text
    ],
)
def test_bytes_that_are_no_text_are_written_out(piece: bytes, begun: bytes, text: str) -> None:
    assert spelled(piece, begun) == text


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_parts_of_characters_look_alike(kind: str) -> None:
    texts = shared(kind)
    name = {byte: name for name, byte in byte_alphabet().items()}.get
    byte = name if kind == "bytes" else "<0x{:02X}>".format
    parts = [texts.inner.convert_tokens_to_ids(byte(n)) for n in range(128, 256)]
    ids = texts.encode("the 🙂").tolist()
    for end in range(len(ids) - 3, len(ids) + 1):
        for read in (ids[:end], []):
            shown = {display_candidate(text) for text in texts.decode(parts, after=read)}
            assert len(shown) == 128
            assert not shown & {"\ufffd", "∅ no token"}


def test_the_byte_alphabet_is_that_of_the_library() -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = byte_alphabet()
    assert sorted(alphabet) == sorted(ByteLevel.alphabet())
    assert sorted(alphabet.values()) == list(range(256))
    split = ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("a é日🙂\n\x00\x7f", "\xad\xa0"):
        [(name, _)] = split.pre_tokenize_str(text)
        assert bytes(alphabet[c] for c in name) == text.encode()


def test_an_id_that_no_token_has_adds_nothing() -> None:
    for kind in KINDS:
        assert shared(kind).decode([ROWS - 1]) == ("",)


@pytest.mark.parametrize("kind", ["bytes", "llama2"])
def test_tokens_are_the_trace_of_a_model(kind: str) -> None:
    trace = spelling.model(kind).capture("the cat 日")
    assert "".join(trace.tokens) == "the cat 日"
    assert trace.tokens.count("") == 2


def test_a_continuation_keeps_its_first_space() -> None:
    model = spelling.model("llama2")
    fast = model.tokenizer
    cat, end = fast.convert_tokens_to_ids("▁cat"), fast.eos_token_id
    read = model.encode("the")
    assert model.texts.continuation([cat, end, cat], after=read) == " cat cat"
    byte = [fast.convert_tokens_to_ids(f"<0x{b:02X}>") for b in "日".encode()]
    assert model.texts.continuation(byte[1:], after=[*read, byte[0]]) == "日"


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_is_cut_up_as_within_a_text(kind: str) -> None:
    texts = shared(kind)
    within = texts.encode("the cat").tolist()[1:]
    assert texts.word(" cat") == within
    assert texts.decode(texts.word("cat"))[0][:1] == "c"


# -- what the tokenizer adds ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", [((), ()), ((BEGIN,), ()), (("[a]", "[b]"), (END,))])
def test_what_is_put_around_a_text_is_known(
    kind: str, around: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    texts = shared(kind, *around)
    ids = texts.encode("the cat")
    before, after = (tuple(texts.inner.convert_tokens_to_ids(list(names))) for names in around)
    assert texts.added == texts.around(ids) == (before, after)


# -- read back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("around", [((), ()), ((BEGIN,), ()), (("[a]", "[b]"), (END,))])
def test_texts_are_read_back(kind: str, around: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    texts = shared(kind, *around)
    assert texts.probe() == 0
    for text in TEXTS:
        assert texts.read_back(text, texts.encode(text)) == 0, text


def test_the_image_of_a_normaliser_counts_as_the_text() -> None:
    from tokenizers import normalizers

    fast = spelling._core("bytes")
    fast.normalizer = normalizers.NFC()
    texts = Tokenizer(spelling.PreTrainedTokenizerFast(tokenizer_object=fast), 100)
    text = "cafe\u0301"
    assert "".join(texts.tokens(texts.encode(text))) == "café"
    assert texts.read_back(text, texts.encode(text)) == 0


def test_a_wrong_reading_back_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = shared("llama2", (BEGIN,))
    ids = texts.encode("the cat sat")
    assert texts.read_back("the cat sat", ids) == 0
    assert texts.read_back("the cat sit", ids) == 1
    other = ids.clone()
    other[-1] = ids[1]
    assert texts.read_back("the cat sat", other) > 0  # the ids are of another text
    letters = [texts.inner.convert_tokens_to_ids(name) for name in (BEGIN, *"▁the")]
    assert "".join(texts.tokens(letters)) == f"{BEGIN}the"
    assert texts.read_back("the", letters) > 0  # the right text of ids that it would not give
    # Tokens decoded one by one lose their space: the fault that this identity is there to see.
    inner = texts.inner
    monkeypatch.setattr(texts, "tokens", lambda ids: tuple(inner.decode([int(i)]) for i in ids))
    assert texts.read_back("the cat sat", ids) >= 2


def test_unknown_characters_are_not_read_back() -> None:
    texts = shared("words")
    assert texts.read_back("the 猫", texts.encode("the 猫")) > 0


def test_the_check_of_a_run_turns_red(monkeypatch: pytest.MonkeyPatch) -> None:
    model = spelling.model("llama2", (BEGIN,))
    assert model.check.read_back_ok
    assert model.check.read_back_error == 0
    trace = model.capture("the cat sat")
    assert trace.check.read_back_ok
    assert trace.check.ok
    monkeypatch.setattr(model.texts._pieces, "piece", lambda i, before=None: b"x")
    broken = model.capture("the cat sat").check
    assert not broken.read_back_ok
    assert broken.ok  # which stays what it was: lens and writes
    assert "do not give it back" in broken.reason


# -- ids without a row ----------------------------------------------------------------------------


def test_a_token_without_a_row_is_refused_in_words() -> None:
    fast = spelling.PreTrainedTokenizerFast(tokenizer_object=spelling._core("bytes"))
    fast.add_tokens(["<new>"])
    new = fast.convert_tokens_to_ids("<new>")
    model = spelling.reading(fast, rows=new)
    assert model.capture("the cat").check.ok
    for ask in (model.capture, model.gradients, model.texts.word):
        with pytest.raises(InputError, match=f"“<new>” \\(id {new}\\), for which .* no row"):
            ask("the <new> cat")
    assert torch.equal(
        spelling.reading(fast, rows=new + 1).encode("the <new>")[-1], torch.tensor(new)
    )


def test_what_a_token_begins_and_does_not_end(model: Any) -> None:
    """A token may hold a space and the first bytes of a character: neither is lost."""
    texts, text = model.texts, "I love 🐱 and 你"
    ids = model.encode(text)
    told, begun = texts.tokens(ids), texts.begun(ids)
    pieces = texts.pieces(ids)
    assert any(said == " " and part for said, part in zip(told, begun, strict=True))
    for said, part, piece in zip(told, begun, pieces, strict=True):
        assert piece.endswith(part)
        assert said or part == piece


def test_of_all_tokens_those_that_add_another_text_are_shown_as_another(model: Any) -> None:
    read = model.encode("I love 🐱")
    for after in ([], read, read[:-1], read[:-2]):
        texts = model.decode(range(model.d_vocab), after=after)
        assert len(set(texts)) == model.d_vocab
        short = [text for text in texts if len(display_candidate(text)) < LONGEST]
        assert len(set(map(display_candidate, short))) == len(short)
