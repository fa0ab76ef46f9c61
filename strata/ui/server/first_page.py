"""The guess of the first page, which is in the file of its address: it is there, and can be typed
into, before Streamlit's scripts have run and a session has answered. Once Streamlit draws the page
what was typed and pressed goes on there, in the same place, and this one is taken away.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from pathlib import Path

TITLE = "What happens inside a language model?"
WHAT = (
    "It says, again and again, what may come next. Strata opens it layer by layer and shows on "
    "your own text how that comes about."
)
ASK, LABEL, REVEAL = "Guess the next word.", "Your word", "Show the model's"
MOST = 40  # characters of a word
# Begins as the example with the lighthouse does, and stops before the word that its author wrote.
# No lesson asks about it.
LINE = (
    "The lighthouse keeper wrote one line in his book every evening, whatever the weather. When "
    "the sea was calm he wrote the number of ships that had"
)
_HERE = Path(__file__).parent
_FONT = re.compile(r'href="(\./static/media/SourceSansVF-Upright[^"]*)"')


@cache
def early_guess(html: str) -> str:
    """What goes before `html`'s root. Its letters are of the font that `html` has the browser
    load for all others; without it, or where Streamlit calls it otherwise, of the browser's own.
    """
    found = _FONT.search(html)
    style = (_HERE / "first_page.css").read_text("utf-8")
    if found:
        source = f'src: url("{found[1]}") format("woff2")'
        style = (
            f'@font-face {{ font-family: "Source Sans"; font-weight: 200 900; {source}; }}{style}'
        )
    script = (_HERE / "first_page.js").read_text("utf-8")
    return (
        f'<style>{style}</style><div id="strata-first" hidden><div class="side"></div><main>'
        f'<h1>{escape(TITLE)}</h1><p class="what">{escape(WHAT)}</p>'
        f'<form><p><strong>{escape(ASK)}</strong></p><p class="line">{escape(LINE)} …</p>'
        f'<div class="row"><label>{escape(LABEL)}'
        f'<input aria-label="{escape(LABEL)}" maxlength="{MOST}" autocomplete="off"></label>'
        f'<button>{escape(REVEAL)}</button><span role="status"></span></div></form></main></div>'
        f"<script>{script}</script>"
    )
