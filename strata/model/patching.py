"""Runs into which states of another run are put: one run for each cell of a patch map.

A cell is a place (a layer of the stream, or what a part of the block below it added) and a
position. The states that are put in come from a trace of as many tokens, so that position stands
for position. All cells of some places and positions are computed together, see
`strata.model.tails`; a few of them are compared with plain runs whenever they go through blocks, or
are of more tokens, than none before were right for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from strata.errors import InputError
from strata.model.blocks import here, state_in, state_of, with_state
from strata.model.fused import Fused
from strata.model.gradients import states_with_grad
from strata.model.head_slices import columns, projection
from strata.model.hooks import Recorder
from strata.model.replay import inputs_of
from strata.model.tails import Row, Tails, Unfit, fullest_row, last_states
from strata.trace import Part, Trace

if TYPE_CHECKING:
    from strata.model.model import Model

log = logging.getLogger(__name__)

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Place:
    """What is replaced: `hidden[layer]` for "stream", what that part of block `layer - 1` adds for
    "attn" and "mlp"; with `head`, what that head hands to its attention's output projection."""

    layer: int
    part: Part = "stream"
    head: int | None = None


Cell = tuple[Place, int]  # and a position
_Kind = tuple[Part, bool]  # of places: part, whether by head


class _Asked(NamedTuple):
    """How much of a way some cells need to be right."""

    layer: int  # the lowest: they go through all blocks from it on
    n_tokens: int
    row: int  # tokens of the tails that lie behind one another

    def within(self, seen: _Asked) -> bool:
        """Whether those that were `seen` to be right need as much of it, or more."""
        return self.layer >= seen.layer and self.n_tokens <= seen.n_tokens and self.row <= seen.row


_WAYS = (Fused, Tails, None)  # to compute many cells, from fast to slow; beyond them one by one
# Of each kind the first that is right, and for what it was seen to be.
_known: WeakKeyDictionary[Model, dict[_Kind, tuple[int, list[_Asked]]]] = WeakKeyDictionary()


def patched(
    model: Model,
    trace: Trace,
    source: Trace,
    places: Sequence[Place],
    positions: Sequence[int],
    progress: Progress | None = None,
) -> Tensor:
    """(R, P, D) on the CPU: the last state of the run of `trace` with what `source` has at each
    place and position; all places of one kind. `progress` may raise.

    InputError for a trace that was edited. ModelError where heads are asked for and unknown.
    """
    if trace.edits:
        raise InputError("Patching starts from a clean run, and this one was edited.")
    n_runs = f"{len(places) * len(positions):,} patched runs"
    done = (lambda share: progress(share, n_runs)) if progress else (lambda share: None)
    put = _Put(model, source)
    kind = places[0].part, places[0].head is not None
    n_tokens, known = len(trace.tokens), _known.setdefault(model, {})
    row = fullest_row(n_tokens, positions)
    asked = _Asked(min(place.layer for place in places), n_tokens, sum(n_tokens - p for p in row))
    way, seen = known.get(kind, (0 if model.check.replay_ok else len(_WAYS), []))
    while way < len(_WAYS):
        try:
            rows = _rows(model, trace, put, places)
            found = last_states(model, trace, rows, positions, done, _WAYS[way]).float().cpu()
            if any(asked.within(each) for each in seen):
                return found
            if _right(model, trace, put, places, positions, found, row[-1]):
                known[kind] = way, [each for each in seen if not each.within(asked)] + [asked]
                return found
        except Unfit:
            pass
        way, seen = way + 1, []
        known[kind] = way, seen
        log.info("%s: patched runs of %s take way %d", model.name, kind, way)
    cells = [[(place, position)] for place in places for position in positions]
    states = torch.cat(list(_one_by_one(model, trace, put, cells, done)))
    return states.reshape(len(places), len(positions), -1)


def together(
    model: Model,
    trace: Trace,
    source: Trace,
    cells: Sequence[Sequence[Cell]],
    share: float = 1.0,
) -> Tensor:
    """(n, D) on the CPU: the last states of runs of `trace`, in each of which all of some cells are
    patched. Each is a run of all blocks. With a `share` below 1 what is put in lies so far on the
    way from what is there to what the source has."""
    if trace.edits:
        raise InputError("Patching starts from a clean run, and this one was edited.")
    put: _Put | _Between = _Put(model, source)
    if share != 1:
        put = _Between(_Put(model, trace), _Put(model, source), share)
    return torch.cat(list(_one_by_one(model, trace, put, cells)))


