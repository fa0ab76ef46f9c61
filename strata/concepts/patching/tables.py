"""Patching: put the states of one run into another, and see how much of the answer comes along."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts.run import check_position, check_run
from strata.concepts.target import check_token
from strata.errors import InputError, ModelError
from strata.model.head_slices import projection
from strata.model.patching import Place, patched, slopes, together
from strata.trace import AGREEMENT, Part, Trace

if TYPE_CHECKING:
    from strata.model import Model

Target = int | Sequence[int]  # a token id, or a pair: logit of the first minus that of the second
Progress = Callable[[float, str], None]
SAME = 1e-4  # logits: two runs that are no further apart give the same
ONE_WORD = "Choose two different words: the difference of a word and itself is always 0."


# -- the contract -----------------------------------------------------------------------------


def patch_map(
    model: Model,
    trace: Trace,
    source: Trace,
    target: Target,
    part: Part = "stream",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """What each state of `source`, put into the run `trace`, does to the target at the last
    position: layer (0 to L for the stream; for what a part adds its block's output layer, 1 to L),
    position, token (of `trace`), value (the target in the patched run, logits), share.

    `share` is (value - value of trace) / (value of source - value of trace): 0 where nothing
    changes, 1 where the target is what it is in the source; missing where both runs give the same.
    To restore, `trace` is the corrupted run and `source` the clean one; to corrupt, the other way
    round. `target` is a token id, or a pair of them for the difference of two logits.

    Cells that cannot matter (`can_matter`) are not computed: they have the value of `trace`.
    Values agree with runs patched one by one to 1e-3 (three cells are compared for each longer
    prompt). InputError for runs of different length, an edited `trace`, a target, pair or part that
    does not exist; ModelError where this model's writes are refused. Meng et al. 2022, causal
    tracing.
    """
    ids = check_runs(model, trace, source, target, part)
    matters = can_matter(trace, source, part)  # (layers, T)
    ends = ends_of(model, trace, source, ids)
    values = np.full(matters.shape, ends[0])
    layers, positions = rectangle(matters)
    if len(layers):
        places = [Place(layer + (part != "stream"), part) for layer in layers]
        states = patched(model, trace, source, places, positions, progress)
        computed = values_of(model, states, ids).numpy()
        values[np.ix_(layers, positions)] = computed
        values[~matters] = ends[0]
    return table(trace, values, ends, first_layer=int(part != "stream"))


def attribution_map(
    model: Model, trace: Trace, source: Trace, target: Target, part: Part = "stream"
) -> pd.DataFrame:
    """The gradient's estimate of `patch_map`, in the same columns: value is that of `trace` plus
    the gradient of the target with respect to what is replaced, times how far the source's is from
    it. One forward and one backward pass, see `slopes`. Attribution patching, Nanda 2023."""
    ids = check_runs(model, trace, source, target, part)

    def measured(logits: Tensor) -> Tensor:
        return logits[ids[0]] - logits[ids[1]] if len(ids) > 1 else logits[ids[0]]

    ends = ends_of(model, trace, source, ids)
    moved = slopes(model, trace, source, part, measured)  # (layers, T)
    return table(trace, ends[0] + moved.numpy(), ends, first_layer=int(part != "stream"))


def pair(
    model: Model,
    trace: Trace,
    source: Trace,
    target: Target,
    first: Sequence[int],
    second: Sequence[int],
    part: Part = "stream",
) -> pd.DataFrame:
    """The target with two cells patched together and each alone, one row: unpatched (the value of
    `trace`), source (of `source`), first, second, both. A cell is (layer, position), as in
    `patch_map`. What both do is the sum of what each does where both - unpatched is first + second
    - 2 unpatched. InputError for a cell that does not exist, and for one given twice."""
    ids = check_runs(model, trace, source, target, part)
    cells = check_pair(model, trace, first, second, part)
    states = together(model, trace, source, [cells[:1], cells[1:], cells])
    values = [*ends_of(model, trace, source, ids), *values_of(model, states, ids).tolist()]
    columns = ["unpatched", "source", "first", "second", "both"]
    return pd.DataFrame([values], columns=columns)


# -- more of the same -------------------------------------------------------------------------


def head_map(
    model: Model,
    trace: Trace,
    source: Trace,
    target: Target,
    block: int,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """`patch_map` by head at one block: block, head, position, token, value, share. What a head
    hands to the output projection of its attention is the source's (what it reads where the
    source's state enters the block). InputError for a block that does not exist; ModelError where
    the heads of this family are not known."""
    ids = check_runs(model, trace, source, target)
    places, positions = head_places(model, trace, source, block)
    ends = ends_of(model, trace, source, ids)
    values = np.full((len(places), len(trace.tokens)), ends[0])
    if positions:
        states = patched(model, trace, source, places, positions, progress)
        values[:, positions] = values_of(model, states, ids).numpy()
    frame = table(trace, values, ends).rename(columns={"layer": "head"})
    frame.insert(0, "block", int(block))
    return frame


def head_places(
    model: Model, trace: Trace, source: Trace, block: int
) -> tuple[list[Place], list[int]]:
    """The heads of a block, and the positions at which they can matter."""
    n_heads = check_heads(model, block)
    matters = can_matter(trace, source, "attn")[int(block)]  # (T,)
    places = [Place(int(block) + 1, "attn", head) for head in range(n_heads)]
    return places, np.flatnonzero(matters).tolist()


def check_heads(model: Model, block: int) -> int:
    """How many heads a block has; InputError for one that does not exist, ModelError where its
    heads are not known."""
    if isinstance(block, bool) or not isinstance(block, (int, np.integer)):
        raise InputError(f"A block must be a whole number, not {block!r}.")
    if not 0 <= block < model.n_layers:
        raise InputError(f"Block {block} does not exist: blocks are 0 to {model.n_layers - 1}.")
    return projection(model.architecture, int(block))[1]


def can_matter(trace: Trace, source: Trace, part: Part = "stream") -> NDArray[np.bool_]:
    """(layers, T): which cells can change the last position at all.

    Those before the first position at which the runs part have the same state in both, and so have
    cells of layer 0 with the same token. Of the highest layer of the stream only the last position
    is read. (What a part adds in the last block may still be read there, in a few families.)
    """
    parted = first_apart(trace, source)
    n_layers, n_tokens = len(trace.hidden) - 1, len(trace.tokens)
    matters = np.zeros((n_layers + (part == "stream"), n_tokens), dtype=bool)
    if parted is None:
        return matters
    matters[:, parted:] = True
    if part == "stream":
        matters[-1, :-1] = False
        matters[0] &= ~alike(trace.hidden[:1], source.hidden[:1])
    return matters


def first_apart(trace: Trace, source: Trace) -> int | None:
    """The first position at which two runs part: another token, or other states; None: nowhere."""
    same = (trace.token_ids == source.token_ids).numpy() & alike(trace.hidden, source.hidden)
    if trace.writes is not None and source.writes is not None:  # other writes, by an edit
        same &= alike(trace.writes.flatten(0, 1), source.writes.flatten(0, 1))
    return None if same.all() else int(np.argmin(same))


def alike(here: Tensor, there: Tensor) -> NDArray[np.bool_]:
    """(layers, T, D) twice -> (T,): where all states are the same to rounding."""
    size = here.abs().amax(dim=-1).clamp_min(torch.finfo(torch.float32).tiny)  # (layers, T)
    same: NDArray[np.bool_] = (
        ((here - there).abs().amax(dim=-1) <= AGREEMENT * size).all(dim=0).numpy()
    )
    return same


# -- inside -----------------------------------------------------------------------------------


def check_runs(
    model: Model, trace: Trace, source: Trace, target: Target, part: Part = "stream"
) -> tuple[int, ...]:
    """The target's one or two token ids; InputError where runs, target or part do not fit."""
    if part not in get_args(Part):
        raise InputError(f"A part is stream, attn or mlp, not {part!r}.")
    model.require_part(part)
    if model.lens_refusal:
        raise ModelError(model.lens_refusal)
    for run in (trace, source):
        check_run(model, run)
    if len(trace.tokens) != len(source.tokens):
        raise InputError(
            "Patching puts position on position, so both prompts need the same number of tokens: "
            f"these have {len(trace.tokens)} and {len(source.tokens)}."
        )
    if trace.edits:
        raise InputError("Patching starts from a clean run, and this one was edited.")
    one = getattr(target, "ndim", None) == 0  # a number in an array's or a tensor's clothes
    listed = isinstance(target, (Sequence, np.ndarray, Tensor)) and not one
    given: list[Any] = list(target) if listed else [target]  # type: ignore[arg-type]
    ids = tuple(check_token(each, model.d_vocab) for each in given)
    if len(ids) not in (1, 2):
        raise InputError("A target is one token, or a pair of tokens.")
    if len(set(ids)) < len(ids):
        raise InputError(ONE_WORD)
    return ids


def cell_of(model: Model, trace: Trace, cell: Sequence[int], part: Part) -> tuple[Place, int]:
    """A layer and a position as what is patched there. InputError for what does not exist."""
    low = int(part != "stream")
    try:
        layer, position = cell
    except (TypeError, ValueError):
        raise InputError(f"A cell is a layer and a position, not {cell!r}.") from None
    if (
        isinstance(layer, bool)
        or not isinstance(layer, (int, np.integer))
        or not low <= layer <= model.n_layers
    ):
        raise InputError(f"Layer {layer!r} does not exist: layers are {low} to {model.n_layers}.")
    return Place(int(layer), part), check_position(trace, position)


def check_pair(
    model: Model, trace: Trace, first: Sequence[int], second: Sequence[int], part: Part
) -> list[tuple[Place, int]]:
    """Two cells as what is patched there. InputError for what does not exist, and for one cell."""
    cells = [cell_of(model, trace, each, part) for each in (first, second)]
    if cells[0] == cells[1]:
        raise InputError("Choose two different cells: these are one.")
    return cells


def rectangle(matters: NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """The rows and columns between which all cells that matter lie."""
    rows, columns = matters.any(axis=1), matters.any(axis=0)
    return np.flatnonzero(rows).tolist(), np.flatnonzero(columns).tolist()


def ends_of(model: Model, trace: Trace, source: Trace, ids: tuple[int, ...]) -> list[float]:
    """The target in the run that is edited and in the source."""
    states = torch.stack([trace.hidden[-1, -1], source.hidden[-1, -1]])
    ends: list[float] = values_of(model, states, ids).tolist()
    return ends


def values_of(model: Model, states: Tensor, ids: tuple[int, ...]) -> Tensor:
    """(..., D) last states -> (...) the target of each in float64. Only its rows of the head are
    read, which for many states is a tenth of the work otherwise."""
    normed = model.normed(states.reshape(-1, states.shape[-1])).to(model.device)  # (n, D)
    with torch.inference_mode():
        logits = [
            model.float_head.logits_of(normed, slice(i, i + 1), normed.new_empty(len(normed), 1))
            for i in ids
        ]
        values = torch.cat(logits, dim=-1).double().cpu()  # (n, 1 or 2)
        difference = values[:, 0] - values[:, 1] if len(ids) > 1 else values[:, 0]
    return difference.reshape(states.shape[:-1])


def table(
    trace: Trace,
    values: NDArray[np.float64],
    ends: Sequence[float],
    first_layer: int = 0,
    positions: Sequence[int] | None = None,
) -> pd.DataFrame:
    """(rows, positions) values as a map in long form; all positions where none are given. `ends`:
    see `ends_of`."""
    here, there = ends
    apart = there - here if abs(there - here) > SAME else math.nan
    where = np.arange(len(trace.tokens)) if positions is None else np.array(positions, dtype=int)
    n_rows = len(values)
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(n_rows) + first_layer, len(where)),
            "position": np.tile(where, n_rows),
            "token": np.tile(np.array(trace.tokens, dtype=object)[where], n_rows),
            "value": values.flatten(),
            "share": (values.flatten() - here) / apart,
        }
    )
