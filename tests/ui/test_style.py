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
_MAY_STYLE_WHAT_IS_BELOW = (
    '[class*="st-key-answer_"]',  # a small place
    # On a phone only: what moves a figure stands below it.
    '[data-testid="stVerticalBlock"]',
    '> [data-testid="stLayoutWrapper"]:has(> [data-testid="stHorizontalBlock"] .st-key-leads)',
)


def rules(text: str) -> list[tuple[str, bool]]:
    """The selectors that ask `:has()`, and whether rules are nested in theirs."""
    bare = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    found = re.finditer(r"([^{};]*:has\([^{};]*)\{(?=[^{}]*([{}]))", bare)
    return [(each[1].strip(), each[2] == "{") for each in found]


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
    for selector, nests in rules(sheet.read_text("utf-8")):
        for before, after in asked(selector):
            assert before, f"{selector}: asked of every element"
            below = re.match(r"\s*[^,]*[\s>+~]\s*[^\s,]", after.split(",")[0])
            allowed = sheet.stem == "print" or {before, selector} & {*_MAY_STYLE_WHAT_IS_BELOW}
            assert allowed or not (below or nests), f"{selector}: styles what is below"


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_no_class_of_any_ancestor_styles_everything_below(sheet: Path) -> None:
    """Of `[class*=x] *` every change of a class, on any element, is one of all below it."""
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text("utf-8"), flags=re.DOTALL)
    assert not re.findall(r"\[class\*=[^\]]*\][^,{}]*[\s>]\*\s*[,{]", text)


def test_what_is_covered_during_a_vote_is_drawn_by_these_names() -> None:
    """Notes, warnings, and what is said of an example, each of which may tell the answer."""
    place = Path(strata.ui.__file__).parent
    cover = (place / "classroom" / "cover.css").read_text("utf-8")
    named = set(re.findall(r"st-key-(\w+)", cover))
    assert named == {"question", "say_note", "say_warning", "example_note"}
    drawn = "".join(file.read_text("utf-8") for file in place.rglob("*.py"))
    for name in named:
        said = re.escape(name.removeprefix("say_"))
        assert re.search(rf'key="{said}"|say\(\s*"{said}"', drawn), name


def test_faults_are_found() -> None:
    assert rules(".a:has(.b) { > .c:has(.d) { top: 0; } } .e:has(.f) { top: 0; }") == [
        (".a:has(.b)", True),
        ("> .c:has(.d)", False),
        (".e:has(.f)", False),
    ]
    [bare] = asked(":has(> main)")
    assert bare == ("", "")
    [[before, after]] = asked('[data-testid="stApp"]:has(.on-the-wall) .code')
    assert (before, after) == ('[data-testid="stApp"]', " .code")
