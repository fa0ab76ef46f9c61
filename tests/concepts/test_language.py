"""How well a model foresees a text, and when the doctor says that it hardly knows the language."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from strata.concepts import run
from strata.model import Model
from tests.concepts.prompts import PROMPTS
from tests.concepts.test_run import a_trace, codes, message


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        (PROMPTS["a paragraph"], False),
        ("I reckon the ferry'll be late again, innit, so grab us a brew before we go.", False),
        (PROMPTS["long German"], False),  # known a little
        (PROMPTS["Spanish"], False),
        (
            "import numpy as np\n\nx = np.zeros((3, 4))\nfor row in x:\n    print(row.sum())\n",
            False,
        ),
        (PROMPTS["one letter again"], False),  # badly foreseen, but no language
        (PROMPTS["quotes"], False),
        ("Olipa kerran pieni tyttö, joka asui kylässä metsän reunassa.", True),
        ("Ranskan pääkaupunki on", False),  # too short to tell
        ("水在一百度沸腾，在零度结冰；介于两者之间的是我们每天饮用的液体。", True),
    ],
)
def test_a_language_that_the_bundled_model_hardly_knows(
    model: Model, text: str, unknown: bool
) -> None:
    of = model.capture(text)
    assert ("unknown_language" in codes(model, of)) is unknown
    if unknown:
        nats, _ = run.foreseen(of)
        said = f" {nats:.1f} nats a letter (the bundled model takes 0.8 in English)"
        assert said in message(model, of, "unknown_language")


def test_how_a_text_is_foreseen(tiny: Callable[[str], Model]) -> None:
    model = tiny("llama")
    of = model.capture("the cat sat")
    logprobs = of.logits.float().log_softmax(-1)
    told = -sum(float(logprobs[t - 1, of.token_ids[t]]) for t in range(1, len(of.tokens)))
    letters = len("".join(of.tokens[1:]))
    nats, columns = run.foreseen(of)
    assert columns == letters
    assert nats == pytest.approx(told / letters)
    assert math.isnan(run.foreseen(a_trace(["one"]))[0])
    assert run.foreseen(a_trace(["a", "水b"]))[1] == 3, "a wide character is two letters"


def test_a_random_model_knows_no_language_and_a_sure_one_any(
    tiny: Callable[[str], Model],
) -> None:
    model = tiny("llama")
    words = "the cat sat on the mat and looked at a dog that slept by a warm fire"
    of = model.capture(words)
    assert "unknown_language" in codes(model, of)
    of.logits[torch.arange(len(of.tokens) - 1), of.token_ids[1:]] += 40
    assert "unknown_language" not in codes(model, of)


def test_what_the_model_makes_of_a_language_is_kept_back() -> None:
    """While a step of a lesson hides its figure, since it tells how the text is foreseen."""
    assert "unknown_language" in run.ABOUT_THE_ANSWER
