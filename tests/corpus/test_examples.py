"""What each curated prompt is said to give is what the bundled model gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest

from strata.concepts import hidden_states, predictions, run
from strata.corpus.examples import BY_ID, DEFAULT, EXAMPLES, FACTS, Example
from strata.model import Model
from strata.trace import Trace

Run = Callable[[str], Trace]


@pytest.fixture(scope="module")
def captured(model: Model) -> Run:
    """The run of an example, made once."""
    return cache(lambda name: model.capture(BY_ID[name].prompt))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_top1_is_what_it_says(model: Model, captured: Run, example: Example) -> None:
    trace = captured(example.id)
    best = predictions.next_token(model, trace, len(trace.tokens) - 1, k=1).iloc[0]
    assert best["predicted"] == example.top1


def test_ids_are_short_unique_and_safe_in_an_address() -> None:
    assert len(BY_ID) == len(EXAMPLES)
    assert all(re.fullmatch("[a-z][a-z0-9]{1,11}", example.id) for example in EXAMPLES)


def test_a_purpose_stands_in_one_run() -> None:
    purposes = [example.purpose for example in EXAMPLES]
    changes = sum(before != after for before, after in pairwise(purposes))
    assert changes + 1 == len(set(purposes))


def test_default_is_a_fact() -> None:
    assert DEFAULT.prompt == "The capital of France is"
    assert DEFAULT.prompt in FACTS


def test_the_order_that_notes_tell(model: Model, captured: Run) -> None:
    def order(example: str, k: int = 10) -> list[str]:
        trace = captured(example)
        frame = predictions.next_token(model, trace, len(trace.tokens) - 1, k)
        return frame["predicted"].tolist()

    assert order("water")[1] == " oxygen"
    assert order("bat2")[1] == " flew"
    assert order("sum2")[3] == "4"
    assert order("gregor")[1] == " spider"
    assert order("gregor").index(" insect") > 4
    assert " Seattle" not in order("sink", k=20)
    assert " basketball" not in order("basketball", k=20)
    assert " soccer" not in order("soccer", k=20)


def test_surprisal_falls_in_the_second_round(model: Model, captured: Run) -> None:
    frame = predictions.surprisal(model, captured("repeat"))
    words = frame.set_index("token")["logprob"]
    for word in (" anchor", " pepper", " seven", " lantern"):
        first, second = words[word].iloc[:2]
        assert -first > 10
        assert -second < 2


def test_the_long_text_has_as_many_tokens_as_it_says(captured: Run) -> None:
    tokens = len(captured("long").tokens)
    assert BY_ID["long"].note.startswith(f"{tokens} tokens")


def test_sinks_are_where_the_notes_put_them(captured: Run) -> None:
    one = hidden_states.summary(captured("sink"))
    assert hidden_states.CONCEPT.measures["sink_ratio"](one, layer=12) > 100
    again = hidden_states.summary(captured("sink2"))
    norms = again[again["layer"] == 12].set_index("position")["norm"]
    assert norms[1] < 500
    assert (norms[2:] > 4000).all()


def test_notes_about_tokens(model: Model, captured: Run) -> None:
    assert run.doctor(model, captured("penguins"))["code"][0] == "newline"
    codes = run.doctor(model, captured("japanese"))["code"].tolist()
    assert "pieces" in codes
    for example in EXAMPLES:
        typed_a_space = example.prompt.endswith(" ")
        assert typed_a_space == (example.id in ("sum", "sum2", "count"))
    text = run.continuation(model, BY_ID["count"].prompt, 2)["text"][0]
    assert text == "50"
