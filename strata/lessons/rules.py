"""What a lesson's words must not do: tell an answer, point at what is hidden, become Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from strata.display.tokens import SPACE
from strata.lessons import Question, Step, plain, without_terms
from strata.lessons.answers import answer_in_words, curve_layers, in_words, score, start

_THINGS = (
    "figures?|charts?|plots?|tables?|grids?|strips?|histograms?|bars?|readings?|panels?|"
    "legends?|heat ?maps?|cells?|rows?|columns?|tabs?|toggles?|lines?"
)
_POINTS = re.compile(
    rf"\b(?:the|this|these|that|those|its)\s+(?:[\w“”’'-]+\s+){{0,3}}?(?:{_THINGS})\b"
    r"|\bth(?:is|ese) (?:maps?|curves?|bands?|pictures?)\b"
    r"|\b(?:look|see|shown|drawn|figure|beside|here)\s+(?:below|above)\b"
    r"|\b(?:below|above|beside) (?:the|this) (?:text|prompt|page)\b"
    r"|\blook at\b",
    re.IGNORECASE,
)
# On a phone nothing is there, now or later; "at the right block" is no place.
_PLACES = re.compile(
    r"\b(?:on|to) the (?:left|right)\b"
    r"|\bat the (?:left|right)(?=\W*$|[.,;:!?)]| (?:and|are|has|is|or|shows?|will)\b)",
    re.IGNORECASE,
)
# Words of a sentence that speaks of what was seen before, or will be seen.
_NOT_NOW = re.compile(
    r"\b(?:after|afterwards|once|then|when|will|until|later|next|last|earlier|before|already|"
    r"remember|saw|seen|if)\b",
    re.IGNORECASE,
)
_MARKDOWN = (
    (re.compile(r"\$[^$\n]*\$"), "a formula"),
    (re.compile(r"[\w)](?:\*| \* )[\w(]"), "emphasis"),
    (re.compile(r"(?<!\w)_[^_\n]+_(?!\w)|\*\*|__|~~", re.ASCII), "emphasis"),
    (re.compile(r"^ {0,3}(?:#{1,6} |>|[-+*] |-{3,} *$)", re.MULTILINE), "a heading or a list"),
    (re.compile(r"!?\[[^\]\n]*\]\([^)\n]*\)"), "a link"),
    (re.compile(r":[a-z][\w/+-]*(?::|\[)"), "a colour or an icon"),
    (re.compile(r"\\[!-/:-@\[-`{-~]"), "an escaped sign"),
)
_NUMBERED = re.compile(r"^ {0,3}(\d+)[.)] ", re.MULTILINE)


def words_of(step: Step) -> dict[str, str]:
    """What is read of a step before its answer is told, but for its hints: what it is, and it."""
    asked = step.question.ask if step.question else ""
    found = {"title": step.title, "text": step.text, "question": asked}
    return {name: text for name, text in found.items() if text}


def _with_hints(step: Step) -> dict[str, str]:
    return {**words_of(step), **{f"hint {n}": hint for n, hint in enumerate(step.hints, 1)}}


def points_at_hidden(step: Step) -> Iterator[str]:
    """Sentences that send the learner to a figure which waits for the prediction, or aside."""
    if not step.hide:
        return
    for name, text in _with_hints(step).items():
        for sentence in re.split(r"(?<=[.!?])\s+", plain(text)):
            if found := _PLACES.search(sentence):
                yield f"its {name} speaks of “{found[0]}”, where on a phone nothing stands; name it"
            elif (found := _POINTS.search(sentence)) and not _NOT_NOW.search(sentence):
                yield (
                    f"its {name} speaks of “{found[0]}”, which waits for the prediction; say what "
                    "is asked, or that it comes after the guess"
                )


def becomes_markdown(step: Step) -> Iterator[str]:
    """What an author typed as it is meant, and Markdown reads otherwise."""
    for name, text in _with_hints(step).items():
        if name == "title":
            continue  # shown as typed
        bare = re.sub(r"`[^`\n]*`", "``", without_terms(text))
        for pattern, what in _MARKDOWN:
            if found := pattern.search(bare):
                yield f"Markdown can make {what} of “{found[0].strip()}” in its {name}; {_ADVICE}"
        numbers = [int(number) for number in _NUMBERED.findall(bare)]
        if numbers and numbers != list(range(1, max(2, len(numbers)) + 1)):
            yield f"Markdown makes a list of “{numbers[0]}.” in its {name}; {_ADVICE}"


_ADVICE = "put it between `s, or in words"


def tells(step: Step, answer: Any, shown: Sequence[str]) -> Iterator[str]:
    """Where the words of a step hold the measured answer. `shown`: the prompt's tokens."""
    question = step.question
    if question is None or answer is None:
        return
    for name, text in words_of(step).items():
        if said := _told_in(plain(text), question, answer, shown):
            yield f"its {name} tells the answer, “{said}”"
    if step.hints and (said := _told_in(plain(step.hints[0]), question, answer, shown)):
        yield f"its first hint tells the answer, “{said}”"


