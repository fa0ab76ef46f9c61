"""Is a lesson whole? Its links, measures and words, and every question on a real run."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from strata.concepts.views import concepts, find_view
from strata.corpus.examples import DEFAULT
from strata.engine import Job, LocalEngine
from strata.engine.job import check_params
from strata.errors import StrataError
from strata.lessons import (
    Lesson,
    LessonError,
    Question,
    files,
    filled,
    glossary,
    lessons,
    read,
    rules,
)
from strata.lessons.answers import (
    find_measure,
    job,
    lacking,
    measured,
    of_its_set,
    positions,
    resolved,
    right_option,
)
from strata.lessons.report import plain

MOST_WORDS = 110  # of a step's text
MOST_LIX = 42  # readability index; under 40 is easy to medium prose
_ROOT = Path(__file__).resolve().parents[2]


def check(paths: list[Path] | None, engine: LocalEngine, model: str) -> list[str]:
    """What is wrong with these lesson files (None: with all), a sentence each; [] where nothing is.

    Every question is asked on `model`, with the prompt that the lesson has set by then.
    """
    found: list[str] = []
    stems = {path.stem for path in files()} | {path.stem for path in paths or ()}
    orders = {stem: lesson.order for stem, lesson in lessons().items()}
    for path in files() if paths is None else paths:
        try:
            lesson = read(path)
        except LessonError as error:
            found.append(str(error))
            continue
        found += [f"{path.name}, {reason}." for reason in _tied(lesson, orders)]
        found += [f"{path.name}, {reason}." for reason in _written(lesson, stems)]
        found += [f"{path.name}, {reason}." for reason in _measured(lesson, engine, model)]
    return found


def _written(lesson: Lesson, stems: set[str]) -> Iterator[str]:
    """What can be seen without a model."""
    for stem in lesson.prerequisites:
        if stem not in stems:
            yield f"its beginning: there is no lesson {stem!r} to come before it"
    terms = glossary()
    for number, step in enumerate(lesson.steps, 1):
        where, page = f"step {number}", lesson.page_of(number - 1)
        if page not in concepts():
            yield f"{where}: there is no page {page!r}; pages are {', '.join(concepts())}"
            continue
        keys, figures = page_keys(page)
        for key in step.settings:
            if key not in keys:
                yield f"{where}: the page {page} has no control {key!r}"
        texts = [step.text, *step.hints, step.question.ask if step.question else ""]
        for term in re.findall(r"\[\[([^\]|]+)", " ".join(texts)):
            if term.lower() not in terms:
                yield f"{where}: the term {term!r} is not in the glossary"
        yield from (f"{where}: {reason}" for reason in _readable(plain(step.text)))
        yield from (f"{where}: {reason}" for reason in rules.becomes_markdown(step))
        yield from (f"{where}: {reason}" for reason in rules.points_at_hidden(step))
        question = step.question
        if question is None:
            continue
        for reason in (rules.lacks_a_why(question), rules.is_on_the_screen(step, page)):
            if reason:
                yield f"{where}: {reason}"
        if question.figure and not any(re.fullmatch(known, question.figure) for known in figures):
            yield f"{where}: the page {page} has no figure {question.figure!r}"
        yield from (f"{where}: {reason}" for reason in _callable(question))


def _tied(lesson: Lesson, orders: dict[str, int]) -> Iterator[str]:
    """Which other lesson has the same place in the list; the last place may be shared."""
    if lesson.order == Lesson.model_fields["order"].default:
        return
    for stem, order in orders.items():
        if order == lesson.order and stem != lesson.stem:
            yield f"its beginning: the lesson {stem!r} has the order {order} too"


def _readable(text: str) -> Iterator[str]:
    words = re.findall(r"[\w'’-]+", text)
    sentences = max(1, len(re.findall(r"[.!?:](?:\s|$)", text)))
    if len(words) > MOST_WORDS:
        yield f"its text has {len(words)} words; at most {MOST_WORDS}, so make two steps of it"
    if len(words) > 15:
        lix = len(words) / sentences + 100 * sum(len(word) > 6 for word in words) / len(words)
        if lix > MOST_LIX:
            yield (
                f"its text is hard to read (LIX {lix:.0f}, at most {MOST_LIX}); use shorter "
                "sentences and words"
            )


def _callable(question: Question) -> Iterator[str]:
    """What a question names must exist, and fit together."""
    if not question.measure:
        return
    try:
        view, measure = find_view(question.view), find_measure(question.measure)
        _, params = of_its_set(question.view, resolved(question.params, 1, 1))
        check_params(question.view, view, params)
        if question.needs:
            check_params(question.needs, find_view(question.needs), {})
    except StrataError as error:
        yield str(error).rstrip(".")
        return
    names = list(inspect.signature(measure).parameters)[1:]
    for name in {**question.given, **{n: 0 for o in question.options for n in o.given}}:
        if name not in names:
            yield f"{question.measure} has no parameter {name!r}"
    function = question.view.partition(".")[2]
    if f"`{function}`" not in (measure.__doc__ or ""):
        yield f"{question.measure} does not read the table of {question.view}"


def _measured(lesson: Lesson, engine: LocalEngine, model: str) -> Iterator[str]:
    """Every prompt is accepted and every question has an answer of its kind on this model."""
    prompt = DEFAULT.prompt
    engine.run(Job(view="run.tokens", model=model, prompt=prompt))  # so it is loaded
    about = engine.describe(model)
    for number, step in enumerate(lesson.steps, 1):
        prompt = step.prompt or prompt
        try:
            tokens = engine.run(Job(view="run.tokens", model=model, prompt=prompt))
            if step.question is not None:
                ask = partial(_ask, engine, model, prompt)
                if lacking(step.question, ask):
                    continue
                answer = measured(step.question, ask, about["n_layers"], len(tokens))
                reason = unfit(step.question, answer, about["n_layers"], len(tokens))
                reason = reason or rules.stands_right(step.question, answer, about["n_layers"])
                if reason:
                    yield f"step {number}: {reason}"
                told = rules.tells(step, answer, list(tokens["shown"]))
                yield from (f"step {number}: {reason}" for reason in told)
        except StrataError as error:
            yield f"step {number}: {str(error).rstrip('.')}"
        except Exception as error:  # a measure with parameters that do not go with this run
            yield f"step {number}: {step.question and step.question.measure} failed: {error!r}"


def _ask(engine: LocalEngine, model: str, prompt: str, view: str, **params: Any) -> pd.DataFrame:
    return engine.run(job(view, model, prompt, params))


def unfit(question: Question, answer: Any, n_layers: int, n_tokens: int) -> str:
    """Why a measured value cannot be the answer to a question of its kind; "" where it can."""
    kind, said = question.kind, repr(answer)[:80]
    if answer is None:
        return "its measure gives no answer on this run"
    if kind == "choice":
        if right_option(question, answer) is None:
            return f"no option holds the measured answer, {said}"
        return ""
    number = isinstance(answer, int | float) and not isinstance(answer, bool)
    fits = {
        "number": number,
        "layer": number and float(answer).is_integer() and 0 <= answer <= n_layers,
        "block": number and float(answer).is_integer() and 0 <= answer < n_layers,
        "band": number and float(answer).is_integer() and 0 <= answer <= n_layers,
        "position": number and answer in positions(question, n_tokens),
        "token": isinstance(answer, str),
        "curve": isinstance(answer, list) and len(answer) == n_layers + 1,
        "ordering": isinstance(answer, list) and len(answer) == len(question.options),
    }
    if not fits[kind]:
        return f"the measured answer, {said}, is not one of a question of kind {kind}"
    if kind == "number" and not question.low <= answer <= question.high:
        return f"the measured answer, {said}, is outside low to high"
    if kind == "curve" and not question.low <= min(answer) <= max(answer) <= question.high:
        return f"the measured curve, {min(answer):.3g} to {max(answer):.3g}, is outside low to high"
    return ""


@lru_cache
def page_keys(stem: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Keys of a page's controls, and patterns of the keys of its figures, read from the sources."""
    page = _ROOT / "pages" / f"{stem}.py"
    shared = sorted((_ROOT / "strata" / "ui").rglob("*.py"))
    text = "\n".join(path.read_text("utf-8") for path in (page, *shared))
    named = {*re.findall(r'key="(\w+)"', text), *re.findall(r'"(\w+)"', page.read_text("utf-8"))}
    keyed = re.findall(r'(f?)"([\w{}]+)"', text)
    figures = {key for f, key in keyed if not f}
    figures |= {re.sub(r"\{\w+\}", r"\\w+", key) for f, key in keyed if f and key[0] != "{"}
    return frozenset(named), tuple(figures)


