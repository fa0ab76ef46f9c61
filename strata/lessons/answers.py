"""What is right: a measure of the learner's own run, and what to say of a guess beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from strata.concepts.views import concepts, find_view, parameters, supplied
from strata.corpus.sets import sets
from strata.display.tokens import display_candidate, typed_word
from strata.engine import Job
from strata.errors import InputError, ModelError
from strata.lessons import MOST_POINTS, Option, Question, filled

# A position told from the end is the same with a start token that the tokenizer puts before a text.
_FROM_LAST = re.compile(r"\$last(?:-(\d{1,4}))?")
_BEGINNING = 3  # so many letters of a token are no chance; of fewer many words begin
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
    """Parameters with "$last" (position), "$last-1" (the one before it, and so on), "$L" (layer, or
    block L - 1 for a block), "$half" and "$top" (`top`, the id of the likeliest next token)
    replaced."""

    def one(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [one(name, each) for each in value]
        last = n_layers - 1 if name == "block" else n_layers
        known = {"$L": last, "$half": n_layers // 2, "$top": top}
        if isinstance(value, str) and (found := _FROM_LAST.fullmatch(value)):
            return max(0, n_tokens - 1 - int(found[1] or 0))
        return known.get(value, value) if isinstance(value, str) else value

    return {name: one(name, value) for name, value in params.items()}


def job(view: str, model: str, prompt: str, params: Mapping[str, Any]) -> Job:
    """What a question asks of a learner's run, as a job: of Strata's own passages where the view
    samples states, and of a set of prompts where it takes their runs."""
    wanted = supplied(find_view(view))
    if "sample" in wanted:  # the prompt plays no part
        return Job(view=view, model=model, sample={}, params=dict(params))
    prompts, params = of_its_set(view, params)
    own = "" if prompts else prompt
    return Job(view=view, model=model, prompt=own, prompts=prompts, params=params)


def of_its_set(view: str, params: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The prompts, and the parameters with those of the set's columns that the view takes in place
    of `of_set`, its name. InputError where there is no such set."""
    given = dict(params)
    if "runs" not in supplied(find_view(view)):
        return (), given
    name = given.pop("of_set", "")
    if name not in sets():
        raise InputError(f"There is no set {name!r}.")
    columns = sets()[name].columns()
    prompts, known = columns.pop("prompts"), parameters(find_view(view))
    return prompts, given | {name: columns[name] for name in columns if name in known}


def positions(question: Question, n_tokens: int) -> list[int]:
    """The positions that a learner may give as an answer."""
    without = resolved({"position": list(question.without)}, 0, n_tokens)["position"]
    return [position for position in range(n_tokens) if position not in without]


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


def lacking(question: Question, ask: Ask) -> bool:
    """Whether a run has not what the question needs, or its model refuses that: so no answer."""
    try:
        return bool(question.needs) and ask(question.needs).empty
    except ModelError:
        return True


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