def _told_in(text: str, question: Question, answer: Any, shown: Sequence[str]) -> str:
    """The words in which a text holds the answer; "" where it does not."""
    said = answer_in_words(question, answer, shown)
    kind = question.kind
    if kind == "token":
        word = str(answer).strip()
        # A sign, or a word such as "is", stands in every text: only where it is quoted it tells.
        sure = re.escape(word) if re.search(r"\w{4}", word) else rf"“{SPACE}?{re.escape(word)}”"
        return word if re.search(rf"(?<!\w){sure}(?!\w)", text, re.IGNORECASE) else ""
    if kind == "choice":
        return said if len(said) > 3 and said.casefold() in text.casefold() else ""
    if kind in ("layer", "block", "band", "position"):
        named = in_words(question, answer)  # "layer 3"
        return named if re.search(rf"\b{named}\b", text, re.IGNORECASE) else ""
    if kind == "number":
        unit = {"%": r"\s?(?:%|percent|per cent)", "": r"(?<=\.\d)\d*"}.get(
            question.unit, rf"\s{re.escape(question.unit)}\b"
        )
        for number, whole in re.findall(rf"((?<![\w.])-?\d[\d,]*(?:\.\d+)?)({unit})", text):
            value = float((number + (whole if not question.unit else "")).replace(",", ""))
            value /= 100 if question.unit == "%" else 1
            if score(question, value, answer).grade == "right":
                return f"{number}{whole}"
    return ""


def stands_right(question: Question, answer: Any, n_layers: int) -> str:
    """Why doing nothing would be right: where the field begins, or how options are ordered; ""
    where it would not."""
    begins = start(question, n_layers)
    if begins is None or answer is None:
        return ""
    grade = score(question, begins, answer, curve_layers(question, n_layers)).grade
    if grade == "right" and question.kind == "ordering":
        return "its options stand in the right order; put them in another one"
    if grade == "right" and question.kind == "curve":
        return (
            "its sliders begin as a line that would be right; choose another 'low' or 'high', or a "
            "smaller 'tolerance'"
        )
    if grade in ("right", "near") and question.kind == "number":
        return (
            f"its slider begins at {in_words(question, begins)}, too near the answer, "
            f"{in_words(question, answer)}; choose another 'low' or 'high'"
        )
    return ""


def lacks_a_why(question: Question) -> str:
    """Why a wrong guess would be left without a reason; "" where it is given one."""
    if question.kind == "choice" or question.why or question.wrong:
        return ""
    return "a wrong guess is told no reason; give the question a 'why' or a 'wrong'"


def is_on_the_screen(step: Step, page: str) -> str:
    """Why the page may show what is asked; "" where it waits, or is not of it. A step to find a
    mistake is about what it shows."""
    question = step.question
    if question is None or not question.measure or step.hide or step.trap:
        return ""
    if question.view.partition(".")[0] != page:
        return ""
    return (
        f"the page {page} shows {question.view}, which is asked about, before the guess; set hide"
    )
