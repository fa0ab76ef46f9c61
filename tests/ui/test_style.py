"""Rules of style that every change of a page can afford: a browser asks of each element that a
`:has()` is about, whenever something below it changes, and all that such a rule may style is then
styled anew. A page of 1,100 elements was so eight times for one move of a slider."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import strata.ui

SHEETS = sorted(
    sheet
    for sheet in Path(strata.ui.__file__).parent.glob("*/*.css")
    if sheet.name != "cover.css"  # which holds while a class votes
)
_COMPOUND = r"(?:\([^()]*\)|[^\s>+~,{}();])*"
# Small places, or in a sheet of paper's own.
_MAY_STYLE_WHAT_IS_BELOW = ('[class*="st-key-answer_"]',)


def rules(text: str) -> list[str]:
    """The selectors that ask `:has()`, each with its compound and what follows."""
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = re.findall(r"([^{};]*:has\([^{};]*)\{", bare)
    return [each.strip() for each in found]


def asked(selector: str) -> list[tuple[str, str]]:
    """Of each `:has()`: what of the element itself is asked before, and what follows."""
    found = []
    for match in re.finditer(rf"({_COMPOUND}):has\(", selector):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(selector[end], 0)
            end += 1
        found.append((match[1], selector[end:]))
    return found


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_a_rule_that_looks_down_is_about_few_elements(sheet: Path) -> None:
    for selector in rules(sheet.read_text("utf-8")):
        for before, after in asked(selector):
            assert before, f"{selector}: asked of every element"
            below = re.match(r"\s*[^,]*[\s>+~]\s*[^\s,]", after.split(",")[0])
            allowed = before in _MAY_STYLE_WHAT_IS_BELOW or sheet.stem == "print"
            assert allowed or not below, f"{selector}: styles what is below"


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_no_class_of_any_ancestor_styles_everything_below(sheet: Path) -> None:
    """Of `[class*=x] *` every change of a class, on any element, is one of all below it."""
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.DOTALL)
    assert not re.findall(r"\[class\*=[^\]]*\][^,{}]*[\s>]\*\s*[,{]", text)


def test_faults_are_found() -> None:
    [bare] = asked(":has(> main)")
    assert bare == ("", "")
    [[before, after]] = asked('[data-testid="stApp"]:has(.on-the-wall) .code')
    assert (before, after) == ('[data-testid="stApp"]', " .code")
