"""Sampled continuations: how often each token is drawn, and the same again for the same seed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.special import softmax
from scipy.stats import chisquare

from strata.concepts import run
from strata.errors import InputError
from strata.model import Model
from tests.plain import Plain

PROMPT = "The cat sat"


@pytest.mark.parametrize("temperature", [0.7, 1.5])
def test_tokens_are_drawn_as_often_as_softmax_of_logits_by_t_says(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], temperature: float
) -> None:
    model, draws = tiny("llama"), 200
    ids = model.encode(PROMPT)
    logits = twin("llama").run(ids).logits[-1].double().numpy()
    expected: Counter[str] = Counter()  # by text: two tokens may be written alike
    for token_id, prob in enumerate(softmax(logits / temperature)):
        expected[model.texts.continuation([token_id], after=ids)] += prob
    texts = Counter(
        model.generate(PROMPT, 1, temperature=temperature, seed=seed) for seed in range(draws)
    )
    assert set(texts) <= set(expected)
    # In groups of about 15 draws, likeliest first, since a test of frequencies needs some of each.
    groups: list[list[float]] = [[0.0, 0.0]]
    for text, prob in expected.most_common():
        if groups[-1][1] >= 15:
            groups.append([0.0, 0.0])
        groups[-1][0] += texts[text]
        groups[-1][1] += prob * draws
    seen, wanted = zip(*groups, strict=True)
    assert len(groups) > 5
    assert chisquare(seen, wanted).pvalue > 1e-3  # wrong ones are at 1e-9


def test_the_same_seed_draws_the_same_text(tiny: Callable[[str], Model]) -> None:
    model = tiny("gpt2")

    def written(seed: int) -> str:
        return model.generate(PROMPT, 8, temperature=1.0, seed=seed)

    before = torch.get_rng_state()
    texts = [written(seed) for seed in range(4)]
    assert torch.equal(before, torch.get_rng_state()), "nothing is drawn from what others draw from"
    torch.rand(3)
    assert texts == [written(seed) for seed in range(4)]
    assert len(set(texts)) == 4
    view = run.continuation(model, PROMPT, 8, temperature=1.0, seed=2)
    assert view["text"].tolist() == [texts[2]]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_temperature_0_is_argmax_and_a_tiny_one_comes_to_it(
    tiny: Callable[[str], Model], twin: Callable[[str], Plain], name: str
) -> None:
    model = tiny(name)
    ids = model.encode(PROMPT)
    argmax = model.texts.continuation(twin(name).greedy(ids, 6), after=ids)
    assert model.generate(PROMPT, 6) == argmax
    for temperature in (0, 0.0, 1e-9, 5e-324):
        assert model.generate(PROMPT, 6, temperature=temperature, seed=5) == argmax


@pytest.mark.parametrize(
    "drawn",
    [
        *({"temperature": each} for each in (-0.1, math.nan, math.inf, "1", None)),
        *({"seed": each, "temperature": 1.0} for each in (-1, 0.5, "1", None, 2**63, True)),
    ],
)
def test_what_is_no_temperature_or_no_seed_is_refused(
    tiny: Callable[[str], Model], drawn: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"A {min(drawn)} must be a"):
        tiny("llama").generate(PROMPT, 1, **drawn)
