"""A run that does not fit in what is free is refused before it is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strata.errors import NotEnoughMemory
from strata.model import Model, limits
from tests.tiny import PROMPT


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
