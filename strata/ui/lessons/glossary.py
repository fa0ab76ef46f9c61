"""Terms of a lesson's text, explained where the pointer rests on them."""

from __future__ import annotations

import html
import re

from strata.errors import StrataError
from strata.lessons import glossary, with_dollars


def explained(text: str) -> str:
    """Markdown in which [[term]] is an abbreviation with its meaning; HTML in it stays text, and a
    dollar sign, which would begin a formula, a dollar sign."""
    try:
        terms = glossary()
    except StrataError:
        terms = {}

    def abbreviation(found: re.Match[str]) -> str:
        term, _, said = found[1].partition("|")
        meaning = terms.get(term.lower())
        shown = html.escape(said or term)
        if meaning is None:
            return shown
        return f'<abbr title="{html.escape(meaning, quote=True)}">{shown}</abbr>'

    escaped = with_dollars(text.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"\[\[([^\]]+)\]\]", abbreviation, escaped)
