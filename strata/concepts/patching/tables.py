"""Patching: put the states of one run into another, and see how much of the answer comes along."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from strata.concepts.target import check_token
from strata.errors import InputError
from strata.model.patching import Cell, estimates, whole_runs
from strata.trace import Part, Trace

if TYPE_CHECKING:
    from strata.model import Model

Target = int | Sequence[int]  # a token id, or a pair: logit of the first minus that of the second
_SAME = 1e-4  # logits: two runs that are no further apart give the same
COLUMNS = ["layer", "position", "token", "value", "share"]


def patch_map(
    model: Model, trace: Trace, source: Trace, target: Target, part: Part = "stream"
) -> pd.DataFrame:
    """What each state of `source`, put into the run `trace`, does to the target at the last
    position: layer (0 to L for the stream, a block's output layer, 1 to L, for what a part adds),
    position, token (of `trace`), value (the target in the patched run), share.

    `share` is (value - value of trace) / (value of source - value of trace): 0 where nothing
    changes, 1 where the source's value is restored; missing where both runs give the same. To
    restore, `trace` is the corrupted run and `source` the clean one; to corrupt, the other way
    round. InputError for runs of different length, and for a target that does not exist.
    """
    ids = check_runs(model, trace, source, target)
    model.require_part(part)
    cells = [
        Cell(layer, position, part)
        for layer in range(part != "stream", model.n_layers + 1)
        for position in range(len(trace.tokens))
    ]
    ends = values_of(model, torch.stack([trace.hidden[-1, -1], source.hidden[-1, -1]]), ids)
    values = [math.nan] * len(cells)
    for group, states in whole_runs(model, trace, source, [[cell] for cell in cells]):
        for i, value in zip(group, values_of(model, states, ids).tolist(), strict=True):
            values[i] = value
    return table(trace, cells, values, ends)


def attribution_map(
    model: Model, trace: Trace, source: Trace, target: Target, part: Part = "stream"
) -> pd.DataFrame:
    """The gradient's estimate of `patch_map`, in the same columns: value is the value of `trace`
    plus the gradient of the target there, times how far the source's state is from its own.
    Attribution patching (Nanda 2023): one forward and one backward pass."""
    ids = check_runs(model, trace, source, target)
    model.require_part(part)

    def measured(logits: Tensor) -> Tensor:
        return logits[ids[0]] - logits[ids[1]] if len(ids) > 1 else logits[ids[0]]

    gradients = estimates(model, trace, part, measured)
    states = [states_of(each, part) for each in (trace, source)]
    ends = values_of(model, torch.stack([trace.hidden[-1, -1], source.hidden[-1, -1]]), ids)
    change = (gradients.double() * (states[1] - states[0]).double()).sum(dim=-1)  # (·, T)
    first = int(part != "stream")
    cells = [
        Cell(layer + first, position, part)
        for layer, row in enumerate(change)
        for position in range(len(row))
    ]
    return table(trace, cells, (change.flatten() + ends[0]).tolist(), ends)


def pair(
    model: Model,
    trace: Trace,
    source: Trace,
    target: Target,
    first: Sequence[int],
    second: Sequence[int],
) -> pd.DataFrame:
    """The target with two cells of the stream patched together and each alone, one row: unpatched,
    source, first, second, both. A cell is (layer, position)."""
    ids = check_runs(model, trace, source, target)
    one, two = Cell(*first), Cell(*second)
    ends = values_of(model, torch.stack([trace.hidden[-1, -1], source.hidden[-1, -1]]), ids)
    runs = whole_runs(model, trace, source, [[one], [two], [one, two]])
    values = values_of(model, torch.cat([states for _, states in runs]), ids)
    columns = ["unpatched", "source", "first", "second", "both"]
    return pd.DataFrame([[*ends.tolist(), *values.tolist()]], columns=columns)


def check_runs(model: Model, trace: Trace, source: Trace, target: Target) -> tuple[int, ...]:
    """The target's one or two token ids; InputError where the runs do not fit."""
    if len(trace.tokens) != len(source.tokens):
        raise InputError(
            f"The two prompts must have the same number of tokens, and these have "
            f"{len(trace.tokens)} and {len(source.tokens)}."
        )
    if trace.hidden.shape != source.hidden.shape:
        raise InputError("The two runs must be of the same model.")
    given = list(target) if isinstance(target, Sequence) else [target]
    ids = tuple(check_token(each, model.d_vocab) for each in given)
    if len(ids) not in (1, 2):
        raise InputError("A target is one token, or a pair of tokens.")
    if len(set(ids)) < len(ids):
        raise InputError("The two words of a difference must be different tokens.")
    return ids


def states_of(trace: Trace, part: Part) -> Tensor:
    """(L + 1, T, D) states, or (L, T, D) of what a part adds."""
    return {"stream": lambda: trace.hidden, "attn": lambda: trace.attn}.get(
        part, lambda: trace.mlp
    )()


def values_of(model: Model, states: Tensor, ids: tuple[int, ...]) -> Tensor:
    """(n, D) last states -> (n,) the target of each, float64."""
    logits = model.unembed(states)[:, list(ids)].double()  # (n, 1 or 2)
    return logits[:, 0] - logits[:, 1] if len(ids) > 1 else logits[:, 0]


def table(
    trace: Trace, cells: Sequence[Cell], values: Sequence[float], ends: Tensor
) -> pd.DataFrame:
    """The map's rows. `ends`: the values of the edited run and of the source."""
    here, there = ends.tolist()
    apart = there - here if abs(there - here) > _SAME else math.nan
    rows = [
        (cell.layer, cell.position, trace.tokens[cell.position], value, (value - here) / apart)
        for cell, value in zip(cells, values, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
