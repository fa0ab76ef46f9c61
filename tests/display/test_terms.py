"""Terms of the field: how each is explained and found, and that none of a label is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from strata.display.terms import ONLY_WHERE_MARKED, PROOF, TERMS, column_meanings, forms
from strata.lessons import glossary

ROOT = Path(__file__).parents[2]
# Calls whose texts are labels, and where in them.
LABELS = {
    *("slider", "select_slider", "bounded_slider", "position_slider", "played_slider"),
    *("block_slider", "layer_slider", "one_of_counts", "number_input", "text_input", "selectbox"),
    *("multiselect", "segmented_control", "radio", "toggle", "metric", "tip", "tabs", "several"),
}
# Words of labels that mean there what they mean everywhere.
PLAIN = set(
    """
    a added after alike and answer answered any append are as at axes before beside best beyond by
    cell chance change choose colours comes common compare compared condition counts density depth
    difference distance each edited effect estimated exact example examples excess expected far
    first follow followed from give groups have hint in include is it its itself j kind large
    largest last learners least leave likelier line linear logarithmic many map mean method minus
    mistake model most near nearness next no number observed of on one only or orange other out
    output pair pairs part passages pinned place play position positions prediction prompt prompts
    put quantity question reached read reads right runs s same sample scaled second set share
    shortcut show similarity so squared step subtitle sum suppressed text texts that the their they
    this through title to told too took top two type unit up value values vote votes what where who
    whose with without word words would write writes your yours zero zoom
    """.split()
)
CODE = {"expr", "fontSize"}  # keys of a title's properties


def labels() -> Iterator[tuple[str, str]]:
    """Every text of a label that stands in the code of pages and charts, with its file."""
    for folder in ("pages", "strata/ui/figures", "strata/charts", "strata/ui/anatomy"):
        for path in sorted((ROOT / folder).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in LABELS:
                        number = 1 if name == "tip" else 0
                        given = node.args[number : number + 1]
                        yield from ((path.name, text) for each in given for text in texts(each))
                elif isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "title":
                            yield from ((path.name, text) for text in texts(value))


def texts(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        value = getattr(each, "value", None)
        if isinstance(value, str) and value not in CODE:
            yield value


def without_known(text: str) -> list[str]:
    """The words of a text that are in no term."""
    text = text.lower()
    for form in sorted(forms(glossary()), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", " ", text)
    return re.findall(r"[a-z]+", text)


def test_every_term_of_a_label_is_explained() -> None:
    found = list(labels())
    assert len(found) > 80
    unknown = {
        (word, file, text)
        for file, text in found
        for word in without_known(text)
        if word not in PLAIN
    }
    assert unknown == set(), (
        "explain it in lessons/glossary.toml, or it is a plain word: add it here"
    )


def test_what_is_plain_is_no_term() -> None:
    assert not PLAIN & set(forms(glossary()))


@pytest.mark.parametrize("term", sorted(glossary()))
def test_a_meaning_is_a_short_sentence(term: str) -> None:
    meaning = glossary()[term]
    assert term == term.lower()
    assert meaning[0].isupper()
    assert meaning.endswith(".")
    assert "\n" not in meaning
    assert len(meaning) <= 220
    assert meaning.count(". ") <= 1, "at most two sentences"


def test_a_term_is_known_as_it_stands_in_a_text() -> None:
    known = forms({"entropy": "", "attention sink": "", "loss": "", "map": "", "top-1": ""})
    assert {"entropy", "entropies", "attention sinks", "losses", "top-1"} <= set(known)
    assert known["entropies"] == "entropy"
    assert "map" not in known, "a word of everyday language, too"
    assert set(glossary()) >= ONLY_WHERE_MARKED
    assert not PROOF.keys() - {"lens", "writes", "read back", "heads", "alone"}


def test_columns_of_a_table_say_what_they_mean() -> None:
    frame = pd.DataFrame(
        columns=["prob", "token_id", "effective_dimension", "kl", "n", "target_rank", "Median"]
    )
    said = column_meanings(frame.columns, glossary())
    assert said["prob"] == TERMS["probability"]
    assert said["token_id"] == TERMS["token"]
    assert said["effective_dimension"] == glossary()["effective dimension"]
    assert said["kl"] == glossary()["kl divergence"]
    assert said["Median"] == glossary()["median"]
    assert "n" not in said
