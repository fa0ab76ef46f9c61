"""A lab report holds what was done, and nothing in it that was typed is ever markup."""

from __future__ import annotations

import base64
from dataclasses import replace
from html.parser import HTMLParser

import nbformat
import pytest
from markdown_it import MarkdownIt

from strata.lessons import Lesson
from strata.lessons.answers import Verdict
from strata.lessons.progress import NOT_YET, Guess, Note
from strata.lessons.report import as_html, as_notebook, drawn, plain, quoted
from strata.ui.anatomy.record import as_spec
from tests.charts.forms import bars

HOSTILE = "<script>alert(1)</script> ![x](http://e.org) `a` </pre>"
LESSON = Lesson.model_validate(
    {
        "stem": "mine",
        "version": "v",
        "title": "My lesson",
        "summary": "It is about [[token|tokens]].",
        "minutes": 5,
        "page": "predictions",
        "step": [
            {"title": "One", "text": "A [[token]] is a piece."},
            {
                "title": "Two",
                "text": "Is it `{L}` or {last_token}?",
                "question": {
                    "kind": "choice",
                    "ask": "Which?",
                    "answer": "b",
                    "options": [
                        {"text": "A", "value": "a", "why": "No."},
                        {"text": "B", "value": "b", "why": "Yes."},
                    ],
                },
            },
        ],
    }
)
GUESSES = [
    Guess(1, 0, "v", "tiny", "job", 0, "b", Verdict("wrong", "No. Measured here: B.")),
    Guess(1, 1, "v", "tiny", "job", 1, "b", Verdict("right", "Yes: B.")),
]
RUN = {"prompt": f"a prompt {HOSTILE}", "model": "tiny", "L": 3, "last_token": "“<b>”"}
NOTES = {
    1: Note(1, 2, HOSTILE, "<svg><text>figure</text></svg>", "print('</pre><b>')", RUN),
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.alts: list[str | None] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.alts.append(dict(attrs)["alt"])

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_html_holds_everything_and_no_markup_of_the_learners() -> None:
    page = Tags()
    text = as_html(LESSON, GUESSES, NOTES)
    page.feed(text)
    assert not {"script", "b "} & set(page.tags)
    for said in ("Prediction: A", "No. Measured here: B. (tiny)", "Second try: B", HOSTILE):
        assert said in page.text
    assert "A token is a piece." in page.text
    assert "Is it `3` or “<b>”?".replace("`", "") in page.text
    assert f"Run of tiny on: “a prompt {HOSTILE}”" in page.text
    assert "{L}" not in page.text
    assert "code" in page.tags
    assert base64.b64encode(NOTES[1].figure.encode()).decode() in text
    assert "http-equiv" not in text
    assert 'src="http' not in text


def test_the_notebook_is_valid_and_its_code_is_a_cell() -> None:
    notebook = nbformat.reads(as_notebook(LESSON, GUESSES, NOTES), as_version=4)
    nbformat.validate(notebook)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds == ["markdown", "markdown", "markdown", "code"]
    assert notebook.cells[3].source == NOTES[1].code
    told = notebook.cells[2].source
    assert r"\<script\>" in told
    assert "<script>" not in told
    assert r"Is it `3` or “\<b\>”?" in told
    assert r"Prediction\: A" in told
    assert notebook.cells[2].attachments["figure.svg"]


def test_a_figure_says_in_words_what_it_said_on_its_page() -> None:
    chart = replace(bars(), reading=f'It says {HOSTILE}\nand “"quotes"”.')
    notes = drawn({1: Note(1, figure=as_spec(chart))})
    said = " ".join(chart.alt.split())
    assert "What may follow. It says <script>" in said
    page = Tags()
    page.feed(as_html(LESSON, [], notes))
    assert page.alts == [said]
    assert "script" not in page.tags
    book = nbformat.reads(as_notebook(LESSON, [], notes), as_version=4)
    pictures = [
        each
        for token in MarkdownIt().parse(book.cells[2].source)
        for each in token.children or ()
        if each.type == "image"
    ]
    assert [each.content for each in pictures] == [quoted(said)]
    old = {1: Note(1, figure="<svg><text>figure</text></svg>")}  # kept before figures had names
    page = Tags()
    page.feed(as_html(LESSON, [], old))
    assert page.alts == ["The figure of step 2"]


def test_money_and_titles_are_no_markup_in_a_notebook() -> None:
    step = LESSON.steps[0].model_copy(update={"title": "2 * 3", "text": "For $3 and $5, `$x`."})
    lesson = LESSON.model_copy(update={"title": "*A* $1", "steps": (step,)})
    first, second = nbformat.reads(as_notebook(lesson, [], {}), as_version=4).cells
    assert first.source.startswith(r"# \*A\* \$1")
    assert second.source == "## 1. 2 \\* 3\n\nFor \\$3 and \\$5, `$x`."


def test_an_answer_that_was_not_told_yet_is_not_in_the_report() -> None:
    held = replace(GUESSES[0], answer=None, verdict=Verdict("wrong", NOT_YET), said="A")
    page = Tags()
    page.feed(as_html(LESSON, [held], NOTES))
    assert f"Prediction: A{NOT_YET} (tiny)" in page.text
    assert "Measured" not in page.text


def test_a_guess_is_told_in_the_words_in_which_it_was_kept() -> None:
    said = replace(GUESSES[0], guess=1, said="“␣a” (position 1)")
    assert "Prediction: “␣a” (position 1)" in as_html(LESSON, [said], {})


def test_a_lesson_that_was_only_begun() -> None:
    assert "Prediction" not in as_html(LESSON, [], {})
    nbformat.validate(nbformat.reads(as_notebook(LESSON, [], {}), as_version=4))


@pytest.mark.parametrize(
    ("text", "said"),
    [("a [[token]] b", "a token b"), ("[[token|tokens]]", "tokens"), ("[x]", "[x]")],
)
def test_terms_lose_their_marks(text: str, said: str) -> None:
    assert plain(text) == said


def test_markdown_is_quoted() -> None:
    assert quoted("*a* [b](c) <d>") == r"\*a\* \[b\]\(c\) \<d\>"
