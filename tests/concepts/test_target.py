"""A target word as tokens: cut up knowingly, never silently."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from strata.concepts.run import VIEWS
from strata.concepts.scaling import CONCEPT
from strata.concepts.target import leads, named, note, target, times_as_likely
from strata.errors import InputError
from strata.model import Model
from strata.model.tokenizer import Tokenizer


def test_a_word_of_one_token_with_and_without_its_space(model: Model) -> None:
    frame = target(model, "Paris")
    assert list(frame) == ["spelling", "position", "token_id", "token", "shown"]
    assert frame["spelling"].tolist() == [" Paris", "Paris"]
    assert frame["token"].tolist() == [" Paris", "Paris"]
    assert frame["shown"].tolist() == ["␣Paris", "Paris"]
    assert frame["token_id"].tolist() == [
        model.tokenizer.convert_tokens_to_ids(piece) for piece in ("ĠParis", "Paris")
    ]
    assert note(frame) == ""
    assert target(model, " Paris").equals(frame)
    assert target(model, "␣Paris").equals(frame), "as pages show it"
    assert target(model, "·Paris").equals(frame), "as links name it that are older"


def test_the_marks_of_pages_are_what_they_stand_for(model: Model) -> None:
    assert "\n" in target(model, "↵")["token"].tolist()
    assert "\t" in target(model, "⇥")["token"].tolist()
    assert "".join(target(model, "col·lecció")["token"][:9]).strip().startswith("col·l")
    assert target(model, "·")["token"].tolist()[-1] == "·", "alone it is itself"
    assert target(model, "␣")["spelling"].tolist()[-1] == "␣"


def test_a_word_of_several_tokens_is_named(model: Model) -> None:
    frame = target(model, "Rapinoe")
    pieces = frame[frame["spelling"] == " Rapinoe"]
    assert "".join(pieces["token"]) == " Rapinoe"
    assert pieces["position"].tolist() == list(range(len(pieces)))
    assert len(pieces) > 1
    said = note(frame)
    assert said.startswith(f"“␣Rapinoe” is {len(pieces)} tokens here, “{pieces['shown'].iloc[0]}”,")
    assert "choose it knowingly" in said


def test_parts_of_a_character_are_named_by_their_bytes(model: Model) -> None:
    frame = target(model, "🐱")
    assert frame[frame["spelling"] == " 🐱"]["shown"].tolist() == ["␣⟨F0 9F⟩", "⟨90⟩", "⟨B1⟩"]
    assert "tokens here, “␣⟨F0 9F⟩”, “⟨90⟩”, “⟨B1⟩”, and only" in note(frame)
    [shown] = named(model, int(frame["token_id"][0]))["shown"]
    assert shown == "␣⟨F0 9F⟩"


def test_a_start_token_is_not_part_of_a_word() -> None:
    class Inner:
        unk_token_id, unk_token = 3, "<unk>"

        def __call__(self, text: str, add_special_tokens: bool = True, **more: Any) -> Any:
            ids = {" cat": [7], "cat": [7], " ß": [3], "ß": [3], " <unk>": [3], "<unk>": [3]}
            return {"input_ids": [1] * add_special_tokens + ids.get(text, [])}

    fake: Any = SimpleNamespace(
        tokenizer=Inner(),
        texts=Tokenizer(Inner(), 100),
        decode=lambda ids: tuple(f"t{i}" for i in ids),
    )
    assert target(fake, "cat")["token_id"].tolist() == [7]  # both spellings alike: told once
    assert target(fake, "<unk>")["token_id"].tolist() == [3]
    with pytest.raises(InputError, match="does not know all characters of “ß”"):
        target(fake, "ß")


@pytest.mark.parametrize(
    ("word", "said"), [("", "Type a word"), ("x" * 101, "100 characters"), ("\ud800", "Unicode")]
)
def test_refused_words(model: Model, word: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        target(model, word)


def test_a_token_by_its_id(model: Model) -> None:
    [row] = named(model, target(model, "Paris")["token_id"][0]).itertuples()
    assert (row.token, row.shown) == (" Paris", "␣Paris")
    for wrong in (-1, model.d_vocab):
        with pytest.raises(InputError, match="0 to 49,151"):
            named(model, wrong)
    with pytest.raises(InputError, match="whole number"):
        named(model, 1.5)  # type: ignore[arg-type]


def test_both_are_views() -> None:
    assert {target, named} <= set(VIEWS)


def test_which_of_two_words_is_ahead() -> None:
    missing = pd.Series(pd.array([pd.NA] * 4, dtype="Int64"))
    value = pd.Series([-0.5, 2.0, 0.0, 1.0])
    assert leads(missing, value).tolist() == [False, True, False, True]
    assert leads(pd.Series([0, 3, 0, 1]), value).tolist() == [True, False, True, False]
    frame = pd.DataFrame({"factor": 0.5, "rank": missing, "logprob": value})
    assert CONCEPT.measures["share_first"](frame) == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (math.log(62), "“a” is 62 times as likely as “b”"),
        (-math.log(1_234), "“b” is 1,234 times as likely as “a”"),
        (0.001, "“a” and “b” are equally likely"),
        (900.0, "“a” is more than a million times as likely as “b”"),
    ],
)
def test_a_difference_in_words(difference: float, said: str) -> None:
    assert times_as_likely(difference, "a", "b") == said
