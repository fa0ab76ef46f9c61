"""Many patched runs of one prompt at once, each computed from its cell on: upwards, and rightwards.

A run into which a state is put at a layer and a position is the trace's own run below that layer,
and at every layer before that position. So a cell takes the positions from its own to the last, its
tail, and reads the keys and values of those before from the trace. The tails of all positions lie
behind one another in one row of a batch, kept apart by the attention's mask, and row after row, a
layer each, joins the batch on its way up.

Where a block does more with positions than attend to them by a mask, that is wrong (a convolution,
a recurrence): whoever asks compares with a plain run, see `strata.model.patching`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from strata.model.architecture import Architecture
from strata.model.blocks import state_of
from strata.model.replay import Inputs, inputs_of, repeated
from strata.trace import Trace

_TOKENS = 1_000  # that go through a block at once: more leave the processor's cache
_TAILS = 256  # tokens of the tails that share a row: a mask has a place for every two of them
_WHOLES = 4_096  # tokens of whole runs that share a row
_BYTES = 256 * 2**20  # that the states of all rows may take


class Unfit(Exception):
    """This model's blocks cannot be run on tails."""


@dataclass(frozen=True)
class Row:
    """Runs that are patched at one layer, a run for each position: there they have `states`,
    (T, D), at that position, and the trace's own at all others."""

    layer: int
    states: Tensor


class Layout(Protocol):
    """How the runs of one row lie behind one another: N tokens."""

    at: Tensor  # (N,) the position of each
    starts: Tensor  # (P,) where each run has its patched state
    ends: Tensor  # (P,) where each run has its last position

    def run(self, block: int, batch: Tensor) -> Tensor:
        """(n, N, D) states -> those after the block."""

    def ended(self, block: int, batch: Tensor) -> Tensor:
        """(n, N, D) -> (n, P, D): of those after the block each run's last."""


@torch.inference_mode()
def last_states(
    model: Any,
    trace: Trace,
    rows: Sequence[Row],
    positions: Sequence[int],
    progress: Callable[[float], None],
    tails: Callable[[Kept, Sequence[int]], Layout] | None,
) -> Tensor:
    """(R, P, D): the last state of each row's run for each position, in the network's dtype, on its
    device.

    `tails`: how these are computed, `Tails` or `strata.model.fused.Fused`; `Unfit` where that
    cannot be. None: each run at all its positions, for models whose blocks need that. `progress`
    hears which share of the whole is done, and may raise.
    """
    network, architecture = model._network, model.architecture
    inputs = _fit(inputs_of, network, architecture, trace.token_ids, use_cache=bool(tails))
    n_tokens = len(trace.tokens)
    layouts: list[tuple[list[int], Layout]]
    if tails:
        kept = Kept(architecture, inputs, trace, network)
        lengths = [n_tokens - position for position in positions]
        layouts = [(some, tails(kept, some)) for some in _groups(positions, lengths, _TAILS)]
    else:
        lengths = [n_tokens] * len(positions)
        groups = _groups(positions, lengths, _WHOLES)
        layouts = [(some, Wholes(architecture, inputs, trace, some)) for some in groups]
    blocks = sum(len(architecture.blocks) - row.layer for row in rows)
    total, done = blocks * sum(len(layout.at) for _, layout in layouts), 0

    def advance(n_tokens: int) -> None:
        nonlocal done
        done += n_tokens
        progress(done / total)

    found = [
        _of_group(network, architecture, trace, rows, some, layout, advance)
        for some, layout in layouts
    ]
    return torch.cat(found, dim=1)


