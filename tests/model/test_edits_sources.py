"""What edits name is run once, clean, before the run; and only so much of it is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strata.errors import NotEnoughMemory
from strata.model import Model, limits, resolved
from strata.trace import Add, Difference, Keep, Principal, Project, Replace, State
from tests.tiny import PROMPT

OTHER, TEXT = "The dog sat on the mat, and the cat ran.", "Where the river is wide."


@pytest.fixture
def ran(tiny: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the runs that the model makes from now on, with nothing kept."""
    model, lengths = tiny("llama"), []
    forward = model.forward

    def heard(rows: Any, recorder: Any) -> Any:
        lengths.append(len(rows[0]))
        return forward(rows, recorder)

    monkeypatch.setattr(model, "forward", heard)
    monkeypatch.setattr(model, "_resolved", resolved.Resolver(model))
    return lengths


def test_a_sweep_runs_its_source_once(tiny: Callable[[str], Model], ran: list[int]) -> None:
    model = tiny("llama")
    trace = model.capture(PROMPT)
    sizes = [len(model.encode(text)) for text in (PROMPT, OTHER, TEXT)]
    list(model.replay(trace, [Replace(b, "stream", State(OTHER)) for b in range(3)]))
    assert ran == [sizes[0], sizes[1]]
    model.capture(PROMPT, [Project(1, Difference(OTHER, TEXT, 2))])
    assert ran == [sizes[0], sizes[1], sizes[2], sizes[0]], (
        "the one that was not known, and its own"
    )
    model.capture(PROMPT, [Add(1, Principal((TEXT, OTHER), 2), 1.0, (3,))])
    model.capture(PROMPT, [Keep(1, 2, (TEXT, OTHER), (1,))])
    assert ran[4:] == [sizes[0]] * 2
    list(model.replay(trace, [Replace(b, "attn", State(OTHER)) for b in range(3)]))
    assert ran[6:] == [sizes[1]], "writes are written down apart, in a run of all blocks"


def test_no_more_is_kept_than_fits(
    tiny: Callable[[str], Model], ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny("llama")
    each = sum(t.nbytes for t in (model.capture(OTHER).hidden,))
    monkeypatch.setattr(resolved, "_BYTES", int(1.5 * each))
    ran.clear()
    for prompt in (OTHER, PROMPT, OTHER):
        model.capture(PROMPT, [Replace(1, "stream", State(prompt))])
    assert len(ran) == 6, "each was forgotten for the next"
    model.capture(PROMPT, [Replace(0, "stream", State(OTHER))])
    assert len(ran) == 7
    model.forget_sources()
    model.capture(PROMPT, [Replace(0, "stream", State(OTHER))])
    assert len(ran) == 9, "for want of memory all are forgotten"


def test_a_source_that_does_not_fit_is_refused(
    tiny: Callable[[str], Model], ran: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "free_bytes", lambda place: 1_000)
    with pytest.raises(NotEnoughMemory, match="use a shorter prompt"):
        tiny("llama").capture(PROMPT, [Replace(1, "stream", State(OTHER))])
    assert ran == []
