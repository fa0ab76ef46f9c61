"""What chance gives beside a number of a page: the same number of runs that are right but for one
thing, drawn at random. Which numbers and which things, each concept names (`strata.concepts.Null`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from strata.concepts import Null, costs, unhurried
from strata.concepts.chance import KINDS, drawn_run, left_of
from strata.concepts.found import concepts
from strata.concepts.run import check_count, check_position
from strata.errors import InputError
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_MOST = 1_000  # draws
_MATRICES = 300  # token-passes: what it takes to draw the matrices of all blocks

Progress = Callable[[float, str], None]


def asks_for(null: Null) -> set[str]:
    """What else than a run a number needs, see `Null`."""
    return set(inspect.signature(null.number).parameters) - {"model", "trace", "left"}


def passes(params: Mapping[str, Any], n_tokens: int, n_layers: int) -> float:
    """Token-passes of a number beyond the run that it is of; 0 for one that is none."""
    module = concepts().get(params.get("concept", ""))
    null = module.CONCEPT.nulls.get(params["number"]) if module is not None else None
    found = getattr(null.number, "costs", None) if null is not None else None
    return float(found(n_tokens, n_layers, params)) if found else 0.0


@costs(lambda n_tokens, n_layers, params: passes(params, n_tokens, n_layers))
def own(
    model: Model,
    trace: Trace,
    concept: str,
    number: str,
    position: int | None = None,
    target_id: int | None = None,
    against_id: int | None = None,
    other: str = "",
) -> pd.DataFrame:
    """A number that a concept puts beside chance, of this run itself: layer, value.

    Of the prompt as far as `position` (None: all of it), where the number is about one token. Of a
    token that is expected next: `target_id`, or the one that the model holds likeliest there.
    `against_id` and `other`: see `Null`. InputError for a number that no concept names so, or a
    position that does not exist.
    """
    null = _null(concept, number)
    trace = _as_far_as(trace, _end(null, trace, position))
    needed = _needed(null, trace, position, target_id, against_id, other)
    return null.number(model, trace, **needed)


def _drawn(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    kind = KINDS.get(params["kind"])
    each = passes(params, n_tokens, n_layers)
    if kind is not None and kind.runs:
        each += n_tokens + (_MATRICES if params["kind"] == "random blocks" else 0)
    return float(each * params["count"])


@unhurried
@costs(_drawn)
def draws(
    model: Model,
    trace: Trace,
    concept: str,
    number: str,
    kind: str,
    position: int | None = None,
    target_id: int | None = None,
    against_id: int | None = None,
    other: str = "",
    first: int = 0,
    count: int = 20,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The same of runs by chance: draw, layer, value, for each draw from `first` on.

    `kind` is one of the concept's for this number, see `KINDS`. Every draw has a seed, its number:
    `numpy.random.default_rng(draw)`, and `model.random_twin(draw)` of random blocks. So it is the
    same whoever asks, whatever else was drawn. Of a token expected next it is that of the run
    itself; its sinks are left out where its own states are in another order. InputError where there
    is nothing to shuffle.
    """
    null = _null(concept, number)
    if kind not in null.kinds:
        raise InputError(f"{number} is not drawn with {kind!r} here, only {', '.join(null.kinds)}.")
    count, first = check_count("The number of draws", count, _MOST), int(first)
    end = _end(null, trace, position)
    trace = _as_far_as(trace, end)
    needed, found = _needed(null, trace, position, target_id, against_id, other), []
    for done, draw in enumerate(range(first, first + count)):

        def step(done: int = done) -> None:
            if progress is not None:
                progress(done / count, f"Draw {done + 1} of {count}")

        step()
        reader, drawn = drawn_run(model, trace, kind, draw, null.at_token, step)
        if "left" in needed and KINDS[kind].runs:
            needed["left"] = left_of(drawn)
        found.append(null.number(reader, drawn, **needed).assign(draw=draw))
    table = pd.concat(found, ignore_index=True)
    return table[["draw", "layer", "value"]].astype({"value": float})


VIEWS: tuple[Callable[..., pd.DataFrame], ...] = (own, draws)


# -- inside ---------------------------------------------------------------------------------------


def _null(concept: str, number: str) -> Null:
    module = concepts().get(concept)
    null = module.CONCEPT.nulls.get(number) if module is not None else None
    if null is None:
        raise InputError(f"There is no number {number[:80]!r} to put beside chance.")
    found: Null = null
    return found


def _end(null: Null, trace: Trace, position: int | None) -> int:
    """How many tokens of a run a number is about."""
    if position is None or not null.at_token:
        return len(trace.tokens)
    return check_position(trace, position) + 1


def _as_far_as(trace: Trace, end: int) -> Trace:
    """The run of the text as far as so many tokens: nothing later has a say in it."""
    if end == len(trace.tokens):
        return trace
    return replace(
        trace,
        tokens=trace.tokens[:end],
        token_ids=trace.token_ids[:end],
        hidden=trace.hidden[:, :end],
        writes=None if trace.writes is None else trace.writes[:, :, :end],
        logits=trace.logits[:end],
        verify=None,
    )


def _needed(
    null: Null,
    trace: Trace,
    position: int | None,
    target_id: int | None,
    against_id: int | None,
    other: str,
) -> dict[str, Any]:
    """What a number is told of what it needs."""
    given: dict[str, Callable[[], Any]] = {
        "position": lambda: len(trace.tokens) - 1 if position is None else position,
        "target_id": lambda: int(trace.logits[-1].argmax()) if target_id is None else target_id,
        "against_id": lambda: against_id,
        "other": lambda: other,
        "left": lambda: left_of(trace),
    }
    names = inspect.signature(null.number).parameters
    return {name: value() for name, value in given.items() if name in names}
