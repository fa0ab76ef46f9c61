"""A lesson is found by its existing, and a wrong one is named with file, step and reason."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from strata import lessons
from strata.display.terms import TERMS
from strata.lessons import LessonError, filled, read

LESSON = """
title = "A lesson"
summary = "What it is about."
minutes = 5
page = "predictions"

[[step]]
title = "One"
text = "Some words."

[[step]]
title = "Two"
text = "More words."
page = "hidden_states"
hide = true

[step.question]
kind = "number"
ask = "How much?"
view = "predictions.next_token"
params = { position = 0 }
measure = "predictions.top1_prob"
"""
CHOICE = """
kind = "choice"
ask = "Which?"
answer = "b"
[[step.question.options]]
text = "A"
value = "a"
why = "No."
[[step.question.options]]
text = "B"
value = "b"
why = "Yes."
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STRATA_LESSONS", str(tmp_path))
    return tmp_path


def test_lessons_are_in_their_order_and_know_their_pages(folder: Path) -> None:
    (folder / "b.toml").write_text(LESSON + "", "utf-8")
    (folder / "a.toml").write_text("order = 200\n" + LESSON, "utf-8")
    (folder / "glossary.toml").write_text("token = 'A piece.'\n", "utf-8")
    found = lessons.lessons()
    assert list(found) == ["b", "a"]
    assert [found["b"].page_of(number) for number in (0, 1)] == ["predictions", "hidden_states"]
    assert lessons.problems() == []
    known = lessons.glossary()
    assert known["token"] == "A piece."
    assert known["surprisal"] == TERMS["surprisal"]
    assert "residual stream" in known, "those that Strata brings stay"


def test_a_changed_file_is_read_again_and_is_another_version(folder: Path) -> None:
    path = folder / "a.toml"
    path.write_text(LESSON, "utf-8")
    before = lessons.lessons()["a"]
    path.write_text(LESSON.replace("A lesson", "Another lesson"), "utf-8")
    time.sleep(lessons._FRESH)
    after = lessons.lessons()["a"]
    assert after.title == "Another lesson"
    assert after.version != before.version


def test_a_wrong_file_leaves_the_others_as_they_are(folder: Path) -> None:
    (folder / "good.toml").write_text(LESSON, "utf-8")
    (folder / "bad.toml").write_text(LESSON.replace("minutes = 5", ""), "utf-8")
    assert list(lessons.lessons()) == ["good"]
    assert lessons.problems() == ["bad.toml, its beginning: 'minutes' is missing."]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("title =", "titel =", r"its beginning: 'titel' is not known"),
        ("minutes = 5", "minutes = 'five'", r"its beginning: minutes: input should be"),
        ('text = "More words."', "", r"step 2: 'text' is missing"),
        ("hide = true", "hidden = true", r"step 2: 'hidden' is not known"),
        ('kind = "number"', 'kind = "guess"', r"step 2: question.kind: input should be"),
        ('measure = "predictions.top1_prob"', "", r"step 2: question: a question needs a measure"),
        ('view = "predictions.next_token"', "", r"step 2: question: a measure needs the view"),
        ('kind = "number"', 'kind = "choice"', r"step 2: question: choice and ordering need two"),
        ('ask = "How much?"', 'ask = ""', r"step 2: question.ask: string should have at least"),
        ('title = "One"', "title = One", r"Invalid value"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LESSON.replace(old, new, 1), "utf-8")
    with pytest.raises(LessonError, match=rf"^mine\.toml.*{reason}"):
        read(path)


def test_options_need_their_reasons(tmp_path: Path) -> None:
    start = LESSON[: LESSON.index('kind = "number"')]
    path = tmp_path / "mine.toml"
    path.write_text(start + CHOICE, "utf-8")
    question = read(path).steps[1].question
    assert question is not None
    assert [option.text for option in question.options] == ["A", "B"]
    path.write_text(start + CHOICE.replace('why = "Yes."', ""), "utf-8")
    with pytest.raises(LessonError, match="every option needs its 'why'"):
        read(path)


def test_hiding_needs_a_question(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LESSON[: LESSON.index("[step.question]")], "utf-8")
    with pytest.raises(LessonError, match="step 2: 'hide' waits for a prediction"):
        read(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LessonError, match="UTF-8"):
        read(path)
    with pytest.raises(LessonError, match="cannot be read"):
        read(tmp_path / "none.toml")


def test_texts_are_filled_with_what_the_run_says() -> None:
    assert filled("{L} blocks, {unknown}, {}", {"L": 30}) == "30 blocks, {unknown}, {}"
