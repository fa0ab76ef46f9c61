"""Terms of the field: how each is explained and found, and that none of a label is missing."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from strata.concepts.views import concepts
from strata.display.terms import ONLY_WHERE_MARKED, PROOF, TERMS, column_meanings, forms
from strata.lessons import glossary

ROOT = Path(__file__).parents[2]
# Calls whose texts are labels, and which of what they are given, the first if it is not said.
LABELS = {
    *("slider", "select_slider", "bounded_slider", "position_slider", "played_slider"),
    *("block_slider", "layer_slider", "one_of_counts", "number_input", "text_input", "selectbox"),
    *("multiselect", "segmented_control", "radio", "toggle", "metric", "tip", "tabs", "several"),
    *("one_of", "themselves", "toggle", "text_area", "popover", "expander"),
}
GIVEN = {"tip": (1,), "one_of": (1, 2), "selectbox": (0, 1), "radio": (0, 1)}
# Words of labels that mean there what they mean everywhere.
PLAIN = set(
    """
    a added adds after against alike all and another answer answered any anything append are as
    at average axes bare before beside best between beyond by came cell chance change choose
    chosen click code colour colours comes common compare compared controls counts degrees
    density depth detail difference direction distance do does down download drawn each edited
    ends estimated every exact example examples excess expected facts far few first follow
    followed from give grid groups halved have hint how in include is it its itself j kind know
    large largest last learners least leave left length less likelier likeliest line linear link
    little logarithmic many map massive mean method minus mistake model most near nearest
    nearness next no noise none nothing number observed of on one only options or orange other
    out output own pair pairs part passages path paths pinned place play position positions
    prediction profile prompt prompts put quantity question raw reached read reads right runs s
    same sample scale scaled second set several shape share shortcut show similarity so squared
    step steps subtitle sum suppressed table take text texts that the their they this three
    through times title to told too took top twice two type unit up value values vote votes what
    when where while who whole whom whose with within without word words would write writes
    wrote your yours zero zoom
    """.split()
)
CODE = {"expr", "fontSize"}  # keys of a title's properties


def labels() -> Iterator[tuple[str, str]]:
    """Every text of a label that stands in the code of pages and charts, with its file, and the
    numbers that concepts name."""
    for folder in ("pages", "strata/ui/figures", "strata/charts", "strata/ui/anatomy"):
        for path in sorted((ROOT / folder).glob("*.py")):
            tree = ast.parse(path.read_text("utf-8"))
            constants = {  # a tab's name or a choice's is often given by one
                target.id: node.value
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    for number in GIVEN.get(name, (0,)) if name in LABELS else ():
                        for each in node.args[number : number + 1]:
                            found = [*texts(each), *named(each, constants, name)]
                            yield from ((path.name, text) for text in found)
                elif isinstance(node, ast.Dict):
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "title":
                            yield from ((path.name, text) for text in texts(value))
    for stem, module in concepts().items():
        concept = module.CONCEPT
        yield from ((stem, name) for name in (*concept.curves, *concept.nulls))


def named(node: ast.expr, constants: dict[str, ast.expr], call: str) -> Iterator[str]:
    """The texts of constants of the file that a call is given: of a dictionary of choices their
    names, of one of tabs its keys."""
    for each in ast.walk(node):
        found = constants.get(each.id) if isinstance(each, ast.Name) else None
        if isinstance(found, ast.Dict):
            for part in found.keys if call == "tabs" else found.values:
                yield from texts(part) if part is not None else ()
        elif isinstance(found, ast.Tuple | ast.List):
            yield from texts(found)


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
    assert len(found) > 350
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
