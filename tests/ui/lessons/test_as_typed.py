"""What an author types comes out as typed: sums of money, numbered answers, products."""

from __future__ import annotations

import re
from typing import Any

import pytest
from markdown_it import MarkdownIt

from strata.lessons import Option, Question
from strata.ui.lessons import questions
from strata.ui.lessons.glossary import explained

TYPED = ["$3 and $5", "1. Paris", "2 * 3 * 4", "*no* :red[colour] `code` [link](x)", "# 1"]


def test_options_are_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A radio's labels are Markdown: every sign that means anything there is escaped."""
    shown: list[str] = []

    def radio(label: str, options: Any, index: Any, *, format_func: Any, key: str) -> int:
        shown.extend(map(format_func, options))
        return 1

    monkeypatch.setattr(questions.st, "radio", radio)
    options = tuple(Option(text=text, value=i) for i, text in enumerate(TYPED))
    question = Question.model_construct(kind="choice", ask="Which?", options=options)
    assert questions.answer_field(question, "guess", 30, []) == 1
    for label, typed in zip(shown, TYPED, strict=True):
        assert re.sub(r"\\(.)", r"\1", label) == typed
        assert MarkdownIt().render(label) == f"<p>{typed}</p>\n"
        assert not re.search(r"(?<!\\)[$:]", label)  # a formula or a colour of Streamlit's


def test_a_dollar_sign_begins_no_formula() -> None:
    assert explained("from $3 to $5") == r"from \$3 to \$5"
    assert explained("`$x` costs $1") == r"`$x` costs \$1"
