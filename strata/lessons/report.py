"""The lab report of a lesson: what was asked, guessed, measured and observed, as a file to keep."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import nbformat

from strata.display.tokens import display_text
from strata.lessons import Lesson, Step, filled, plain, with_dollars, without_terms
from strata.lessons.answers import guess_in_words
from strata.lessons.pictures import as_pictures, name_of
from strata.lessons.progress import Guess, Note

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;"
    "color:#20242e}h1,h2{line-height:1.2}figure{margin:1rem 0}img{max-width:100%}"
    ".guess{border-left:4px solid #7557e0;padding:.2rem .9rem;margin:.6rem 0}"
    ".right{border-color:#2e8b57}.near{border-color:#c4850c}.wrong{border-color:#c2185b}"
    "pre{background:#f4f5f9;padding:.8rem;overflow:auto;font-size:13px}"
    ".run{color:#5a6072}code{background:#f4f5f9;padding:0 .2rem}"
    "blockquote{margin:.6rem 0;padding:.2rem .9rem;background:#f4f5f9}"
)


def drawn(notes: Mapping[int, Note]) -> dict[int, Note]:
    """The notes with figures as pictures (SVG) in place of their specs."""
    pictures = as_pictures([note.figure for note in notes.values() if note.figure])
    left = iter(pictures)
    return {
        step: replace(note, figure=next(left)) if note.figure else note
        for step, note in notes.items()
    }


def as_html(lesson: Lesson, guesses: Sequence[Guess], notes: Mapping[int, Note]) -> str:
    """One file that needs no network: all that was typed is text in it, never markup. The notes are
    `drawn`."""
    title = html.escape(lesson.title)
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{html.escape(lesson.summary)}</p>"
    ]
    for number, step in enumerate(lesson.steps):
        parts.append(f"<h2>{number + 1}. {html.escape(step.title)}</h2>")
        facts, note = _facts(number, notes), notes.get(number)
        # What a run says is a learner's text: nothing in it is a mark.
        facts = {name: html.escape(str(value)) for name, value in facts.items()}
        parts += [f"<p>{filled(_marked(line), facts)}</p>" for line in step.text.split("\n\n")]
        if note and note.run:
            parts.append(f"<p class=run>{html.escape(_run_in_words(note.run))}</p>")
        if step.question is not None:
            parts.append(f"<p><b>{filled(_marked(step.question.ask), facts)}</b></p>")
        for guess in _of(number, guesses):
            first, said = _guess_in_words(step, guess)
            parts.append(
                f'<div class="guess {guess.verdict.grade}"><p>{html.escape(first)}</p>'
                f"<p>{html.escape(said)}</p></div>"
            )
        if note is None:
            continue
        if note.figure:
            picture = base64.b64encode(note.figure.encode()).decode()
            parts.append(
                f'<figure><img alt="{html.escape(_alt(number, note.figure))}" '
                f'src="data:image/svg+xml;base64,{picture}"></figure>'
            )
        if note.observation:
            parts.append(f"<blockquote>{html.escape(note.observation)}</blockquote>")
        if note.code:
            parts.append(
                f"<details><summary>The program</summary><pre>{html.escape(note.code)}</pre>"
                "</details>"
            )
    return "".join(parts) + "</html>\n"


def as_notebook(lesson: Lesson, guesses: Sequence[Guess], notes: Mapping[int, Note]) -> str:
    """The same as a Jupyter notebook, with the programs as cells to run."""
    form = nbformat.v4
    cells = [form.new_markdown_cell(f"# {quoted(lesson.title)}\n\n{quoted(lesson.summary)}")]
    for number, step in enumerate(lesson.steps):
        facts, note = _facts(number, notes), notes.get(number)
        facts = {name: quoted(str(value)) for name, value in facts.items()}
        said, title = with_dollars(without_terms(step.text)), quoted(step.title)
        lines = [f"## {number + 1}. {title}", filled(said, facts)]
        if note and note.run:
            lines.append(quoted(_run_in_words(note.run)))
        if step.question is not None:
            asked = with_dollars(without_terms(step.question.ask))
            lines.append(f"**{filled(asked, facts)}**")
        for guess in _of(number, guesses):
            lines += [f"- {quoted(line)}" for line in _guess_in_words(step, guess)]
        if note and note.observation:
            seen = note.observation.splitlines()
            lines.append("\n".join(f"> {quoted(line)}" for line in seen))
        cell = form.new_markdown_cell("\n\n".join(lines))
        if note and note.figure:
            picture = base64.b64encode(note.figure.encode()).decode()
            cell.attachments = {"figure.svg": {"image/svg+xml": picture}}
            cell.source += f"\n\n![{quoted(_alt(number, note.figure))}](attachment:figure.svg)"
        cells.append(cell)
        if note and note.code:
            cells.append(form.new_code_cell(note.code))
    for count, cell in enumerate(cells):
        cell.id = f"cell-{count}"
    text: str = nbformat.writes(form.new_notebook(cells=cells))
    return text


def _alt(number: int, picture: str) -> str:
    """What a figure says to those who cannot see it, as it did on its page."""
    return name_of(picture) or f"The figure of step {number + 1}"


def _marked(text: str) -> str:
    """Lesson text as HTML, with code and emphasis."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(without_terms(text)))
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"<em>\1</em>", text)


def _facts(number: int, notes: Mapping[int, Note]) -> Mapping[str, Any]:
    """What {names} in a step's text stand for: its own run, or another one of the lesson."""
    runs = [note.run for note in notes.values() if note.run]
    note = notes.get(number)
    return note.run if note and note.run else runs[-1] if runs else {}


def quoted(text: str) -> str:
    """Text as a line in which Markdown finds nothing to draw."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(text.split()))


def _run_in_words(run: Mapping[str, Any]) -> str:
    prompt = str(run.get("prompt", ""))
    return f"Run of {run.get('model', 'a model')} on: “{display_text(prompt, len(prompt))}”"


def _of(number: int, guesses: Sequence[Guess]) -> list[Guess]:
    return [guess for guess in guesses if guess.step == number]


def _guess_in_words(step: Step, guess: Guess) -> tuple[str, str]:
    question, words = step.question, guess.said or str(guess.guess)
    if not guess.said and question is not None:  # kept before guesses were kept in words
        of_option = question.kind != "choice" or (
            isinstance(guess.guess, int) and guess.guess < len(question.options)
        )
        words = guess_in_words(question, guess.guess) if of_option else words
    first = "Prediction" if guess.attempt == 0 else "Second try"
    return f"{first}: {plain(words)}", f"{plain(guess.verdict.words)} ({guess.model})"
