"""Sets of prompts: what files are read, what is refused by line and reason, and Strata's own."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import pytest

from strata.corpus import set_check, sets
from strata.corpus.sets import MOST_CHARACTERS, PromptSet, read
from strata.display.files import as_csv
from strata.errors import InputError
from strata.model import Model

ROWS = [(f"Is it {word}?", "asked", str(i), "no") for i, word in enumerate("abcd")]
ROWS += [(f"It is {word}.", "told", str(i), "so") for i, word in enumerate("abcd")]
COLUMNS = ["prompt", "condition", "pair", "expected"]


def written(separator: str = ",", rows: list = ROWS, columns: list[str] = COLUMNS) -> str:
    lines = [columns, *([f'"{cell}"' for cell in row[: len(columns)]] for row in rows)]
    return "\n".join(separator.join(line) for line in lines)


def test_files_of_all_kinds_are_the_same_set() -> None:
    plain = read(written().encode())
    assert plain.conditions == ("asked", "told")
    assert plain.paired
    assert plain.pairs == ("0", "1", "2", "3")
    assert [row.prompt for row in plain.rows[:2]] == ["Is it a?", "It is a."]  # pair by pair
    same = [
        written(";").encode(),
        written("\t").encode("utf-8-sig"),
        written().replace("\n", "\r\n").encode("utf-16"),
        written().replace("\n", "\r").encode(),
        as_csv(pd.DataFrame(ROWS, columns=COLUMNS)),
        plain.as_text().encode(),
        written(columns=COLUMNS).replace("prompt,condition", " Prompt ,CONDITION").encode(),
    ]
    assert all(read(each) == plain for each in same)
    accents = written().replace("Is it a?", "Où est-ce – là?")
    assert read(accents.encode("cp1252")).rows[0].prompt == "Où est-ce – là?"
    titled = read("# A title\n# Is it so?\n\n" + written())
    assert (titled.title, titled.question) == ("A title", "Is it so?")
    assert read(titled.as_text()) == titled


def test_what_a_spreadsheet_does_to_a_prompt_is_undone() -> None:
    rows = [("=1+1 is", "x"), *((f"-{i} is", "y") for i in range(4)), ('"Yes," he said;', "x")]
    rows += [("@b", "x"), ("'tis", "x")]
    frame = pd.DataFrame(rows, columns=COLUMNS[:2])
    assert [row.prompt for row in read(as_csv(frame)).rows] == frame["prompt"].tolist()


def test_without_pairs_and_words_a_set_is_two_groups() -> None:
    found = read(written(columns=COLUMNS[:2]))
    assert not found.paired
    assert found.pairs == ()
    assert not found.expects
    assert set(found.columns()) == {"prompts", "conditions"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "Line 1: there is no column “prompt”"),
        ("# title\nprompt\nx\n", "Line 2: there is no column “condition”"),
        ("prompt,condition,prompt\n", "Line 1: there are two columns “prompt”"),
        (written() + "\n,told,9,x", "Line 10: there is no prompt"),
        (written() + "\nhm,,9,x", "Line 10: there is no condition"),
        (written() + "\none, two,told,9,x", "Line 10: there are more cells than columns"),
        (written() + "\nhm,told,,x", "Line 10: the other rows have a pair"),
        (
            written() + "\nhm,told,0,x",
            "Line 10: the pair “0” has a prompt of this condition on lin",
        ),
        (written() + "\nhm,told,9,x", "Line 10: the pair “9” has no prompt of the condition “aske"),
        (written() + '\n"hm,told,9,x', "Line 10: a quotation mark is not closed"),
        (written() + "\nhm," + "x" * 61 + ",9,x", "Line 10: the condition has 61 characters"),
        (written(rows=ROWS[:4]), "two conditions at least, and this file has one"),
        (COLUMNS[0] + "," + COLUMNS[1], "two conditions at least, and this file has none"),
        (written(rows=ROWS[:3] + ROWS[4:7]), "The condition “asked” has 3 prompts"),
        ("prompt,condition\n" + "x,a\nx,a\ny,b\n", "Line 3: this prompt stands on line 2 already"),
        ("prompt,condition\n" + "".join(f"{i},c{i}\n" for i in range(7)), "at most 6 conditions"),
        (
            "prompt,condition\n" + "".join(f"{i},a\n" for i in range(201)),
            "Line 202: a set has at m",
        ),
        ("prompt,condition\n" + "x" * MOST_CHARACTERS, "20,017 characters and a set has at most"),
        (
            written().encode() + b"\nhm \x81\xe9,told,9,x",
            "Line 10: there is a character th",
        ),
        (written().replace("\n", "\r") + "\r,told,9,x", "Line 10: there is no prompt"),
        (
            "# title\r" + written().replace("\n", "\r") + "\r,told,9,x",
            "Line 11: there is no prompt",
        ),
        (
            written() + "\nIs it b?,asked,9,no\nIt is b.,told,9,so",
            "Line 10: the pair “9” has the same prompts as the pair “1” on line 3, and counts once",
        ),
        (b"\x00\x01", "not a text file"),
        (b"", "no text"),
    ],
)
def test_what_is_wrong_is_refused_by_line_and_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(InputError) as refused:
        read(text.encode() if isinstance(text, str) else text)
    assert reason in str(refused.value)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_a_teacher_adds_a_set_as_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATA_SETS", str(tmp_path))
    assert sets.sets() == {}
    (tmp_path / "of_mine.csv").write_text(written(";"), "utf-8")
    (tmp_path / "wrong.csv").write_text("prompt\n", "utf-8")
    assert [each.title for each in sets.sets().values()] == ["Of mine"]
    assert sets.problems() == [f"wrong.csv: {_refusal('prompt')}"]
    (tmp_path / "wrong.csv").unlink()
    (tmp_path / "tabs.tsv").write_text(written("\t"), "utf-8")
    (tmp_path / "tabs.csv").write_text(written(), "utf-8")
    assert list(sets.sets()) == ["of_mine", "tabs"]
    assert sets.problems() == ["tabs.tsv: Another file has the same name; give it one of its own."]


def _refusal(text: str) -> str:
    with pytest.raises(InputError) as refused:
        read(text)
    return str(refused.value)


def test_the_sets_of_strata_are_what_they_promise(model: Model) -> None:
    """Eight sets, 24 pairs or more, one length a pair; expected words rank first in 20 of 24."""
    assert sets.problems() == []
    found = sets.sets()
    assert len(found) == 8
    checked = {name: set_check.check(model, each) for name, each in found.items()}
    assert all(each.ok for each in checked.values()), checked
    assert sum(each.expecting > 0 for each in checked.values()) >= 3


def test_the_command_prints_what_it_found_and_fails_for_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRATA_SETS", str(tmp_path))
    monkeypatch.setattr(set_check, "check", lambda model, each: found[0])
    parser = argparse.ArgumentParser()
    set_check.add_parser(parser.add_subparsers(), lambda name: None)

    def run(*files: Path) -> int:
        chosen = parser.parse_args(["sets", "check", *map(str, files)])
        return chosen.run(chosen)

    good, few = set_check.Checked(48, 24, 2, 24, 24, 20), set_check.Checked(48, 24, 2, 24, 24, 19)
    found = [good]
    (tmp_path / "mine.csv").write_text(written(), "utf-8")
    assert run() == 0
    assert capsys.readouterr().out.splitlines()[1].split() == "mine 48 24 24 of 24 20 of 24".split()
    found[0] = few
    assert run(tmp_path / "mine.csv") == 1
    assert capsys.readouterr().out.endswith("19 of 24  not as it should be\n")
    found[0] = good
    (tmp_path / "wrong.csv").write_text("prompt\n", "utf-8")
    assert run() == 1
    assert capsys.readouterr().out.endswith(f"wrong.csv: {_refusal('prompt')}\n")
    with pytest.raises(InputError, match="cannot be read"):
        run(tmp_path / "none.csv")


def test_a_set_with_pairs_of_two_lengths_is_not_as_it_should_be(model: Model) -> None:
    rows = sets.sets()["form"].rows[:8]
    cut = PromptSet("x", rows)
    assert not set_check.check(model, cut).ok  # four pairs
    longer = [*rows[:-1], rows[-1].__class__("It is not so at all.", "statement", rows[-1].pair)]
    assert set_check.check(model, PromptSet("x", tuple(longer))).same_length == 3
