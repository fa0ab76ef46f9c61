"""Answers are measured on the run, and what is said of a guess is true of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from strata.concepts import laminar_profile, predictions
from strata.concepts.predictions import measures
from strata.concepts.views import find_view
from strata.corpus.sets import sets
from strata.engine.job import check_params
from strata.errors import InputError, ModelError
from strata.lessons import Question
from strata.lessons.answers import (
    answer_in_words,
    curve_layers,
    find_measure,
    guess_in_words,
    has_second_try,
    in_words,
    lacking,
    measured,
    of_its_set,
    resolved,
    right_option,
    score,
    told,
)
from strata.model import Model


def question(kind: str, **fields: Any) -> Question:
    made = {"kind": kind, "ask": "?", "view": "a.b", "measure": "c.d"} | fields
    return Question.model_validate(made)


OPTIONS = [
    {"text": "small", "high": 0.5, "why": "It is less than half."},
    {"text": "large", "low": 0.5, "why": "It is half or more."},
]


def test_only_listed_measures_are_callable() -> None:
    assert find_measure("predictions.top1_prob") is measures.top1_prob
    for name in ("predictions.next_token", "os.system", "predictions", "predictions.__class__", ""):
        with pytest.raises(InputError, match="no measure"):
            find_measure(name)


def test_the_answer_is_that_of_the_learners_run(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    trace = model.capture("A B C D")
    asked = question(
        "number",
        view="predictions.next_token",
        params={"position": "$last", "k": 3},
        measure="predictions.top1_prob",
    )

    def ask(view: str, **params: Any) -> pd.DataFrame:
        assert view == "predictions.next_token"
        return predictions.next_token(model, trace, **params)

    last = trace.logits[-1].double().softmax(0).max()
    n_tokens = len(trace.tokens)
    assert measured(asked, ask, model.n_layers, n_tokens) == pytest.approx(float(last))


def test_words_stand_for_places_of_the_run() -> None:
    params = {"position": "$last", "layer": "$L", "block": "$L", "layers": ["$half", 1], "k": 5}
    assert resolved(params, 30, 7) == {
        "position": 6,
        "layer": 30,
        "block": 29,
        "layers": [15, 1],
        "k": 5,
    }


def test_of_a_set_a_view_is_told_what_it_takes() -> None:
    chosen = sets()["facts"]
    for view, known in (
        ("evidence.values", ("conditions", "expected", "pairs")),
        ("evidence.probe", ("conditions", "pairs")),
    ):
        prompts, params = of_its_set(view, {"of_set": "facts"})
        assert prompts == tuple(row.prompt for row in chosen.rows)
        assert tuple(sorted(params)) == known
        assert params["pairs"] == tuple(row.pair for row in chosen.rows)
        check_params(view, find_view(view), params)


def test_what_a_model_refuses_is_lacking() -> None:
    asks = {"kind": "number", "ask": "?", "answer": 1}
    needs = Question(**asks, needs="logit_lens.write_norms", lacks="Not here.")

    def refused(view: str) -> pd.DataFrame:
        raise ModelError("The writes of this model are refused.")

    assert lacking(needs, refused)
    assert not lacking(Question(**asks), refused)
    assert lacking(needs, lambda view: pd.DataFrame({"norm": []}))
    assert not lacking(needs, lambda view: pd.DataFrame({"norm": [1.0]}))


def test_an_ordering_asks_for_each_option() -> None:
    frame = pd.DataFrame({"layer": [0, 1, 2], "median": [0.1, 0.9, 0.5], "normed": False})
    asked = question(
        "ordering",
        view="laminar_profile.statistics",
        measure="laminar_profile.median_cosine",
        options=[{"text": f"layer {n}", "given": {"layer": n}} for n in range(3)],
    )
    answer = measured(asked, lambda view: frame, 2, 4)
    assert answer == [0.1, 0.9, 0.5]
    assert answer[1] == laminar_profile.CONCEPT.measures["median_cosine"](frame, 1)
    assert score(asked, [1, 2, 0], answer).grade == "right"
    assert score(asked, [1, 0, 2], answer).grade == "near"
    verdict = score(asked, [0, 2, 1], answer)
    assert verdict.grade == "wrong"
    assert verdict.words.startswith("0 of 3 pairs")
    assert "layer 1 > layer 2 > layer 0" in verdict.words


@pytest.mark.parametrize("value", [None, float("nan"), np.float64("nan"), []])
def test_no_answer_makes_no_guess_wrong(value: Any) -> None:
    frame = pd.DataFrame({"value": [1]})
    asked = question("number", view="a.b", measure="predictions.top1_prob")
    original = predictions.CONCEPT.measures["top1_prob"]
    predictions.CONCEPT.measures["top1_prob"] = lambda frame: value
    try:
        answer = measured(asked, lambda view: frame, 3, 3)
    finally:
        predictions.CONCEPT.measures["top1_prob"] = original
    assert answer is None
    assert score(asked, 0.5, answer).grade == "open"


@pytest.mark.parametrize(
    ("guess", "grade", "said"),
    [
        (0.52, "right", "Yes. Measured here: 50%. Good."),
        (0.65, "near", "Close. Measured here: 50%. Nearly, not 65%."),
        (0.9, "wrong", "It is less. Measured here: 50%. Not so."),
        (0.1, "wrong", "It is more. Measured here: 50%. Not so."),
    ],
)
def test_a_number(guess: float, grade: str, said: str) -> None:
    asked = question(
        "number",
        unit="%",
        tolerance=0.05,
        near=0.2,
        right="Good.",
        close="Nearly, not {guess}.",
        wrong="Not so.",
    )
    verdict = score(asked, guess, 0.5)
    assert (verdict.grade, verdict.words) == (grade, said)


@pytest.mark.parametrize(
    ("guess", "grade", "said"),
    [
        (0, "wrong", "It is less than half. Measured here: large."),
        (1, "right", "Yes: large. It is half or more."),
    ],
)
def test_a_choice_by_ranges(guess: int, grade: str, said: str) -> None:
    asked = question("choice", options=OPTIONS)
    assert right_option(asked, 0.5) == 1
    assert right_option(asked, 0.49) == 0
    verdict = score(asked, guess, 0.5)
    assert (verdict.grade, verdict.words) == (grade, said)


def test_a_fact_of_the_world_is_not_called_measured() -> None:
    asked = Question.model_validate({"kind": "token", "ask": "?", "answer": "Paris"})
    assert score(asked, "Rome", "Paris").words == "The answer: “Paris”."


def test_a_choice_that_no_option_holds_is_open() -> None:
    options = [{"text": "a", "value": "x", "why": "."}, {"text": "b", "value": "y", "why": "."}]
    verdict = score(question("choice", options=options), 0, "z")
    assert verdict.grade == "open"
    assert "Measured here: z" in verdict.words


@pytest.mark.parametrize(
    ("guess", "grade"),
    [
        ("Paris", "right"),
        (" Paris ", "right"),
        ("␣Paris", "right"),
        ("·Paris", "right"),  # as a space was shown before
        ("paris", "near"),
        ("Par", "near"),
        ("par", "near"),
        ("Paris, as ever", "near"),  # other words after it
        ("Parisian", "near"),
        ("P", "wrong"),  # of which many words begin
        ("Pa", "wrong"),
        ("aris", "wrong"),
        ("", "wrong"),
        ("Rome", "wrong"),
    ],
)
def test_a_token(guess: str, grade: str) -> None:
    verdict = score(question("token"), guess, " Paris")
    assert verdict.grade == grade
    assert "“␣Paris”" in verdict.words


@pytest.mark.parametrize(
    ("guess", "token", "grade"),
    [
        ("tres", " tr", "near"),  # of which the token is the beginning
        ("The", " the", "near"),
        ("t", " the", "wrong"),
        ("t", " t", "right"),
        ("apple", " a", "wrong"),  # with a single letter many words begin
        ("dog", ",", "wrong"),
        (",", ",", "right"),
        ("x", "", "wrong"),
    ],
)
def test_a_word_that_begins_with_the_token(guess: str, token: str, grade: str) -> None:
    assert score(question("token"), guess, token).grade == grade


@pytest.mark.parametrize(
    ("guess", "grade", "side"),
    [(12, "right", ""), (14, "near", ""), (3, "wrong", "later"), (20, "wrong", "earlier")],
)
def test_a_layer(guess: int, grade: str, side: str) -> None:
    verdict = score(question("layer"), guess, 12)
    assert verdict.grade == grade
    assert side in verdict.words
    assert "layer 12" in verdict.words


@pytest.mark.parametrize(
    ("guess", "grade"),
    [([10, 14], "right"), ([0, 30], "near"), ([13, 20], "near"), ([20, 30], "wrong")],
)
def test_a_band(guess: list[int], grade: str) -> None:
    assert score(question("band", tolerance=10), guess, 12).grade == grade


def test_a_neighbouring_position_is_not_nearly_right() -> None:
    assert score(question("position"), 3, 4).grade == "wrong"
    assert score(question("position"), 4, 4).grade == "right"


def test_a_position_is_named_by_its_token() -> None:
    shown = ["The", "␣capital", "␣of"]
    verdict = score(question("position", why="So {guess}, not {answer}."), 0, 2, (), shown)
    said = "It is later. Measured here: “␣of” (position 2). So “The” (position 0), not "
    assert verdict.words == f"{said}“␣of” (position 2)."
    assert in_words(question("position"), 7, shown) == "position 7", "of another run"
    assert guess_in_words(question("position"), 1, shown) == "“␣capital” (position 1)"


def test_guess_and_answer_in_words() -> None:
    choice, order = question("choice", options=OPTIONS), question("ordering", options=OPTIONS)
    assert guess_in_words(choice, 1) == answer_in_words(choice, 0.7) == "large"
    assert answer_in_words(order, [0.1, 0.9]) == guess_in_words(order, [1, 0]) == "large > small"
    assert guess_in_words(question("token"), "dog") == "dog"
    assert answer_in_words(question("token"), " dog") == "“␣dog”"
    assert guess_in_words(question("number", unit="%"), 0.25) == "25%"


def test_why_is_said_whatever_was_guessed() -> None:
    asked = question("number", near=0.2, right="Good.", wrong="Not so.", why="It is {answer}.")
    said = [score(asked, guess, 0.5).words for guess in (0.5, 0.6, 0.9)]
    assert said[0] == "Yes. Measured here: 0.5. Good. It is 0.5."
    assert said[1] == "Close. Measured here: 0.5. It is 0.5."
    assert said[2] == "It is less. Measured here: 0.5. Not so. It is 0.5."


def test_who_guessed_nothing_is_told_the_answer_and_why() -> None:
    assert told(question("number", why="It is {answer}."), 0.5) == "Measured here: 0.5. It is 0.5."
    assert told(question("choice", options=OPTIONS), 0.7).startswith("Measured here: large. It is")
    fact = Question.model_validate({"kind": "token", "ask": "?", "answer": "Paris"})
    assert told(fact, "Paris") == "The answer: “Paris”."
    assert told(fact, None) == "This run has no answer to this."


@pytest.mark.parametrize(
    ("asked", "n_layers", "n_tokens", "left"),
    [
        (question("choice", options=OPTIONS), 30, 9, False),
        (question("choice", options=[*OPTIONS, {"text": "c", "why": "."}]), 30, 9, True),
        (question("ordering", options=OPTIONS), 30, 9, False),
        (question("position"), 30, 2, False),
        (question("position"), 30, 3, True),
        (question("position", without=[0]), 30, 3, False),
        (question("layer"), 1, 9, False),
        (question("block"), 2, 9, False),
        (question("block"), 3, 9, True),
        (question("token"), 1, 1, True),
        (question("number"), 1, 1, True),
    ],
)
def test_where_one_answer_is_left_wrong_would_tell_it(
    asked: Question, n_layers: int, n_tokens: int, left: bool
) -> None:
    assert has_second_try(asked, n_layers, n_tokens) is left


def test_a_curve_by_distance_and_shape() -> None:
    asked, real = question("curve"), [layer / 30 for layer in range(31)]
    layers = curve_layers(asked, 30)
    assert layers == [0, 8, 15, 22, 30]
    exact = [real[layer] for layer in layers]
    assert score(asked, exact, real, layers).grade == "right"
    low = [value / 4 for value in exact]
    verdict = score(asked, low, real, layers)
    assert verdict.grade == "near"
    assert verdict.words.startswith("Your line rises and falls much as it does. ")
    bent = [0.0, 0.5, 0.8, 0.9, 0.95]  # where the real one falls at its end
    turned = score(asked, bent, [min(x, 1.6 - x) for x in real], layers)
    assert "from layer 22 to 30 it falls" in turned.words
    off = float(np.mean([abs(a - b) for a, b in zip(low, exact, strict=True)]))
    assert f"{off:.0%}" in verdict.words
    assert score(asked, exact[::-1], real, layers).grade == "wrong"


def test_few_layers_are_each_asked_once() -> None:
    assert curve_layers(question("curve", points=9), 3) == [0, 1, 2, 3]


def test_words_of_values() -> None:
    assert in_words(question("number", unit="nats"), 1.23456) == "1.235 nats"
    assert in_words(question("number", unit="tokens"), 1) == "1 token"
    assert in_words(question("number", unit="tokens"), 21) == "21 tokens"
    assert in_words(question("band"), [3, 7]) == "layers 3 to 7"
    assert in_words(question("curve"), [-0.25, 0.5, 1]) == "−0.25, 0.5, 1"
    many = [4.1e-25, *[0.123] * 14, 0.5, *[0.6] * 14, 0.987]  # by layer: the reader wants a few
    assert in_words(question("curve"), many) == "0 at layer 0, 0.5 at layer 15, 0.99 at layer 30"
    assert in_words(question("band"), [3, 3]) == in_words(question("band"), 3) == "layer 3"
    assert in_words(question("token"), " a") == "“␣a”"
    assert in_words(question("token"), " ⟨F0 9F⟩") == "“␣⟨F0 9F⟩”"
    assert score(question("token"), "␣⟨F0 9F⟩", " ⟨F0 9F⟩").grade == "right"
    assert in_words(question("number"), None) == "nothing"
