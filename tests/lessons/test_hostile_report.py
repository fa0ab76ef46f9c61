"""Hostile texts in lessons and lab reports: a learner makes no markup, a teacher no HTML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from markdown_it import MarkdownIt

from strata.display.tokens import display_token
from strata.errors import StrataError
from strata.lessons import Lesson, filled, read
from strata.lessons.answers import Verdict, score
from strata.lessons.progress import Guess, Note
from strata.lessons.report import as_html, as_notebook, quoted
from strata.ui.lessons.glossary import explained
from tests.hostile import CASES, VALID, Case, each_sink, try_all

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
LARGE = 20_000  # characters: more cannot be stored of a learner


class Tags(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ()))

    def handle_decl(self, decl: str) -> None:
        self.tags.append(("declaration", ()))

    def unknown_decl(self, data: str) -> None:
        self.tags.append(("declaration", ()))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("instruction", ()))

    def handle_data(self, data: str) -> None:
        self.text += data


def lesson(text: str = "a", *, teachers: str = "a") -> Lesson:
    """A lesson in which a learner's token is named; `teachers` is in all that a teacher writes."""
    options = [
        {"text": f"A {teachers}", "value": "a", "why": "No."},
        {"text": "B", "value": "b", "why": "Yes."},
    ]
    question = {"kind": "choice", "ask": "Which, after {last_token}?", "answer": "b"}
    steps = [
        {"title": f"T {teachers}", "text": f"S {teachers}\n\nAfter {{last_token}}, of *this*."},
        {"title": "Two", "text": "x", "question": {**question, "options": options}},
    ]
    fields = {"title": f"L {teachers}", "summary": f"M {teachers}", "step": steps}
    known = {"stem": "mine", "version": "v", "minutes": 5, "page": "predictions"}
    return Lesson.model_validate({**known, **fields})


def done(text: str) -> tuple[list[Guess], dict[int, Note]]:
    """What a learner did who put this text wherever there is room for one."""
    text = text[:LARGE]
    said = Guess(1, 0, "v", text, "job", text, "b", Verdict("wrong", text))
    run = {"prompt": text, "model": text, "L": 3, "last_token": text}
    notes = {0: Note(0, 0, text, "", text, run), 1: Note(1, 1, text, "<svg/>", text, run)}
    return [said], notes


@cache
def usual_html() -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter(Tags(as_html(lesson(), *done("a"))).tags)


def in_html(text: str) -> None:
    found = Tags(as_html(lesson(), *done(text)))
    assert not Counter(found.tags) - usual_html()
    if text.isprintable() and len(text) < LARGE:
        assert text in found.text


def kinds(source: str) -> Counter[str]:
    """What Markdown draws of a text, words and the ends of lines left out."""
    tokens = MARKDOWN.parse(source)
    flat = [*tokens, *(child for token in tokens for child in token.children or ())]
    left_out = ("text", "softbreak", "hardbreak", "inline", "text_special", "paragraph")
    return Counter(token.type for token in flat if not token.type.startswith(left_out))


def kinds_of(book: Any) -> list[Counter[str]]:
    return [kinds(c.source) for c in book.cells if c.cell_type == "markdown"]


@cache
def usual_kinds() -> list[Counter[str]]:
    return kinds_of(nbformat.reads(as_notebook(lesson(), *done("a")), 4))


def in_notebook(text: str) -> None:
    book = nbformat.reads(as_notebook(lesson(), *done(text)), 4)
    nbformat.validate(book)
    for drawn, usually in zip(kinds_of(book), usual_kinds(), strict=True):
        assert not drawn - usually
    assert {c.source for c in book.cells if c.cell_type == "code"} <= {text[:LARGE]}


def in_explained(text: str) -> None:
    """What the panel of a lesson gives to Markdown that may hold HTML."""
    asked = explained("After “{token}”, [[token|so]]")
    token = display_token(text)
    page, plain = (
        Tags(MARKDOWN.render(filled(asked, {"token": quoted(each_)}))) for each_ in (token, "a")
    )
    assert page.tags == plain.tags
    assert f"“{token}”" in page.text


def teachers_html(text: str) -> None:
    page = Tags(as_html(lesson(teachers=text[:LARGE]), *done("a")))
    marks = {"code", "em", "p"}  # which a lesson's text may have
    assert {tag for tag, _ in Counter(page.tags) - usual_html()} <= marks


def teachers_notebook(text: str) -> None:
    book = nbformat.reads(as_notebook(lesson(teachers=text[:LARGE]), *done("a")), 4)
    nbformat.validate(book)
    assert [cell.cell_type for cell in book.cells].count("code") == 2


def teachers_file(text: str) -> None:
    """A lesson file with this in its beginning is a lesson or a sentence; nothing else happens."""
    file = Path(FOLDER[0]) / "mine.toml"
    content = f'title = "{text[:LARGE]}"\nsummary = "s"\nminutes = 5\npage = "../../etc/passwd"\n'
    content += '[[step]]\ntitle = "x"\ntext = "y"\n'
    file.write_bytes(content.encode("utf-8", "surrogatepass"))
    try:
        found = read(file)
    except StrataError as error:
        assert "mine.toml" in str(error)
        assert "passwd" not in str(error) or "passwd" in text
    else:
        assert found.page_of(0) == "../../etc/passwd"  # a name that no concept has
        assert "<" not in re.sub(r"</?abbr[^>]*>", "", explained(found.title))


def scored(text: str) -> None:
    """A typed guess beside a measured token: told back as text."""
    question = lesson().steps[1].question
    assert question is not None
    token = question.model_copy(update={"kind": "token", "wrong": "{guess} is not {answer}"})
    verdict = score(token, text[:LARGE], text[:LARGE] + "x")
    assert verdict.grade in ("near", "wrong")
    assert verdict.words.isprintable()


FOLDER: list[Path] = []
SINKS: dict[str, Callable[[str], None]] = {
    "html": in_html,
    "notebook": in_notebook,
    "explained": in_explained,
    "teachers_file": teachers_file,
    "score": scored,
}
# Of a lesson that was read, which is UTF-8.
READ: dict[str, Callable[[str], None]] = {
    "teachers_html": teachers_html,
    "teachers_notebook": teachers_notebook,
}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    FOLDER[:] = [tmp_path_factory.mktemp("lessons")]


@each_sink(SINKS, CASES)
def test_it_stays_text(sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, SINKS[sink])


@each_sink(READ, VALID)
def test_it_stays_text_in_a_report(sink: str, cases: tuple[Case, ...]) -> None:
    try_all(cases, READ[sink])
