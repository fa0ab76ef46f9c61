"""What is right: a measure of the learner's own run, and what to say of a guess beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from strata.concepts.views import concepts
from strata.display.tokens import display_candidate, typed_word
from strata.errors import InputError
from strata.lessons import Option, Question, filled

Grade = Literal["right", "near", "wrong", "open"]
Judged = tuple[Grade, str]
Ask = Callable[..., pd.DataFrame]  # (view, **params) -> table, of the learner's run


@dataclass(frozen=True)
class Verdict:
    """How a guess did. "open": this run has no answer, so nothing is right or wrong."""

    grade: Grade
    words: str


def find_measure(name: str) -> Callable[..., Any]:
    """The measure "stem.function"; InputError unless a concept lists it. Nothing else is ever
    called on behalf of a lesson."""
    stem, _, function = name.partition(".")
    module = concepts().get(stem)
    measures: dict[str, Callable[..., Any]] = module.CONCEPT.measures if module else {}
    if function not in measures:
        raise InputError(f"There is no measure {name!r}.")
    return measures[function]


def resolved(
    params: Mapping[str, Any], n_layers: int, n_tokens: int, top: int = 0
) -> dict[str, Any]:
    """Parameters with "$last" (position), "$L" (layer, or block L - 1 for a block), "$half" and
    "$top" (`top`, the id of the likeliest next token) replaced."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [one(name, each) for each in value]
        last = n_layers - 1 if name == "block" else n_layers
        known = {"$last": n_tokens - 1, "$L": last, "$half": n_layers // 2, "$top": top}
        return known.get(value, value) if isinstance(value, str) else value

    return {name: one(name, value) for name, value in params.items()}


def measured(question: Question, ask: Ask, n_layers: int, n_tokens: int) -> Any:
    """The answer on this run, as plain data: a number, a text, or a list of numbers (a curve by
    layer; one for each option of an ordering). None where the run has none."""
    if not question.measure:
        return question.answer
    top = 0
    if "$top" in question.params.values():
        likeliest = ask("predictions.next_token", position=n_tokens - 1, k=1)
        top = int(likeliest["token_id"].iloc[0])
    frame = ask(question.view, **resolved(question.params, n_layers, n_tokens, top))
    measure = find_measure(question.measure)
    given = resolved(question.given, n_layers, n_tokens)
    if question.kind == "ordering":
        each = (resolved(option.given, n_layers, n_tokens) for option in question.options)
        sizes = [_plain(measure(frame, **given, **own)) for own in each]
        return None if None in sizes else sizes
    return _plain(measure(frame, **given))


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's; None for what is not a number."""
    if isinstance(value, np.ndarray | list | tuple | pd.Series):
        values = [_plain(each) for each in value]
        return None if not values or None in values else values
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def curve_layers(question: Question, n_layers: int) -> list[int]:
    """The layers at which a curve is drawn: evenly spaced, 0 and L included."""
    return sorted({round(n) for n in np.linspace(0, n_layers, min(question.points, n_layers + 1))})


def right_option(question: Question, answer: Any) -> int | None:
    """The option that holds the measured value; None if none does."""
    return next((i for i, o in enumerate(question.options) if _holds(o, answer)), None)


def _holds(option: Option, answer: Any) -> bool:
    if answer is None:
        return False
    if option.low is None and option.high is None:
        return bool(option.value == answer)
    if isinstance(answer, str):
        return False
    low = -math.inf if option.low is None else option.low
    high = math.inf if option.high is None else option.high
    return bool(low <= answer < high)


def in_words(question: Question, value: Any) -> str:
    """A guess or an answer as the learner reads it."""
    if value is None:
        return "nothing"
    if question.kind == "choice":
        chosen = value if isinstance(value, int) and not question.measure else None
        return question.options[chosen].text if chosen is not None else str(value)
    if question.kind == "ordering":
        return ", ".join(question.options[int(i)].text for i in value)
    if question.kind == "band":
        return f"layers {value[0]} to {value[1]}" if isinstance(value, list) else f"layer {value}"
    if question.kind == "curve":
        return ", ".join(f"{v:.2g}" for v in value)
    if question.kind == "token":
        return f"“{display_candidate(str(value))}”"
    if question.kind in ("layer", "block", "position"):
        return f"{question.kind} {value}"
    percent = question.unit == "%"
    number = f"{100 * value:.3g}%" if percent else f"{value:.4g}"
    return number if percent or not question.unit else f"{number} {question.unit}"


def score(question: Question, guess: Any, answer: Any, layers: Sequence[int] = ()) -> Verdict:
    """What to say of a guess beside the measured answer; what was right comes first.

    A choice's guess is the number of its option, a band's is [from, to], an ordering's the options'
    numbers from large to small, a curve's its values at `layers`.
    """
    if answer is None:
        return Verdict("open", "This run has no answer to this, so no guess is right or wrong.")
    judges: dict[str, Callable[..., Judged]] = {
        "choice": _choice,
        "token": _token,
        "band": _band,
        "ordering": _ordering,
        "curve": _curve,
    }
    grade, words = judges.get(question.kind, _number)(question, guess, answer, layers)
    if not question.measure:  # a fact of the world
        words = words.replace("Measured here:", "The answer:")
    own = {"right": question.right, "near": question.close, "wrong": question.wrong}.get(grade, "")
    said = answer
    if question.kind == "ordering":
        said = sorted(range(len(answer)), key=lambda i: -answer[i])
    facts = {"guess": in_words(question, guess), "answer": in_words(question, said)}
    if question.kind == "choice":
        facts["guess"] = question.options[guess].text
    return Verdict(grade, " ".join(filter(None, (words, filled(own, facts)))))


def _choice(question: Question, guess: int, answer: Any, layers: Sequence[int]) -> Judged:
    best, why = right_option(question, answer), question.options[guess].why
    if best is None:
        return "open", f"Measured here: {answer}. None of the options says that. {why}"
    if best == guess:
        return "right", f"Yes: {question.options[best].text}. {why}"
    return "wrong", f"{why} Measured here: {question.options[best].text}."


def _number(question: Question, guess: float, answer: float, layers: Sequence[int]) -> Judged:
    off, said = abs(guess - answer), in_words(question, answer)
    near = max(question.near, question.tolerance)
    if question.kind in ("layer", "block") and not near:
        near = 2
    if off <= question.tolerance + 1e-12:
        return "right", f"Yes. Measured here: {said}."
    if off <= near + 1e-12 and question.kind != "position":
        return "near", f"Close. Measured here: {said}."
    side = "more" if answer > guess else "less"
    if question.kind in ("layer", "block", "position"):
        side = "later" if answer > guess else "earlier"
    return "wrong", f"It is {side}. Measured here: {said}."


def _token(question: Question, guess: str, answer: str, layers: Sequence[int]) -> Judged:
    said, one, other = in_words(question, answer), typed_word(guess), str(answer).strip()
    if one == other:
        return "right", f"Yes: {said}."
    if one and (one.casefold() == other.casefold() or other.startswith(one)):
        return "near", f"That is the word; the token is {said}."
    return "wrong", f"Measured here: {said}."


def _band(question: Question, guess: list[int], answer: int, layers: Sequence[int]) -> Judged:
    low, high = guess
    said = in_words(question, answer)
    if low <= answer <= high:
        if question.tolerance and high - low > question.tolerance:
            return "near", f"It lies in your band, a wide one. Measured here: {said}."
        return "right", f"Yes, it lies in your band. Measured here: {said}."
    off = min(abs(answer - low), abs(answer - high))
    if off <= (question.near or 2):
        return "near", f"Just outside your band. Measured here: {said}."
    return "wrong", f"It is {'later' if answer > high else 'earlier'}. Measured here: {said}."


def _ordering(question: Question, guess: list[int], answer: list[float], _: Any) -> Judged:
    pairs = [(a, b) for i, a in enumerate(guess) for b in guess[i + 1 :]]
    good = sum(answer[a] >= answer[b] for a, b in pairs)
    best = in_words(question, sorted(range(len(answer)), key=lambda i: -answer[i]))
    if good == len(pairs):
        return "right", f"Yes, from large to small: {best}."
    first = f"{good} of {len(pairs)} pairs are the right way round. "
    grade: Grade = "near" if good >= 2 * len(pairs) / 3 else "wrong"
    return grade, f"{first}Measured here, from large to small: {best}."


def _curve(
    question: Question, guess: list[float], answer: list[float], layers: Sequence[int]
) -> Judged:
    real = np.array([answer[layer] for layer in layers])
    drawn = np.array(guess)
    room = float(np.ptp(answer)) or 1.0
    off = float(np.abs(drawn - real).mean()) / room
    alike = 0.0
    if np.ptp(real) and np.ptp(drawn):
        alike = float(stats.spearmanr(drawn, real).statistic)
    shape = "Your line rises and falls much as it does. " if alike > 0.7 else ""
    turns = np.sign(np.diff(drawn)) * np.sign(np.diff(real))
    if shape and (turns < 0).any():
        worst = int(np.argmin(turns * np.abs(np.diff(real))))
        up = "rises" if real[worst + 1] > real[worst] else "falls"
        shape = f"Your line goes much its way, but from layer {layers[worst]} to "
        shape += f"{layers[worst + 1]} it {up}. "
    ends = np.sign(drawn[-1] - drawn[0]) == np.sign(real[-1] - real[0])
    if not shape and ends:
        shape = "You had right where it ends compared with where it begins. "
    far = f"On average your points are {off:.0%} of its range away from it."
    tolerance = question.tolerance or 0.15
    if off <= tolerance:
        return "right", f"{shape}{far}"
    return ("near" if alike > 0.7 or off <= 2 * tolerance else "wrong"), f"{shape}{far}"
