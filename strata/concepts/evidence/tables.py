"""Evidence: one number by layer, of each prompt of a set, from one run of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from strata.concepts import costs
from strata.concepts.run import identities
from strata.concepts.target import target_token
from strata.concepts.views import View, curves
from strata.corpus.states import worst
from strata.errors import InputError, ModelError
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

_WORDS = ("target_id", "against_id")


def needs(name: str) -> tuple[str, ...]:
    """Which words a quantity asks for: () none, "target_id" the one expected next, "against_id"
    that of the other prompt of the pair. InputError for a quantity that no concept names."""
    found = inspect.signature(_curve(name)).parameters
    return tuple(word for word in _WORDS if word in found)


def concept_of(name: str) -> str:
    """The stem of the concept on whose page a quantity is drawn for one prompt."""
    _curve(name)
    return curves()[name][0]


def runs_more(name: str) -> bool:
    """Whether a quantity runs the model again, beyond the one run that all others share."""
    return hasattr(_curve(name), "costs")


def _passes(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    known = [curves()[name][1] for name in params["names"] if name in curves()]
    more = [curve.__dict__["costs"] for curve in known if "costs" in curve.__dict__]
    return sum(passes(n_tokens, n_layers, {}) for passes in more)


@costs(_passes)
def values(
    model: Model,
    prompts: tuple[str, ...],
    runs: Iterator[tuple[str, Trace]],
    conditions: tuple[str, ...],
    pairs: tuple[str, ...] = (),
    expected: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Numbers by layer of each prompt of a set: row (its place among the prompts), condition, pair
    ("" where there are none), layer, and a column for each quantity of `names` (none: for all that
    one run gives), missing where a prompt or a layer has none; len(prompts) * (L + 1) rows.

    For each prompt there is a condition, and if they are given a pair (`PromptSet`'s rows) and the
    word `expected` next. What asks for a word is missing where there is none, or where it is
    several tokens here. Prompts are run together by their length, each once. InputError for a
    quantity that no concept names, and for columns of another length; a quantity that this model
    refuses is missing everywhere, where others are asked for too (else ModelError).
    """
    asked = {n: (_curve(n), needs(n)) for n in names or curves() if names or not runs_more(n)}
    for column in (conditions, pairs, expected):
        if len(column) != len(prompts) and (column or column is conditions):
            raise InputError(f"There are {len(prompts)} prompts and {len(column)} rows for them.")
    ids = [_token(model, word) for word in expected] or [None] * len(prompts)
    places: dict[str, list[int]] = {}
    for row, prompt in enumerate(prompts):
        places.setdefault(prompt, []).append(row)
    n_layers = model.n_layers + 1
    found = {name: np.full((len(prompts), n_layers), np.nan) for name in asked}
    refused: dict[str, ModelError] = {}
    for prompt, trace in runs:
        for row in places[prompt]:
            words = {"target_id": ids[row], "against_id": ids[other(pairs, row)]}
            for name, (curve, wanted) in asked.items():
                given = {word: words[word] for word in wanted}
                if name in refused or None in given.values():
                    continue
                try:
                    frame = curve(model, trace, **given)
                except ModelError as error:
                    refused[name] = error
                    found[name][:] = np.nan  # some prompts without it would look like few words
                    continue
                found[name][row, frame["layer"].to_numpy(int)] = frame["value"].to_numpy(float)
    if len(refused) == len(asked):
        raise next(iter(refused.values()))
    table: dict[str, Any] = {
        "row": np.repeat(np.arange(len(prompts)), n_layers),
        "condition": np.repeat(np.array(conditions, dtype=object), n_layers),
        "pair": np.repeat(np.array(pairs or [""] * len(prompts), dtype=object), n_layers),
        "layer": np.tile(np.arange(n_layers), len(prompts)),
    }
    return pd.DataFrame(table | {name: numbers.ravel() for name, numbers in found.items()})


def check(runs: Iterator[tuple[str, Trace]]) -> pd.DataFrame:
    """The identities, as in `strata.concepts.run.check`, the worst of all these prompts."""
    return identities(worst([trace.check for _, trace in runs]))


def other(pairs: Sequence[str], row: int) -> int:
    """The next row of the same pair, the first after the last; the row itself without pairs."""
    if not any(pairs):
        return row
    same = [i for i, pair in enumerate(pairs) if pair == pairs[row]]
    return same[(same.index(row) + 1) % len(same)]


def _curve(name: str) -> View:
    try:
        return curves()[name][1]
    except KeyError:
        raise InputError(f"There is no quantity {name[:80]!r} to compare.") from None


def _token(model: Model, word: str) -> int | None:
    """The token that a word is, if it is one."""
    if not word:
        return None
    try:
        return target_token(model, word)
    except InputError:
        return None
