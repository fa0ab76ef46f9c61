"""Where a text goes on: what is expected after all of it, and the text with another token."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from strata.concepts.predictions import next_token, so_far, upcoming
from strata.errors import InputError
from strata.model import Model


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_upcoming_is_next_token_at_the_end(tiny: Callable[[str], Model], name: str) -> None:
    model = tiny(name)
    run = model.capture("the quick brown fox")
    last = next_token(model, run, len(run.tokens) - 1, k=6)
    pd.testing.assert_frame_equal(upcoming(model, run, k=6), last)


def test_a_text_so_far_and_a_token_are_a_prompt_that_goes_on_so(model: Model) -> None:
    text = "Zwölf 🌍 cats,  and"
    run = model.capture(text)
    assert "" in run.tokens, "a character in several tokens"
    for position in range(len(run.tokens)):
        [before] = so_far(model, run, position)["text"]
        assert before == "".join(run.tokens[: position + 1])
        frame = next_token(model, run, position, k=1)
        assert model.capture(before + frame["predicted"][0]).text.startswith(before)
    assert before == text
    with pytest.raises(InputError, match="does not exist"):
        so_far(model, run, len(run.tokens))


def test_a_text_so_far_is_without_what_the_tokenizer_adds() -> None:
    model: Any = SimpleNamespace(texts=SimpleNamespace(around=lambda ids: (ids[:1], ids[-1:])))
    run: Any = SimpleNamespace(
        text="the cat", tokens=("<s>", "the", " cat", "</s>"), token_ids=torch.arange(4)
    )
    texts = [so_far(model, run, position)["text"][0] for position in range(4)]
    assert texts == ["", "the", "the cat", "the cat"]
