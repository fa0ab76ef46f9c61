"""The run as tables: tokens, the proof strip, the prompt doctor, facts, continuation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers

from strata.concepts import run
from strata.errors import InputError
from strata.model import Model, load_model
from strata.trace import LENS_TOLERANCE, WRITE_TOLERANCE, ModelCheck, Scale, Trace
from tests import spelling
from tests import tiny as tiny_models
from tests.concepts.by_hand import trace


def a_model(
    answer: str = " word",
    special: Iterable[int] = (),
    before: int = 0,
    after: int = 0,
    **tokenizer: Any,
) -> Any:
    """Stands in for a model whose top-1, id 7, is `answer`, and whose tokenizer puts so many tokens
    before and after a text."""
    names = {"bos_token_id": None, "unk_token_id": None, "unk_token": None}
    names |= {"chat_template": None} | tokenizer
    return SimpleNamespace(
        decode=lambda ids, after=(): tuple(answer if int(i) == 7 else f"t{int(i)}" for i in ids),
        texts=SimpleNamespace(
            around=lambda ids: (tuple(ids[:before]), tuple(ids[len(ids) - after :])),
            pieces=lambda ids: [bytes([0xE2, int(i)]) for i in ids],
            begun=lambda ids: [bytes([0xE2, int(i)]) if i == 13 else b"" for i in ids],
        ),
        tokenizer=SimpleNamespace(all_special_ids=list(special), **names),
        card=SimpleNamespace(source="folder"),
    )


def a_trace(tokens: Iterable[str], sure: float = 5.0, text: str | None = None) -> Trace:
    """A trace of these tokens, equal ones with equal ids, whose top-1 is id 7."""
    tokens = tuple(tokens)
    logits = torch.zeros(len(tokens), 50)
    logits[-1, 7] = sure
    return replace(
        trace(tokens=len(tokens)),
        text="".join(tokens) if text is None else text,
        tokens=tokens,
        token_ids=torch.tensor([10 + tokens.index(token) for token in tokens]),
        logits=logits,
    )


def codes(model: Any, of: Trace) -> list[str]:
    return run.doctor(model, of)["code"].tolist()


def message(model: Any, of: Trace, code: str) -> str:
    return run.doctor(model, of).set_index("code")["message"][code]


# -- tokens, check, facts, continuation -------------------------------------------------------


def test_tokens_keep_the_text_and_show_it() -> None:
    frame = run.tokens(a_model(), a_trace([" a", "\n", "\u202e", ""]))
    assert list(frame) == ["position", "token_id", "token", "shown"]
    assert frame["position"].tolist() == [0, 1, 2, 3]
    assert frame["token_id"].tolist() == [10, 11, 12, 13]
    assert frame["token"].tolist() == [" a", "\n", "\u202e", ""]
    assert frame["shown"].tolist() == ["␣a", "↵", "\\u{202E}", "⟨E2 0D⟩"]


@pytest.mark.parametrize(
    ("lens", "writes", "text", "ok"),
    [
        (1e-4, 1e-6, 0, [True, True, True]),
        (1e-2, 1e-6, 0, [False, True, True]),
        (1e-4, 1e-4, 0, [True, False, True]),
        (1e-4, 1e-6, 1, [True, True, False]),
        (float("nan"), float("nan"), float("nan"), [False, False, False]),
    ],
)
def test_check_reports_all_identities(
    lens: float, writes: float, text: float, ok: list[bool]
) -> None:
    measured = ModelCheck(lens, writes, "the reason", text)
    frame = run.check(replace(trace(), verify=lambda _: measured))
    assert list(frame) == ["identity", "error", "tolerance", "ok", "reason"]
    assert frame["identity"].tolist() == ["lens", "writes", "read back"]
    assert frame["error"].tolist() == pytest.approx([lens, writes, text], nan_ok=True)
    assert frame["tolerance"].tolist() == [LENS_TOLERANCE, WRITE_TOLERANCE, 0]
    assert frame["ok"].tolist() == ok
    assert frame["reason"].tolist() == ["" if fine else "the reason" for fine in ok]


def test_check_of_a_real_run(model: Model) -> None:
    assert run.check(model.capture("The capital of France is"))["ok"].all()


def test_facts(model: Model) -> None:
    [row] = run.facts(model, model.capture("The capital of France is")).itertuples()
    assert (row.n_layers, row.d_model, row.d_vocab, row.n_tokens) == (30, 576, 49_152, 5)
    assert (row.model, row.family, row.device, row.dtype) == (
        "smollm2-135m",
        "llama",
        "cpu",
        "float32",
    )
    assert row.prompt_limit == model.prompt_limit
    assert row.blocks == "model.layers"


def test_continuation_is_what_the_model_writes_with_its_edits() -> None:
    asked = []

    def generate(*arguments: Any, **drawn: Any) -> str:
        asked.append((*arguments, drawn))
        return " and on"

    edits = (Scale(0, 0.5),)
    frame = run.continuation(SimpleNamespace(generate=generate), "Go", 7, edits, print)
    assert frame.to_dict("list") == {"text": [" and on"]}
    assert asked == [("Go", 7, edits, print, {"temperature": 0.0, "seed": 0})]


@pytest.mark.parametrize("n_tokens", [0, 201, -1])
def test_continuation_is_1_to_200_tokens(n_tokens: int) -> None:
    with pytest.raises(InputError, match="from 1 to 200"):
        run.continuation(SimpleNamespace(), "Go", n_tokens)


def test_continuation_of_the_bundled_model(model: Model) -> None:
    assert run.continuation(model, "The capital of France is", 2)["text"][0].startswith(" Paris")


# -- doctor -----------------------------------------------------------------------------------


def test_a_healthy_prompt_gets_one_note() -> None:
    frame = run.doctor(a_model(), a_trace(["The", " cat"]))
    assert list(frame) == ["severity", "code", "message"]
    assert frame["code"].tolist() == ["no_bos"]
    assert frame["severity"].tolist() == ["note"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("\n", "newline"),
        ("\n\n", "newline"),
        (" \n", "newline"),
        (" ", "space"),
        (",", "punctuation"),
        (' "', "punctuation"),
        ("、", "punctuation"),
        (").", "punctuation"),
    ],
)
def test_answers_that_are_no_word(answer: str, code: str) -> None:
    assert codes(a_model(answer), a_trace(["The", " cat"])) == [code, "no_bos"]


@pytest.mark.parametrize("answer", [" 5", " $5", "'s", "\ufffd", "word\n", "", "+"])
def test_answers_that_say_something(answer: str) -> None:
    assert codes(a_model(answer), a_trace(["The", " cat"])) == ["no_bos"]


def test_the_end_of_text_comes_before_what_its_text_looks_like() -> None:
    assert codes(a_model("\n", special=[7]), a_trace(["The"])) == ["end", "no_bos"]
    assert codes(a_model("\n", special=[8]), a_trace(["The"])) == ["newline", "no_bos"]


def test_the_end_of_a_turn_in_a_model_for_chats() -> None:
    model = a_model("<end>", special=[7], chat_template="...")
    assert codes(model, a_trace(["Who", "?"])) == ["end_of_turn", "no_bos"]
    assert "tuned on chats" in message(model, a_trace(["Who", "?"]), "end_of_turn")
    assert codes(a_model(chat_template="..."), a_trace(["Who", "?"])) == ["no_bos"]


def test_only_the_last_position_answers() -> None:
    of = a_trace(["The", " cat"])
    of.logits[0, 8] = 99
    assert codes(a_model(special=[8]), of) == ["no_bos"]


def test_an_unsure_model() -> None:
    assert codes(a_model(), a_trace(["The"], sure=0.5)) == ["unsure", "no_bos"]
    assert "“␣word” (3%)" in message(a_model(), a_trace(["The"], sure=0.5), "unsure")


def test_a_trailing_space() -> None:
    for text, found in [("is ", True), ("is\t", True), ("is", False), ("is\n", False)]:
        assert ("trailing_space" in codes(a_model(), a_trace(["is"], text=text))) is found


def test_repeated_tokens() -> None:
    of = a_trace(["a", " very", " very", " very", " good", " good"])
    assert "“very” stands 3 times in a row from position 1:" in message(a_model(), of, "repeated")
    assert "“very” stands 2 times" in message(a_model(), a_trace(["very", " very"]), "repeated")
    assert "repeated" not in codes(a_model(), a_trace(["a", "b", "a", "b"]))


@pytest.mark.parametrize("tokens", [["ا", "ا"], [":", " :"], ["!", "!", "!"], ["1", "1"]])
def test_a_letter_or_sign_twice_is_no_repetition(tokens: list[str]) -> None:
    assert codes(a_model(), a_trace(["so", *tokens, "it"])) == ["no_bos"]
    assert "repeated" in codes(a_model(), a_trace(["so", *tokens, *tokens, *tokens]))


def test_a_sentence_again_and_again() -> None:
    sentence = [" The", " cat", " sat", "."]
    of = a_trace(["See", *sentence * 22, " The"])
    assert codes(a_model(), of) == ["again", "no_bos"]
    assert "The same 4 tokens stand 22 times in a row from position 1:" in message(
        a_model(), of, "again"
    )
    assert "again" not in codes(a_model(), a_trace(["See", *sentence * 2, " The", " cat"]))
    assert codes(a_model(), a_trace([" very"] * 9)) == ["repeated", "no_bos"]


def test_a_prompt_of_blanks() -> None:
    of = a_trace(["   ", "\n", "  "])
    assert codes(a_model(), of) == ["blank", "no_bos"]
    assert run.doctor(a_model(), of)["severity"][0] == "warning"


def test_pieces_of_characters_are_told_and_are_no_repetition() -> None:
    of = replace(a_trace(["", "", "日"]), token_ids=torch.tensor([1, 2, 3]))
    assert codes(a_model(), of) == ["pieces", "no_bos"]
    assert message(a_model(), of, "pieces").startswith("2 tokens ")
    assert "pieces" not in codes(a_model(), a_trace(["\ufffd"]))  # typed as it is


def test_a_start_token_that_the_tokenizer_put_there() -> None:
    model = a_model(before=1, bos_token_id=10)
    assert codes(model, a_trace(["<s>", "The"], text="The")) == ["bos"]
    said = message(model, a_trace(["<s>", "The"], text="The"), "bos")
    assert said == "The tokenizer put a token, “<s>”, before your text, at position 0."
    assert codes(a_model(bos_token_id=10), a_trace(["<s>", "The"])) == ["no_bos"]  # typed


def test_a_start_token_that_is_typed_and_added() -> None:
    model, of = a_model(before=1, bos_token_id=10), a_trace(["<s>", "<s>", "The"], text="<s>The")
    assert codes(model, of) == ["bos_twice", "bos"]
    assert "“<s>”" in message(model, of, "bos_twice")


def test_several_tokens_before_the_text() -> None:
    of = a_trace(["[a]", "[b]", "The"], text="The")
    assert codes(a_model(before=2), of) == ["bos"]
    said = message(a_model(before=2), of, "bos")
    assert said == (
        "The tokenizer put 2 tokens, “[a]”, “[b]”, before your text, at positions 0 to 1."
    )


def test_an_end_token_that_the_tokenizer_appends() -> None:
    of = a_trace(["The", " cat", "</s>"], text="The cat")
    frame = run.doctor(a_model(after=1), of)
    assert frame["code"].tolist() == ["appended", "no_bos"]
    assert frame["severity"][0] == "warning"
    assert "“</s>”" in frame["message"][0]
    assert "your own text ends at position 1" in frame["message"][0]


def test_the_doctor_of_real_tokenizers() -> None:
    model = spelling.model("llama2", ("<s>",), ("</s>",))
    assert {"appended", "bos"} <= set(codes(model, model.capture("the cat")))
    assert "bos_twice" not in codes(model, model.capture("the cat"))
    assert "bos_twice" in codes(model, model.capture("<s>the cat"))
    model = spelling.model("bytes", ("[a]", "[b]"))
    assert "positions 0 to 1" in message(model, model.capture("the cat"), "bos")


def test_unknown_characters() -> None:
    model = a_model(unk_token_id=11, unk_token="<unk>")
    assert codes(model, a_trace(["a", "<unk>"], text="a猫")) == ["unknown", "no_bos"]
    assert codes(model, a_trace(["a", "<unk>"])) == ["no_bos"]


def test_warnings_come_first_and_tokens_are_shown_inert() -> None:
    of = a_trace(["\u202eab", "\u202eab"], text="\u202eab\u202eab ")
    frame = run.doctor(a_model("\n"), of)
    assert frame["code"].tolist() == ["newline", "trailing_space", "repeated", "no_bos"]
    assert frame["severity"].tolist() == ["warning", "warning", "note", "note"]
    assert "\\u{202E}" in frame["message"][2]
    assert all(text.isprintable() for text in frame["message"])


def test_a_token_with_braces_is_no_template() -> None:
    assert "“{top}”" in message(a_model(), a_trace(["{top}", "{top}"]), "repeated")


def test_text_up_to_a_position_has_whole_characters(model: Model) -> None:
    for text in ("I love 🌍🎉 and", "العربية", "שלום עולם", "日本の首都は", "La vie est belle"):
        of = model.capture(text)
        shown = [run.text_up_to(model, of, i)["text"][0] for i in range(len(of.tokens))]
        assert shown[-1] == text
        spelled = text.encode()
        for part in shown:  # a character that is begun is its bytes
            whole, _, begun = part.partition("⟨")
            assert spelled.startswith(whole.encode() + bytes.fromhex(begun.rstrip("⟩")))
            assert len(bytes.fromhex(begun.rstrip("⟩"))) <= 3
    with pytest.raises(InputError, match="does not exist"):
        run.text_up_to(model, of, 99)


def test_every_finding_is_one_sentence() -> None:
    for severity, text in run._FINDINGS.values():
        assert severity in ("warning", "note")
        assert text.endswith(".")
        assert ". " not in text


def test_doctor_of_the_bundled_model(model: Model) -> None:
    assert codes(model, model.capture("The capital of France is")) == ["no_bos"]
    assert codes(model, model.capture("The cat sat on the mat. ")) == [
        "newline",
        "trailing_space",
        "no_bos",
    ]
    assert "end_of_turn" in codes(model, model.capture("What is the capital of France?"))
    found = codes(model, model.capture("日本の首都は"))
    assert "pieces" in found
    assert "repeated" not in found


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a  12", 1),  # was a · · 1 2, is a ·· 1 2
        ("a\n\n12", 1),
        ("x = 3;\n\n    return  42", 7),
        ("In 1998", None),
        ("The capital of France is", None),
    ],
)
def test_where_older_versions_split_otherwise(
    model: Model, text: str, position: int | None
) -> None:
    of = model.capture(text)
    before = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    before.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    old, new = before.encode(text).ids, of.token_ids.tolist()
    assert (old != new) is (position is not None)
    assert old[:position] == new[:position]
    found = run.doctor(model, of).set_index("code")["message"]
    assert ("moved" in found) is (position is not None)
    if position is not None:
        assert old[position] != new[position]
        assert f"from position {position} on" in found["moved"]


def test_only_what_was_converted_was_split_otherwise(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = model.capture("a  12")
    assert "moved" in codes(model, of)
    monkeypatch.setattr(model, "card", model.card.model_copy(update={"source": "folder"}))
    assert "moved" not in codes(model, of)


@pytest.mark.parametrize("bos", [True, False])
def test_doctor_of_a_tokenizer_with_and_without_a_start_token(tmp_path: Path, bos: bool) -> None:
    model = load_model(str(tiny_models.save("llama", tmp_path, bos=bos)), device="cpu")
    found = codes(model, model.capture("The cat"))
    assert ("bos" in found, "no_bos" in found) == (bos, not bos)


def test_views_are_the_ones_a_job_may_name() -> None:
    assert [view.__name__ for view in run.VIEWS] == [
        "tokens",
        "text_up_to",
        "check",
        "facts",
        "continuation",
        "doctor",
        "target",
        "named",
    ]


def test_positions_and_counts_may_be_numpy_integers() -> None:
    assert run.check_position(trace(), np.int64(3)) == 3
    assert run.check_count("k", np.int32(3), 5) == 3
    for position in (-1, 6):
        with pytest.raises(InputError, match="0 to 5"):
            run.check_position(trace(tokens=6), position)
    for number in (2.5, "2", None):
        with pytest.raises(InputError, match="whole number"):
            run.check_count("k", number, 5)  # type: ignore[arg-type]