def in_words(question: Question, value: Any, shown: Sequence[str] = ()) -> str:
    """A guess or an answer as the learner reads it; a position by its token, where `shown` has the
    prompt's tokens made visible."""
    if value is None:
        return "nothing"
    if question.kind == "choice":
        chosen = value if isinstance(value, int) and not question.measure else None
        if chosen is not None:
            return question.options[chosen].text
        if not isinstance(value, float):
            return str(value)
    if question.kind == "ordering":
        return " > ".join(question.options[int(i)].text for i in value)
    if question.kind == "band":
        low, high = value if isinstance(value, list) else (value, value)
        return f"layer {low}" if low == high else f"layers {low} to {high}"
    if question.kind == "curve":
        scale, sign = (100, "%") if question.unit == "%" else (1, "")
        said = [f"{round(v * scale, 2) + 0.0:g}{sign}".replace("-", "−") for v in value]
        if len(said) <= MOST_POINTS:
            return ", ".join(said)
        return ", ".join(f"{said[i]} at layer {i}" for i in (0, len(said) // 2, len(said) - 1))
    if question.kind == "token":
        return f"“{display_candidate(str(value))}”"
    if question.kind == "position" and 0 <= value < len(shown):
        return f"“{shown[value]}” (position {value})"
    if question.kind in ("layer", "block", "position"):
        return f"{question.kind} {value}"
    percent = question.unit == "%"
    number = f"{100 * value:.3g}%" if percent else f"{value:.4g}"
    if percent or not question.unit:
        return number
    return f"{number} {question.unit.removesuffix('s') if number == '1' else question.unit}"


def guess_in_words(question: Question, guess: Any, shown: Sequence[str] = ()) -> str:
    """A guess as its learner reads it: of a choice the option, a word as it was typed."""
    if question.kind == "choice":
        return question.options[guess].text
    return str(guess) if question.kind == "token" else in_words(question, guess, shown)


def answer_in_words(question: Question, answer: Any, shown: Sequence[str] = ()) -> str:
    """A measured answer as the learner reads it: of a choice the option that holds it, if one
    does."""
    if question.kind == "choice" and (best := right_option(question, answer)) is not None:
        return question.options[best].text
    if question.kind == "ordering" and answer is not None:
        answer = by_size(answer)
    return in_words(question, answer, shown)


def by_size(answer: Sequence[float]) -> list[int]:
    """The numbers of an ordering's options, the largest first."""
    return sorted(range(len(answer)), key=lambda i: -answer[i])


def start(question: Question, n_layers: int) -> Any:
    """Where the field of an answer stands before it is moved, in the form of a guess; None where it
    is empty then."""
    if question.kind in ("layer", "block"):
        return n_layers // 2
    if question.kind == "band":
        return [n_layers // 3, 2 * n_layers // 3]
    if question.kind == "ordering":
        return list(range(len(question.options)))
    if question.kind == "curve":
        return [(question.low + question.high) / 2] * len(curve_layers(question, n_layers))
    if question.kind == "number":
        room = question.high - question.low
        step = question.step or room / 100
        return question.low + round(room / 2 / step) * step
    return None


def has_second_try(question: Question, n_layers: int, n_tokens: int) -> bool:
    """Whether more than one answer is left after a wrong one: where it is not, the word "wrong"
    tells the answer."""
    n_answers = {
        "choice": len(question.options),
        "ordering": math.factorial(len(question.options)),
        "position": len(positions(question, n_tokens)),
        "layer": n_layers + 1,
        "block": n_layers,
    }
    return n_answers.get(question.kind, 3) > 2


def score(
    question: Question,
    guess: Any,
    answer: Any,
    layers: Sequence[int] = (),
    shown: Sequence[str] = (),
) -> Verdict:
    """What to say of a guess beside the measured answer; what was right comes first.

    A choice's guess is the number of its option, a band's is [from, to], an ordering's the options'
    numbers from large to small, a curve's its values at `layers`. `shown`: see `in_words`.
    """
    if answer is None:
        return Verdict("open", "This run has no answer to this, so no guess is right or wrong.")
    judges: dict[str, Callable[..., Judged]] = {
        "choice": _choice,
        "token": _token,
        "band": _band,
        "ordering": _ordering,
        "curve": partial(_curve, layers=layers),
    }
    said = answer_in_words(question, answer, shown)
    grade, words = judges.get(question.kind, _number)(question, guess, answer, said)
    if not question.measure:  # a fact of the world
        words = words.replace("Measured here:", "The answer:")
    own = {"right": question.right, "near": question.close, "wrong": question.wrong}.get(grade, "")
    facts = {"guess": guess_in_words(question, guess, shown), "answer": said}
    if question.kind == "token":
        facts["guess"] = in_words(question, guess)
    told = (words, filled(own, facts), filled(question.why, facts))
    return Verdict(grade, " ".join(filter(None, told)))


def told(question: Question, answer: Any, shown: Sequence[str] = ()) -> str:
    """What to say of the measured answer to who has guessed nothing."""
    if answer is None:
        return "This run has no answer to this."
    said = answer_in_words(question, answer, shown)
    best = right_option(question, answer) if question.kind == "choice" else None
    first = "Measured here" if question.measure else "The answer"
    why = "" if best is None else question.options[best].why
    more = filled(question.why or question.right, {"answer": said})
    return " ".join(filter(None, (f"{first}: {said}.", why, more)))


def _choice(question: Question, guess: int, answer: Any, said: str) -> Judged:
    best, why = right_option(question, answer), question.options[guess].why
    if best is None:
        return "open", f"Measured here: {said}. None of the options says that. {why}"
    if best == guess:
        return "right", f"Yes: {said}. {why}"
    return "wrong", f"{why} Measured here: {said}."


def _number(question: Question, guess: float, answer: float, said: str) -> Judged:
    off = abs(guess - answer)
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


def _token(question: Question, guess: str, answer: str, said: str) -> Judged:
    one, other = typed_word(guess), str(answer).strip()
    if one == other:
        return "right", f"Yes: {said}."
    typed, token = one.casefold(), other.casefold()
    if typed == token:
        return "near", f"That is the word; the token is {said}."
    if len(token) > 1 and typed.startswith(token):  # the token, and what may come after it
        return "near", f"It begins so; the token is {said}."
    if len(typed) >= _BEGINNING and token.startswith(typed):
        return "near", f"So it begins; the token is {said}."
    return "wrong", f"Measured here: {said}."


def _band(question: Question, guess: list[int], answer: int, said: str) -> Judged:
    low, high = guess
    if low <= answer <= high:
        if question.tolerance and high - low > question.tolerance:
            return "near", f"It lies in your band, a wide one. Measured here: {said}."
        return "right", f"Yes, it lies in your band. Measured here: {said}."
    off = min(abs(answer - low), abs(answer - high))
    if off <= (question.near or 2):
        return "near", f"Just outside your band. Measured here: {said}."
    return "wrong", f"It is {'later' if answer > high else 'earlier'}. Measured here: {said}."


def _ordering(question: Question, guess: list[int], answer: list[float], said: str) -> Judged:
    pairs = [(a, b) for i, a in enumerate(guess) for b in guess[i + 1 :]]
    good = sum(answer[a] >= answer[b] for a, b in pairs)
    if good == len(pairs):
        return "right", f"Yes, from large to small: {said}."
    first = f"{good} of {len(pairs)} pairs are the right way round. "
    grade: Grade = "near" if good >= 2 * len(pairs) / 3 else "wrong"
    return grade, f"{first}Measured here, from large to small: {said}."


def _curve(
    question: Question,
    guess: list[float],
    answer: list[float],
    said: str,
    layers: Sequence[int],
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
        shape = "From the first layer to the last your line goes the right way. "
    far = f"On average it is off by {off:.0%} of the measured line's height, lowest to highest."
    tolerance = question.tolerance or 0.15
    if off <= tolerance:
        return "right", f"{shape}{far}"
    return ("near" if alike > 0.7 or off <= 2 * tolerance else "wrong"), f"{shape}{far}"