def _of_group(
    network: Any,
    architecture: Architecture,
    trace: Trace,
    rows: Sequence[Row],
    positions: Sequence[int],
    layout: Layout,
    advance: Callable[[int], None],
) -> Tensor:
    """(R, p, D): of some of the positions."""
    n_layers, n_tokens = len(architecture.blocks), len(layout.at)
    clean = trace.hidden  # (L + 1, T, D)
    put = list(positions)
    last = clean[-1, -1].expand(len(rows), len(put), -1).to(network.device, network.dtype).clone()
    for i, row in enumerate(rows):
        if row.layer == n_layers and put[-1] == clean.shape[1] - 1:
            last[i, -1] = row.states[-1].to(last)
    order = sorted(
        (i for i, r in enumerate(rows) if r.layer < n_layers), key=lambda i: rows[i].layer
    )
    at_once = max(1, int(_BYTES / (n_tokens * clean.shape[-1] * network.dtype.itemsize)))
    for start in range(0, len(order), at_once):
        group = order[start : start + at_once]
        batch = clean[:0, layout.at].to(network.device, network.dtype)  # (0, N, D): no rows yet
        for block in range(rows[group[0]].layer, n_layers):
            joining = [rows[i].states for i in group if rows[i].layer == block]
            if joining:
                own = clean[block][layout.at].repeat(len(joining), 1, 1)  # (·, N, D)
                own[:, layout.starts] = torch.stack(joining)[:, put]
                batch = torch.cat([batch, own.to(batch)])
            through = layout.run if block < n_layers - 1 else layout.ended
            chunk = max(1, _TOKENS // n_tokens)
            batch = torch.cat([through(block, some) for some in batch.split(chunk)])
            advance(len(batch) * n_tokens)
        last[group] = batch
    return last


def fullest_row(n_tokens: int, positions: Sequence[int]) -> list[int]:
    """Of the positions, those whose tails share the row that has most tokens."""
    groups = _groups(positions, [n_tokens - position for position in positions], _TAILS)
    return max(groups, key=lambda some: sum(n_tokens - position for position in some))


def _groups(positions: Sequence[int], lengths: Sequence[int], most: int) -> list[list[int]]:
    """Positions whose runs, so many tokens each, share a row."""
    groups: list[list[int]] = []
    room = 0
    for position, length in zip(positions, lengths, strict=True):
        if length > room:
            groups.append([])
            room = max(most, length)
        groups[-1].append(position)
        room -= length
    return groups


def _fit(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a call gives; `Unfit` where it fails for anything but want of memory."""
    try:
        return call(*args, **kwargs)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise Unfit from error


class Wholes:
    """Runs at all their positions, behind one another; blocks get each as a row of its own."""

    def __init__(
        self,
        architecture: Architecture,
        inputs: Sequence[Inputs],
        trace: Trace,
        positions: Sequence[int],
    ) -> None:
        self.architecture, self.inputs = architecture, inputs
        self.n_tokens = n_tokens = len(trace.tokens)
        begins = torch.arange(len(positions)) * n_tokens
        self.at = torch.arange(n_tokens).repeat(len(positions))
        self.starts = begins + torch.tensor(positions)
        self.ends = begins + n_tokens - 1

    def run(self, block: int, batch: Tensor) -> Tensor:
        given = self.inputs[block]
        rows = batch.reshape(-1, self.n_tokens, *given.form)
        args, kwargs = (repeated(each, len(rows)) for each in (given.args, given.kwargs))
        output = self.architecture.blocks[block](rows, *args, **kwargs)
        return state_of(output).reshape(batch.shape)

    def ended(self, block: int, batch: Tensor) -> Tensor:
        return self.run(block, batch)[:, self.ends]


class Tails:
    """Runs from their patched position on, behind one another, with the trace's keys before."""

    def __init__(self, kept: Kept, positions: Sequence[int]) -> None:
        self.kept = kept
        lengths = torch.tensor([kept.n_tokens - position for position in positions])
        self.ends = lengths.cumsum(dim=0) - 1
        self.starts = self.ends - lengths + 1
        self.at = torch.cat([torch.arange(p, kept.n_tokens) for p in positions])  # (N,)
        begun = torch.tensor(positions).repeat_interleave(lengths)  # (N,) where its tail begins
        before = torch.arange(kept.n_tokens) < begun[:, None]  # (N, T): keys of the trace
        tail = torch.arange(len(positions)).repeat_interleave(lengths)
        self.seen = torch.cat([before, tail == tail[:, None]], dim=1)  # (N, T + N)
        self.keys = torch.cat([torch.arange(kept.n_tokens), self.at])  # (T + N,) their positions

    def run(self, block: int, batch: Tensor) -> Tensor:
        given = self.kept.arguments[block]
        own = {name: self._own(name, value) for name, value in given.items()}
        own = repeated(own, len(batch)) | {self.kept.cache: self.kept.reader(block)}
        rows = batch.reshape(*batch.shape[:2], *self.kept.inputs[block].form)
        output = _fit(self.kept.architecture.blocks[block], rows, **own)
        return state_of(output).reshape(batch.shape)

    def ended(self, block: int, batch: Tensor) -> Tensor:
        return self.run(block, batch)[:, self.ends]

    def _own(self, name: str, value: Any) -> Any:
        """What a block is called with for T tokens, for the N of this layout."""
        n_tokens = self.kept.n_tokens
        if isinstance(value, (tuple, list)):
            return tuple(self._own("", each) for each in value)
        if name == "attention_mask":
            return self._mask(value)
        if not isinstance(value, Tensor):
            return value
        if value.ndim > 1 and value.shape[:2] == (1, n_tokens):  # angles, numbers of positions
            return value[:, self.at]
        if value.shape == (n_tokens,):
            return value[self.at]
        if value.ndim == 3 and value.shape[1:] == (1, n_tokens):  # ALiBi: what each key is worth
            return value[..., self.keys]
        return value

    def _mask(self, mask: Tensor | None) -> Tensor:
        """(1, 1 or heads, N, T + N), in the form of the model's own."""
        n_tokens, device = self.kept.n_tokens, self.kept.device
        if mask is None:  # understood as: every position before, and its own
            mask = torch.ones(1, 1, n_tokens, n_tokens, dtype=torch.bool, device=device).tril()
        if mask.ndim != 4 or mask.shape[-2:] != (n_tokens, n_tokens):
            raise Unfit
        wanted = mask[..., self.at[:, None], self.keys]  # (·, ·, N, T + N)
        seen = self.seen.to(device)
        if mask.dtype == torch.bool:
            return wanted & seen
        return wanted.masked_fill(~seen, torch.finfo(mask.dtype).min)


class Kept:
    """The keys and values of a trace's own run, by block, and what blocks are called with."""

    def __init__(
        self, architecture: Architecture, inputs: Sequence[Inputs], trace: Trace, network: Any
    ) -> None:
        self.architecture, self.inputs = architecture, inputs
        self.n_tokens, self.device = len(trace.tokens), network.device
        self.states = trace.hidden.to(network.device, network.dtype)  # (L + 1, T, D)
        self._kept: dict[int, dict[Any, tuple[Tensor, Tensor]]] = {}
        self.cache = ""
        self.arguments = [
            self._named(block, given)
            for block, given in zip(architecture.blocks, inputs, strict=True)
        ]

    def reader(self, block: int) -> _Reader:
        """What a block takes for its cache: found by running it on the trace's states, once."""
        if block not in self._kept:
            writer = _Writer()
            state = self.states[block].reshape(1, self.n_tokens, *self.inputs[block].form)
            given = self.arguments[block] | {self.cache: writer}
            _fit(self.architecture.blocks[block], state, **given)
            if not writer.kept:  # it remembers nothing by position
                raise Unfit
            self._kept[block] = writer.kept
        return _Reader(self._kept[block])

    def _named(self, block: nn.Module, given: Inputs) -> dict[str, Any]:
        """Arguments by name, but for state and cache; `cache` becomes the latter's name."""
        named: dict[str, Any] = dict(given.kwargs)
        if given.args:
            names = list(inspect.signature(block.forward).parameters)
            named |= dict(zip(names[1:], given.args, strict=False))
        caches = [name for name, value in named.items() if hasattr(value, "get_seq_length")]
        if len(caches) != 1 or "attention_mask" not in named:
            raise Unfit
        [self.cache] = caches
        return {name: value for name, value in named.items() if name != self.cache}


class _Writer:
    """A cache that remembers what one run of a block gives it."""

    def __init__(self) -> None:
        self.kept: dict[Any, tuple[Tensor, Tensor]] = {}

    def update(
        self, keys: Tensor, values: Tensor, layer: Any, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        self.kept[layer] = keys, values
        return keys, values

    def get_seq_length(self, *args: Any) -> int:
        return 0


class _Reader:
    """A cache that puts what was remembered before a run's own keys and values."""

    def __init__(self, kept: dict[Any, tuple[Tensor, Tensor]]) -> None:
        self.kept = kept

    def update(
        self, keys: Tensor, values: Tensor, layer: Any, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        before = [each.expand(len(keys), *each.shape[1:]) for each in self.kept[layer]]
        return torch.cat([before[0], keys], dim=-2), torch.cat([before[1], values], dim=-2)

    def get_seq_length(self, *args: Any) -> int:
        return next(iter(self.kept.values()))[0].shape[-2]