def _one_by_one(
    model: Model,
    trace: Trace,
    put: _Put | _Between,
    cells: Sequence[Sequence[Cell]],
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[Tensor]:
    """(1, D) of each run. Slow, and right for every model."""
    for i, some in enumerate(cells):
        with ExitStack() as open_hooks:
            for place, position in some:
                for swap in put.swaps(place):
                    open_hooks.enter_context(swap.at(position))
            hidden, _, _ = model.forward([trace.token_ids], Recorder(model.architecture))
        progress((i + 1) / len(cells))
        yield hidden[-1, 0, -1:].float().cpu()


def _right(
    model: Model,
    trace: Trace,
    put: _Put,
    places: Sequence[Place],
    positions: Sequence[int],
    found: Tensor,
    behind: int,
) -> bool:
    """Whether three cells are what plain runs make of them. Two are of the lowest layer, since they
    go through all blocks: of those half-way along the prompt, and of those `behind` all others of
    their row, the one that changes most. Half-way there are positions before it, whose keys are
    kept, and later ones; behind all others a block that counts keys by itself (GPT-Neo's window)
    goes wrong first. The third is the one that changes most of all."""
    made = [i for i, p in enumerate(places) if p.layer < model.n_layers or p.part != "stream"]
    if not made:  # the highest states of the stream are put in as they are
        return True
    changes = (found[made] - trace.hidden[-1, -1]).abs().amax(dim=-1)  # (·, P)
    changes = changes.nan_to_num(torch.inf)
    lowest = min(places[i].layer for i in made)
    low = [row for row, i in enumerate(made) if places[i].layer == lowest]
    columns = {len(positions) // 2, list(positions).index(behind)}
    cells = {(low[int(changes[low, column].argmax())], column) for column in columns}
    cells.add(divmod(int(changes.argmax()), len(positions)))
    for row, column in sorted(cells):
        cell = places[made[row]], positions[column]
        [theirs] = _one_by_one(model, trace, put, [[cell]])
        error = (found[made[row], column] - theirs[0]).abs().max()
        if not bool(error / theirs.abs().max().clamp_min(1e-30) <= model.check.agreement):
            return False
    return True


class _Swap(NamedTuple):
    """What one module gives (or is given, where `enters`) in the source: (T, D) rows, put into some
    of the `columns` of what it gives here."""

    module: nn.Module
    rows: Tensor
    enters: bool
    columns: slice = slice(None)

    @contextmanager
    def at(self, position: int | slice) -> Iterator[None]:
        """While open, a run of one prompt has the source's at a position."""

        def put(value: Tensor) -> Tensor:
            state = value.reshape(len(self.rows), -1).clone()  # (T, D)
            state[position, self.columns] = self.rows[position].to(state)
            return state.reshape(value.shape)

        def leave(module: nn.Module, args: Any, output: Any) -> Any:
            return with_state(output, put(state_of(output)))

        def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            state = put(state_in(args, kwargs))
            if args:
                return (state, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": state}

        if self.enters:
            handle = self.module.register_forward_pre_hook(here(enter), with_kwargs=True)
        else:
            handle = self.module.register_forward_hook(here(leave))
        try:
            yield
        finally:
            handle.remove()


class _Put:
    """What a source has at each place."""

    def __init__(self, model: Model, source: Trace) -> None:
        self.model, self.source = model, source
        self._heads: dict[int, Tensor] = {}
        self._outputs: dict[Part, list[list[Tensor]]] = {}

    def swaps(self, place: Place) -> list[_Swap]:
        """One for each module that a place is made of."""
        blocks, block = self.model.architecture.blocks, place.layer - 1
        if place.head is not None:
            module, n_heads = projection(self.model.architecture, block)
            given = self._given(block, module)  # (T, heads * width)
            where = columns(module, n_heads, place.head)
            return [_Swap(module, given[:, where], True, where)]
        if place.part == "stream":
            module = blocks[max(0, block)]
            return [_Swap(module, self.source.hidden[place.layer], place.layer == 0)]
        writes = dict(self.model.architecture.parts())[place.part][block]
        outputs = self.outputs(place.part)[block]
        return [_Swap(w.module, o, False) for w, o in zip(writes, outputs, strict=True)]

    def outputs(self, part: Part) -> list[list[Tensor]]:
        """What each module of a part gave, (T, D), by block."""
        if part not in self._outputs:
            writes = dict(self.model.architecture.parts())[part]
            if all(len(block) == 1 for block in writes):
                added = self.source.attn if part == "attn" else self.source.mlp  # (L, T, D)
                self._outputs[part] = [
                    [each / block[0].scale] for each, block in zip(added, writes, strict=True)
                ]
            else:  # a trace knows their sum only
                ids = self.source.token_ids
                edits = self.model._resolved(self.source.edits, ids, len(ids))
                recorder = Recorder(self.model.architecture, edits, apart=True)
                self.model.forward([self.source.token_ids], recorder)
                self._outputs[part] = [[o[0].float() for o in b] for b in recorder.outputs[part]]
        return self._outputs[part]

    def _given(self, block: int, module: nn.Module) -> Tensor:
        """(T, heads * width): what a projection is given where the source's state enters."""
        if block not in self._heads:
            kept: list[Tensor] = []
            keep = here(lambda module, args: kept.append(args[0][0].clone()))
            into = _Swap(
                self.model.architecture.blocks[block], self.source.hidden[block], enters=True
            )
            handle = module.register_forward_pre_hook(keep)
            try:
                with into.at(slice(None)):
                    recorder = Recorder(self.model.architecture, record=False)
                    self.model.forward([self.source.token_ids], recorder)
            finally:
                handle.remove()
            [self._heads[block]] = kept
        return self._heads[block]


@dataclass(frozen=True)
class _Between:
    """What lies on the straight way from what one run has at each place to what another has."""

    start: _Put
    end: _Put
    share: float

    def swaps(self, place: Place) -> list[_Swap]:
        both = zip(self.start.swaps(place), self.end.swaps(place), strict=True)
        return [
            end._replace(rows=start.rows.float().lerp(end.rows.float(), self.share))
            for start, end in both
        ]


def _rows(model: Model, trace: Trace, put: _Put, places: Sequence[Place]) -> list[Row]:
    """The states that leave each place's block. What follows a write in its block works token by
    token, so one run of the block, patched at all positions, has them for each."""
    if places[0].part == "stream" and places[0].head is None:
        return [Row(place.layer, put.source.hidden[place.layer]) for place in places]
    architecture, network = model.architecture, model._network
    inputs = inputs_of(network, architecture, trace.token_ids)
    rows = []
    for place in places:
        block = place.layer - 1
        given = inputs[block]
        state = trace.hidden[block].to(model.device, model.dtype)
        with torch.inference_mode(), ExitStack() as open_hooks:
            for swap in put.swaps(place):
                open_hooks.enter_context(swap.at(slice(None)))
            shaped = state.reshape(1, len(state), *given.form)
            output = architecture.blocks[block](shaped, *given.args, **given.kwargs)
        rows.append(Row(place.layer, state_of(output).reshape(state.shape)))
    return rows


def slopes(
    model: Model,
    trace: Trace,
    source: Trace,
    part: Part,
    measured: Callable[[Tensor], Tensor],
) -> Tensor:
    """How far the source's states would move one number of a run, each by itself and if all were
    straight: <gradient, source's state - the trace's>, (L + 1, T), or (L, T) of what a part of each
    block adds. `measured` makes the number of the (V,) logits of the last position.

    One forward and one backward pass, in which no parameter receives a gradient.
    """
    if trace.edits:
        raise InputError("Patching starts from a clean run, and this one was edited.")
    architecture, n_tokens = model.architecture, len(trace.tokens)
    kept: dict[tuple[int, int], Tensor] = {}  # block, which of its modules: output

    def after(place: tuple[int, int]) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            kept[place] = state_of(output)
            return with_state(output, kept[place] * 1)  # what comes next may add to it in place

        return here(hook)

    writes = () if part == "stream" else dict(architecture.parts())[part]
    handles = [
        write.module.register_forward_hook(after((block, i)))
        for block, some in enumerate(writes)
        for i, write in enumerate(some)
    ]
    try:
        with (
            torch.inference_mode(False),
            torch.enable_grad(),
            states_with_grad(architecture) as states,
        ):
            ids = trace.token_ids[None].to(model.device).clone()
            logits = model._network(input_ids=ids, use_cache=False, return_dict=True).logits
            kept = kept or {(layer, 0): state for layer, state in enumerate(states)}
            found = torch.autograd.grad(measured(logits[0, -1].float()), list(kept.values()))
    finally:
        for handle in handles:
            handle.remove()
    if part == "stream":
        there, now = ([[each] for each in run.hidden] for run in (source, trace))
    else:
        there, now = (_Put(model, run).outputs(part) for run in (source, trace))
    moved = torch.zeros(len(there), n_tokens, dtype=torch.float64)
    for (row, i), gradient in zip(kept, found, strict=True):
        change = there[row][i].double().cpu() - now[row][i].double().cpu()  # (T, D)
        moved[row] += (gradient.reshape(n_tokens, -1).double().cpu() * change).sum(dim=-1)
    return moved
