"""What the page asks of two prompts: `tables` between the run of one and the run of another.

Throughout, `trace` is the run of the page's prompt, called clean, `other` the text of another with
as many tokens, called corrupted. `direction` "restore" puts clean states into the corrupted run,
"corrupt" the other way round. Where no `target_id` is given it is the clean run's top-1, with
`against_id` the other run's likeliest token that is not it; with a `target_id` alone the target is
that token's logit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts import costs, quick
from strata.concepts.patching import tables
from strata.concepts.patching.tables import check_runs, ends_of, values_of
from strata.concepts.sinks import sinks
from strata.errors import InputError
from strata.model.patching import Cell, Place, patched, together
from strata.trace import Part, Trace

if TYPE_CHECKING:
    from strata.model import Model

Direction = Literal["restore", "corrupt"]
Progress = Callable[[float, str], None]
MOST_TOKENS = 64  # of prompts whose whole map is computed: work grows with their square
_PIECES = (0, 0.1, 0.3, 0.5, 0.75, 1)  # edges, as shares of all layers from the top down
_LOGITS_AT_ONCE = 5_000_000  # 40 MB in float64
_TENTH = 0.1
_LEAST = 0.01  # as a share of the gap between both runs: of a smaller effect no tenth is told
_MOST_WORST = 100  # cells that are looked into at once


def pieces(n_layers: int, part: Part = "stream") -> list[tuple[int, int]]:
    """(lowest, highest) layers by which a map is asked for, from the top down: the first piece
    is next to nothing of the whole, since a run goes through the blocks above its cell only."""
    lowest = int(part != "stream")
    shares = np.array(_PIECES) * (n_layers + 1 - lowest)
    edges = (n_layers + 1 - shares).round().astype(int).tolist()
    return [(low, high - 1) for high, low in pairwise(edges) if low < high]


def _map_cost(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    """Token-passes of a map: half the positions of a cell, and the blocks above it."""
    low, high = params["layers"] or (0, n_layers)
    blocks = sum(n_layers - layer for layer in range(max(0, low), min(high, n_layers) + 1))
    return float(n_tokens + n_tokens**2 / 2 * blocks / n_layers)


@quick
def doctor(
    model: Model,
    prompt: str,
    other: str,
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """What keeps two prompts from being patched: severity ("stop"), code, message; no rows where
    all is well. Codes: "text" (`other` is no prompt), "length", "same", "words"."""
    rows = []
    try:
        one, two = model.encode(prompt), model.encode(other)
        parted = parting(one, two)
        if len(one) != len(two):
            rows.append(("length", _of_lengths(len(one), len(two), parted)))
        elif parted is None:
            rows.append(("same", "Both prompts are the same, so there is nothing to put in."))
    except InputError as error:
        rows.append(("text", str(error)))
    if target_id is not None and target_id == against_id:
        rows.append(("words", tables.ONE_WORD))
    frame = pd.DataFrame(rows, columns=["code", "message"])
    frame.insert(0, "severity", "stop")
    return frame


@costs(lambda n_tokens, n_layers, params: n_tokens)
def facts(
    model: Model,
    trace: Trace,
    other: str,
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """Both runs beside each other, one row: n_tokens, first (the first position at which they
    part; missing where nowhere), clean_value, other_value (the target in each), target_id,
    against_id (missing: none), target, against (their texts), clean_top, other_top (the likeliest
    next token), clean_prob, other_prob (of `target`)."""
    chosen = choose(model, trace, other, "restore", target_id, against_id)
    clean, corrupted, ids = chosen.source, chosen.trace, list(chosen.ids)
    other_value, clean_value = ends_of(model, corrupted, clean, chosen.ids)
    prob = _logits(model, clean, corrupted).double().softmax(dim=-1)  # (2, V)
    texts = model.decode(ids, after=clean.token_ids)
    best = prob.argmax(dim=-1).tolist()
    row = {
        "n_tokens": len(clean.tokens),
        "first": parting(clean.token_ids, corrupted.token_ids),
        "clean_value": clean_value,
        "other_value": other_value,
        "target_id": ids[0],
        "against_id": ids[1] if len(ids) > 1 else None,
        "target": texts[0],
        "against": texts[1] if len(ids) > 1 else "",
        "clean_top": model.decode(best[:1], after=clean.token_ids)[0],
        "other_top": model.decode(best[1:], after=corrupted.token_ids)[0],
        "clean_prob": float(prob[0, ids[0]]),
        "other_prob": float(prob[1, ids[0]]),
    }
    return pd.DataFrame([row]).astype({"first": "Int64", "against_id": "Int64"})


@costs(_map_cost)
def cells(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
    layers: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """The exact map where a cell can matter (`tables.can_matter`): layer, position, token (of the
    edited run), value, share, kl (KL(source run, patched run) of the last position's next-token
    distribution, nats). Columns as in `patch_map`.

    `layers`: the lowest and the highest that are asked for, both included; None is all: see
    `pieces`. InputError for prompts of more than 64 tokens.
    """
    _check_length(trace)
    first = int(part != "stream")
    low, high = _two(layers) if layers else (first, model.n_layers)
    if not first <= low <= high <= model.n_layers:
        raise InputError(f"Layers are {first} to {model.n_layers}, the lowest first.")
    chosen = choose(model, trace, other, direction, target_id, against_id, part)
    matters = tables.can_matter(chosen.trace, chosen.source, part)  # (layers, T)
    matters[: low - first] = False
    matters[high - first + 1 :] = False
    rows, positions = tables.rectangle(matters)
    places = [Place(row + first, part) for row in rows]
    frame = _mapped(model, chosen, places, positions, progress)
    shown = [matters[cell] for cell in zip(frame["layer"] - first, frame["position"], strict=True)]
    return frame[np.array(shown, dtype=bool)].reset_index(drop=True)


@costs(lambda n_tokens, n_layers, params: 4 * n_tokens)
def estimate(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """The gradient's estimate of `cells`, the same cells: layer, position, token, value, share."""
    chosen = choose(model, trace, other, direction, target_id, against_id, part)
    frame = tables.attribution_map(model, chosen.trace, chosen.source, chosen.ids, part)
    matters = tables.can_matter(chosen.trace, chosen.source, part)
    return frame[matters.flatten()].reset_index(drop=True)


