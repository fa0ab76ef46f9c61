"""Forty prompts of all kinds that learners type, kept so that what is said of them can be judged.

Short and long, other languages and scripts, code, sums, words again and again, chats, signs.
"""

from __future__ import annotations

from strata.corpus.examples import BY_ID

_LIGHTHOUSE = BY_ID["long"].prompt.partition("The next morning")[0]

PROMPTS = {
    # short
    "one token": "Hello",
    "one letter": "a",
    "one sign": "?",
    "one space": " ",
    "one line break": "\n",
    "two tokens": "Good morning",
    "a fact": "The capital of France is",
    "an opposite": "The opposite of hot is",
    "half a word": "The cat sat on the m",
    "a space at the end": "The sky is ",
    # long
    "a paragraph": _LIGHTHOUSE[:408],
    "170 tokens": _LIGHTHOUSE + "The next morning the keeper climbed the steps of the tower, "
    "lit the lamp, and looked for a long time at the grey sea, where nothing moved at all but",
    "a long sentence": "Although it had been raining since the early hours of the morning and "
    "nobody in the village expected the market to take place, the baker put out his",
    # other languages and scripts
    "German": "Die Hauptstadt von Deutschland ist",
    "long German": "Der Donaudampfschifffahrtskapitän grüßte höflich, während es über dem Fluß "
    "langsam dunkel wurde und die Straßenlaternen angingen.",
    "French": "Il était une fois une petite fille qui s'appelait",
    "Spanish": "¿Dónde está la biblioteca? Está en la calle",
    "Chinese": "今天的天气很",
    "Arabic": "مرحبا بالعالم",
    "Hindi": "नमस्ते दुनिया",
    "emoji": "I love 🍕 and 👩‍👩‍👧",
    # code
    "Python": "def add(a, b):\n    return a +",
    "C": 'int main(void) {\n\tprintf("%d\\n", 42);\n\treturn 0;\n}',
    "HTML": "<ul>\n  <li><a href='/x'>one</a></li>\n  <li>",
    "JSON": '{"name": "Ada", "born": 1815, "friends": ["Charles"], "died":',
    "a path": "https://example.org/a/b?c=1&d=2#",
    # sums and numbers
    "a sum": "2 + 2 = ",
    "sums": "2 + 2 = 4\n3 + 3 = 6\n4 + 4 = ",
    "digits": "3.14159265358979323846264338327950288",
    "a table": "a | b | c\n1 | 2 | 3\n4 | 5 |",
    "counting": "one two three four five six seven",
    # again and again
    "one word again": " the" * 12,
    "a list again": "violet anchor pepper seven. violet anchor pepper seven. violet anchor",
    "one letter again": "a" * 60,
    "two words again": "yes no yes no yes no yes",
    # chats, capitals, signs
    "a chat": "<|im_start|>user\nWhat is the capital of Peru?<|im_end|>\n<|im_start|>assistant\n",
    "a dialogue": "User: What is 7 times 8?\nAssistant:",
    "capitals": "WARNING: DO NOT OPEN THE",
    "signs": "!!! ... ??? ;;; --- *** $$$",
    "quotes": '“He said ‘no’”, she wrote; `x` · … and "then"',
}
# One of each kind: what is said of these is always judged, of the others by `pytest --thorough`.
COVERING = (
    "one token",
    "one line break",
    "two tokens",
    "a fact",
    "170 tokens",
    "long German",
    "Hindi",
    "emoji",
    "HTML",
    "digits",
    "one letter again",
    "a chat",
    "quotes",
)
