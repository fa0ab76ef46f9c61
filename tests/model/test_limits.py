"""A run that does not fit in what is free is refused before it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strata.errors import InputError, NotEnoughMemory
from strata.model import Model, limits
from tests.families.build import build
from tests.families.outcome import load
from tests.tiny import LIMIT, PROMPT


def test_logits_and_states_are_held_against_free_memory(
    tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    assert trace.writes is not None
    kept = sum(each.nbytes for each in (trace.logits, trace.hidden, trace.writes))
    monkeypatch.setattr(limits, "free_bytes", lambda place: 2 * kept)
    model.capture(PROMPT)
    model.capture_many(["The cat", "The dog"])  # shorter together than the other alone

    def run(*given: Any) -> Any:
        raise AssertionError("run all the same")

    monkeypatch.setattr(model, "forward", run)
    monkeypatch.setattr(limits, "free_bytes", lambda place: 2 * kept - 1)
    for ask in (model.capture, lambda text: model.capture_many([text])):
        with pytest.raises(NotEnoughMemory, match="use a shorter prompt"):
            ask(PROMPT)
    # Of texts that are read for their states one has logits, and no prompt is there to be cut.
    states = kept - trace.logits.nbytes
    needed = 2 * (3 * states + trace.logits.nbytes)
    monkeypatch.setattr(limits, "free_bytes", lambda place: needed)
    with pytest.raises(AssertionError, match="run all the same"):
        model.capture_many([PROMPT] * 3, states_only=True)
    monkeypatch.setattr(limits, "free_bytes", lambda place: needed - 1)
    with pytest.raises(NotEnoughMemory, match="or choose a smaller model"):
        model.capture_many([PROMPT] * 3, states_only=True)


@pytest.mark.parametrize("name", ["gpt2", "mpt"])
def test_nothing_is_written_beyond_the_last_position(name: str) -> None:
    """Whatever the family calls the number of its positions."""
    model = load(build(name))
    limit = model.prompt_limit
    assert limit == LIMIT
    text = "z" * (limit - 2)  # one token each
    with pytest.raises(InputError, match=rf"reads at most {limit}.* no room for 3 more"):
        model.generate(text, 3)
    assert model.generate(text, 2)


def test_a_model_without_positions_writes_on_beyond_the_longest_prompt() -> None:
    model = load(build("mamba"))
    assert model.prompt_limit == limits.DEFAULT_LIMIT
    assert limits.position_limit(model._network, model.config) is None
    limits.require_positions(limits.DEFAULT_LIMIT, 200, None, model.config)