@costs(lambda n_tokens, n_layers, params: (1 + len(params["layers"])) * n_tokens)
def failures(
    model: Model,
    trace: Trace,
    other: str,
    layers: tuple[int, ...],
    positions: tuple[int, ...],
    exact: tuple[float, ...],
    estimate: tuple[float, ...],
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """Why the gradient's estimate fails in some cells, of which the exact value and the estimated
    one are given (`worst_cells`): layer, position, token, exact, estimate, sink, at_tenth, cause.

    `sink`: whether the position is an attention sink in either run. `at_tenth`: ten times what a
    tenth of the way to the source's state does, as a share of what the whole way does; 1 where the
    effect is straight, missing where there is next to none (a hundredth of the difference between
    both runs). `cause`: "sink"; else "turns" where the estimate has the wrong sign, "flat" where it
    is too small (the effect grows on the way, as where a saturated softmax or a norm holds it back
    at first), "levels off" where it is too large. What is next to nothing has no sign.

    A run for each cell, and no map. InputError for cells that do not exist, and for more than 100.
    """
    given = (layers, positions, exact, estimate)
    if len({len(each) for each in given}) > 1 or len(layers) > _MOST_WORST:
        raise InputError(
            f"Of at most {_MOST_WORST} cells a layer, a position and two values are wanted each."
        )
    runs = [
        [tables.cell_of(model, trace, cell, part)] for cell in zip(layers, positions, strict=True)
    ]
    chosen = choose(model, trace, other, direction, target_id, against_id, part)
    frame = pd.DataFrame(dict(zip(("layer", "position", "exact", "estimate"), given, strict=True)))
    frame.insert(2, "token", [chosen.trace.tokens[position] for position in positions])
    start, end = ends_of(model, chosen.trace, chosen.source, chosen.ids)
    least = max(tables.SAME, _LEAST * abs(end - start))
    moved, guessed = frame["exact"] - start, frame["estimate"] - start
    sunk = {*sinks(chosen.trace)["position"], *sinks(chosen.source)["position"]}
    frame["sink"] = frame["position"].isin(sunk)
    some = moved.where(moved.abs() >= least)
    frame["at_tenth"] = (_at_tenth(model, chosen, runs) - start) / _TENTH / some.to_numpy()
    turned = (some * guessed < 0) & (guessed.abs() >= least)
    kinds = [frame["sink"], turned, moved.abs() > guessed.abs()]
    frame["cause"] = np.select(kinds, ["sink", "turns", "flat"], "levels off")
    return frame


def worst_cells(exact: pd.DataFrame, guess: pd.DataFrame, k: int) -> dict[str, list[Any]]:
    """The k cells of `cells` where `estimate` is furthest from it, the furthest first, as
    `failures` takes them."""
    both_maps = exact.merge(guess, on=["layer", "position"], suffixes=("", "_estimate"))
    apart = (both_maps["value"] - both_maps["value_estimate"]).abs()
    worst = both_maps.loc[apart.nlargest(k).index]
    columns = ("layer", "position", "value", "value_estimate")
    names = ("layers", "positions", "exact", "estimate")
    return {name: worst[column].tolist() for name, column in zip(names, columns, strict=True)}


@costs(lambda n_tokens, n_layers, params: 4 * n_tokens)
def both(
    model: Model,
    trace: Trace,
    other: str,
    first: tuple[int, int],
    second: tuple[int, int],
    direction: Direction = "restore",
    part: Part = "stream",
    target_id: int | None = None,
    against_id: int | None = None,
) -> pd.DataFrame:
    """`pair` of two cells, (layer, position) each, one row: unpatched, source, first, second,
    both."""
    tables.check_pair(model, trace, first, second, part)
    chosen = choose(model, trace, other, direction, target_id, against_id, part)
    return tables.pair(model, chosen.trace, chosen.source, chosen.ids, first, second, part)


@costs(lambda n_tokens, n_layers, params: 3 * n_tokens + 16 * n_tokens**2 / 2)
def heads(
    model: Model,
    trace: Trace,
    other: str,
    block: int,
    direction: Direction = "restore",
    target_id: int | None = None,
    against_id: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """By head at one block, where a cell can matter: block, head, position, token, value, share,
    kl. See `tables.head_map`; columns as in `cells`."""
    _check_length(trace)
    tables.check_heads(model, block)
    chosen = choose(model, trace, other, direction, target_id, against_id, "attn")
    places, positions = tables.head_places(model, chosen.trace, chosen.source, block)
    frame = _mapped(model, chosen, places, positions, progress)
    frame["layer"] = np.repeat(range(len(places)), len(positions))
    frame = frame.rename(columns={"layer": "head"})
    frame.insert(0, "block", block)
    return frame


def parting(one: Tensor, two: Tensor) -> int | None:
    """The first position at which two rows of token ids part, one's end included; None: nowhere."""
    n_both = min(len(one), len(two))
    unlike = (one[:n_both] != two[:n_both]).nonzero()
    if len(unlike):
        return int(unlike[0])
    return None if len(one) == len(two) else n_both


# -- inside -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The run that is edited, the one whose states are put in, and the target's token ids."""

    trace: Trace
    source: Trace
    ids: tuple[int, ...]


def choose(
    model: Model,
    trace: Trace,
    other: str,
    direction: Direction,
    target_id: int | None,
    against_id: int | None,
    part: Part = "stream",
) -> Chosen:
    """Both runs, and the target's ids, see the module. All that can be refused is, before the other
    prompt is run."""
    if direction not in ("restore", "corrupt"):
        raise InputError(f"A direction is restore or corrupt, not {direction!r}.")
    if trace.edits:
        raise InputError("Patching starts from clean runs, and this one was edited.")
    one, two = trace.token_ids, model.encode(other)
    if len(one) != len(two):
        raise InputError(_of_lengths(len(one), len(two), parting(one, two)))
    given = [each for each in (target_id, against_id) if each is not None]
    check_runs(model, trace, trace, given or [0], part)
    corrupted = model.capture(other)
    if target_id is None:
        logits = _logits(model, trace, corrupted)  # (2, V)
        target_id = int(logits[0].argmax())
        if against_id is None:
            logits[1, target_id] = -torch.inf
            against_id = int(logits[1].argmax())
    ids = [target_id] if against_id is None else [target_id, against_id]
    edited, source = (corrupted, trace) if direction == "restore" else (trace, corrupted)
    return Chosen(edited, source, check_runs(model, edited, source, ids, part))


def _logits(model: Model, *runs: Trace) -> Tensor:
    return model.unembed(torch.stack([run.hidden[-1, -1] for run in runs]))


def _mapped(
    model: Model,
    chosen: Chosen,
    places: Sequence[Place],
    positions: Sequence[int],
    progress: Progress | None,
) -> pd.DataFrame:
    """layer, position, token, value, share, kl of all these places and positions."""
    trace, source, ids = chosen.trace, chosen.source, chosen.ids
    shape = len(places), len(positions)
    values, kl = np.zeros(shape), np.zeros(shape)
    if places and positions:
        states = patched(model, trace, source, places, positions, progress)  # (R, P, D)
        values = values_of(model, states, ids).numpy()
        kl = _kl(model, source, states.flatten(0, 1)).numpy().reshape(shape)
    frame = tables.table(trace, values, ends_of(model, trace, source, ids), positions=positions)
    frame["layer"] = np.repeat([place.layer for place in places], len(positions)).astype(int)
    return frame.assign(kl=kl.flatten())


def _kl(model: Model, source: Trace, states: Tensor) -> Tensor:
    """(n,) KL(source run, patched run) in nats, from (n, D) last states."""
    wanted = _logits(model, source)[0].double().log_softmax(dim=-1)  # (V,)
    found = []
    for some in states.split(max(1, _LOGITS_AT_ONCE // model.d_vocab)):
        logprobs = model.unembed(some).double().log_softmax(dim=-1)  # (n, V)
        found.append((wanted.exp() * (wanted - logprobs)).sum(dim=-1).clamp_min(0))
    return torch.cat(found)


def _at_tenth(model: Model, chosen: Chosen, runs: Sequence[Sequence[Cell]]) -> NDArray[np.float64]:
    """The target a tenth of the way to the source's state, in runs that are patched."""
    if not runs:
        return np.zeros(0)
    states = together(model, chosen.trace, chosen.source, runs, _TENTH)
    return values_of(model, states, chosen.ids).numpy()


def _two(layers: Sequence[int]) -> tuple[int, int]:
    try:
        low, high = map(index, layers)
    except (TypeError, ValueError):
        raise InputError("Layers are a lowest and a highest, two whole numbers.") from None
    return low, high


def _check_length(trace: Trace) -> None:
    if len(trace.tokens) > MOST_TOKENS:
        raise InputError(
            f"A map is made of prompts of at most {MOST_TOKENS} tokens, and these have "
            f"{len(trace.tokens)}: use shorter ones."
        )


def _of_lengths(one: int, two: int, parted: int | None) -> str:
    where = "" if parted is None else f", and part at position {parted}"
    return (
        "Patching puts position on position, so both prompts need the same number of tokens: "
        f"these have {one} and {two}{where}."
    )
