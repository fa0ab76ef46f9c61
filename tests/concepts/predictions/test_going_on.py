"""Where a text goes on: what is expected after all of it, and the text with another token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from strata.concepts.predictions import next_token, so_far, upcoming, words
from strata.concepts.predictions.script import script
from strata.errors import InputError
from strata.model import Model
from strata.ui.figures.predicted import Written


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_upcoming_is_next_token_at_the_end(tiny: Callable[[str], Model], name: str) -> None:
    model = tiny(name)
    run = model.capture("the quick brown fox")
    last = next_token(model, run, len(run.tokens) - 1, k=6)
    pd.testing.assert_frame_equal(upcoming(model, run, k=6), last)


def test_a_text_so_far_ends_with_the_token_and_with_whole_characters(model: Model) -> None:
    text = "Zwölf 🌍 cats,  and"
    run = model.capture(text)
    assert "" in run.tokens, "a character in several tokens"
    for position in range(len(run.tokens)):
        [before] = so_far(model, run, position)["text"]
        assert before == "".join(run.tokens[: position + 1])
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


@pytest.mark.parametrize("seed", [0, 3])
def test_the_program_draws_what_the_page_draws(
    tiny: Callable[[str], Model], tiny_folder: Callable[[str], Path], seed: int
) -> None:
    ran: dict[str, Any] = {}
    drawn: dict[str, Any] = {"n_tokens": 6, "temperature": 0.8, "seed": seed}
    code = script(str(tiny_folder("llama")), None, "The cat", position=0, k=1, **drawn)
    exec(compile(code, "script.py", "exec"), ran)
    assert ran["continuation"] == tiny("llama").generate("The cat", **drawn)
    greedy = script("folder", None, "The cat", position=0, k=1, n_tokens=6, temperature=0.0)
    assert "SEED" not in greedy


def test_a_way_of_writing_is_told_and_is_in_the_table() -> None:
    assert words.way_of_writing(0, 3).startswith("Greedy: always the likeliest token")
    assert "softmax(logits / 0.8). Seed 3 draws" in words.way_of_writing(0.8, 3)
    unseen = Written(5, 0.8, 3)
    assert unseen.choices == {"n_tokens": 5, "temperature": 0.8, "seed": 3}
    assert Written(5, 0.0, 3).choices == {"n_tokens": 5}
    assert unseen.tables == {}
    [row] = replace(unseen, text="").tables["continuation"].to_dict("records")
    assert row == {"n_tokens": 5, "temperature": 0.8, "seed": 3, "text": ""}
