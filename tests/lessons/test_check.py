"""`lessons check` catches a broken lesson of each kind; those of Strata: `test_shipped.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strata.__main__ import main
from strata.concepts.views import concepts
from strata.engine import LocalEngine, Settings
from strata.lessons import LessonError, Question
from strata.lessons.check import check, new, page_keys, unfit
from strata.model import Model

GOOD = """
title = "A lesson"
summary = "What it is about."
minutes = 5
prerequisites = []
page = "predictions"

[[step]]
title = "One"
text = "Some words of a [[token]]."
prompt = "A B C"
hide = true
settings = { k = 5 }
hints = ["Think."]

[step.question]
kind = "choice"
ask = "Is it sure?"
view = "predictions.next_token"
params = { position = "$last", k = 5 }
measure = "predictions.top1_prob"
figure = "next_tokens"
options = [
  { text = "Less than half", high = 0.5, why = "It is not." },
  { text = "Half or more", low = 0.5, why = "It is." },
]
"""


@pytest.fixture
def engine(tiny: Callable[[str], Model]) -> Iterator[LocalEngine]:
    model = tiny("gpt2")
    with LocalEngine(
        Settings(), load=lambda name, progress: model, listed=lambda: ("tiny",)
    ) as made:
        yield made


def broken(folder: Path, old: str, new: str) -> Path:
    assert old in GOOD
    path = folder / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1), "utf-8")
    return path


def test_a_good_lesson_has_nothing_wrong(engine: LocalEngine, tmp_path: Path) -> None:
    assert check([broken(tmp_path, "Some words", "Few words")], engine, "tiny") == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("minutes = 5", "", "its beginning: 'minutes' is missing"),
        ("prerequisites = []", 'prerequisites = ["none"]', "there is no lesson 'none'"),
        ('page = "predictions"', 'page = "mirror"', "step 1: there is no page 'mirror'"),
        ("k = 5 }\nhints", "kk = 5 }\nhints", "the page predictions has no control 'kk'"),
        ("[[token]]", "[[wibble]]", "the term 'wibble' is not in the glossary"),
        ("next_tokens", "nothing_here", "has no figure 'nothing_here'"),
        ("predictions.next_token", "predictions.none", "There is no view 'predictions.none'"),
        ("predictions.top1_prob", "os.system", "There is no measure 'os.system'"),
        ("predictions.top1_prob", "hidden_states.sink_ratio", "does not read the table of"),
        ("k = 5 }\nmeasure", "kk = 5 }\nmeasure", "no parameter 'kk'"),
        ('measure = "p', 'given = { x = 1 }\nmeasure = "p', "has no parameter 'x'"),
        ('"$last"', "99", "step 1: "),
        (
            "hide = true",
            "hide = false",
            "the page predictions shows predictions.next_token, which is asked",
        ),
        ("words of a", "words. Look at the bars of a", "its text speaks of “Look at”"),
        ("words of a", "words below the figure of a", "its text speaks of “the figure”"),
        ('"Think."', '"Read it off the strip."', "its hint 1 speaks of “the strip”"),
        ("words of a", "words. After it, see the bars of a", ""),
        ("words of a", "words. It will be on the right of a", "its text speaks of “on the right”"),
        ("words of a", "words. Then type it at the left. A", "its text speaks of “at the left”"),
        ("words of a", "words at the right block of a", ""),
        ("minutes = 5", "minutes = 5\norder = 3", "'laminar_profile' has the order 3 too"),
        ("minutes = 5", "minutes = 5\norder = 99", ""),
        ("words of a", "words for $3 and $5 of a", "a formula of “$3 and $”"),
        ("words of a", "words: 2 * 3 * 4 of a", "emphasis of “2 * 3”"),
        ("words of a", "words: 2*3*4 of a", "emphasis of “2*3”"),
        ("words of a", "words with *stress* and `2*3*4 $x$` of a", ""),
        ('"Some words of a [[token]]."', '"""Some [[token]].\n\n1. Paris"""', "a list of “1.”"),
        ('"Some words of a [[token]]."', '"""Some [[token]].\n\n1. A\n2. B"""', ""),
        ("Is it sure?", "Is it less than half?", "its question tells the answer, “Less than half”"),
        ('prompt = "A B C"', f'prompt = "{"word " * 600}"', "step 1: "),
        ("high = 0.5", "high = -1.0", "no option holds the measured answer"),
        ('kind = "choice"', 'kind = "curve"', "have none"),
        ("Some words", "word " * 120, "words; at most"),
        (
            "Some words of a [[token]].",
            "Extraordinarily incomprehensible terminological considerations notwithstanding, "
            "multidimensional representations characteristically demonstrate superposition "
            "phenomena throughout intermediate computational transformations everywhere nowadays.",
            "hard to read",
        ),
    ],
)
def test_a_broken_lesson_is_named_with_its_reason_and_no_other(
    engine: LocalEngine, tmp_path: Path, old: str, new: str, reason: str
) -> None:
    path = broken(tmp_path, old, new)
    found = check([path], engine, "tiny")
    if not reason:
        assert found == []
        return
    assert found
    assert all(sentence.startswith("mine.toml, ") for sentence in found)
    assert any(reason in sentence for sentence in found), found


@pytest.mark.parametrize(
    ("kind", "answer", "fits"),
    [
        ("number", 0.5, True),
        ("number", 7.0, False),
        ("number", True, False),
        ("layer", 3, True),
        ("layer", 4, False),
        ("layer", 1.5, False),
        ("position", 4, True),
        ("position", 5, False),
        ("token", " a", True),
        ("token", 3, False),
        ("curve", [0, 0.1, 0.5, 1], True),
        ("curve", [0, 0.1, 0.5, 2], False),
        ("curve", [0, 1], False),
        ("band", 3, True),
        ("number", None, False),
    ],
)
def test_an_answer_must_fit_its_question(kind: str, answer: object, fits: bool) -> None:
    question = Question.model_validate({"kind": kind, "ask": "?", "answer": 0})
    assert (unfit(question, answer, 3, 5) == "") is fits


def test_every_page_has_controls_and_figures() -> None:
    for stem in concepts():
        keys, figures = page_keys(stem)
        assert keys
        assert figures
    assert {"at", "k", "more"} <= page_keys("predictions")[0]


def test_a_new_lesson_works_at_once(engine: LocalEngine, tmp_path: Path) -> None:
    path = tmp_path / "my_first.toml"
    new(path)
    assert check([path], engine, "tiny") == []
    with pytest.raises(LessonError, match="exists already"):
        new(path)
    with pytest.raises(LessonError, match="small letters"):
        new(tmp_path / "My first.toml")


def test_the_command_line(
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed = tmp_path / "models.toml"
    listed.write_text(
        f'[[model]]\nid = "tiny"\nsource = "folder"\npath = "{tiny_folder("gpt2")}"\n'
        'licence = "none"\n',
        "utf-8",
    )
    monkeypatch.setenv("STRATA_MODELS", str(listed))
    folder = tmp_path / "lessons"
    folder.mkdir()
    monkeypatch.setenv("STRATA_LESSONS", str(folder))
    assert main(["lessons", "new", "mine"]) == 0
    assert main(["lessons", "check"]) == 0
    assert capsys.readouterr().out.endswith("1 lessons are whole\n")
    path = folder / "mine.toml"
    path.write_text(path.read_text("utf-8").replace("top1_prob", "nothing"), "utf-8")
    assert main(["lessons", "check", str(path)]) == 1
    assert "mine.toml, step 2: There is no measure" in capsys.readouterr().out