def new(path: Path, page: str = "predictions") -> None:
    """Write a small lesson that works, to be changed by hand. LessonError where one exists."""
    if path.exists():
        raise LessonError(f"{path.name} exists already; choose another name.")
    if not re.fullmatch(r"[a-z0-9_]+", path.stem):
        raise LessonError("A lesson's name has small letters, digits and _ only.")
    path.write_text(filled(_NEW, {"title": path.stem.replace("_", " ").capitalize()}), "utf-8")


_NEW = '''# A lesson of Strata. docs/lessons.md says what may stand here; check it with
#   python -m strata lessons check lessons/THIS_FILE.toml

title = "{title}"
summary = "One or two sentences that make a learner want to start."
order = 100                # its place in the list
minutes = 10
page = "predictions"       # where the steps are, unless a step names another page

[[step]]
title = "What it is about"
text = """
A few short sentences. A term in double brackets, such as [[token]], is explained where the pointer
rests on it. This text has {T} tokens, and {model} has {layers} layers.
"""
prompt = "The capital of France is"

[[step]]
title = "Predict, then look"
text = "The figure appears when you have said what you expect."
hide = true
hints = ["A nudge.", "Something concrete.", "Almost the answer."]
observe = "What did you expect, and what did you see?"

[step.question]
kind = "number"
ask = "How much probability does the likeliest next token get?"
view = "predictions.next_token"
params = { position = "$last", k = 10 }
measure = "predictions.top1_prob"
unit = "%"
tolerance = 0.1            # right within this
near = 0.25                # a near miss within this
figure = "next_tokens"     # the guess is drawn on this figure
why = "What is left is shared by all other tokens."   # said with the answer
'''
