"""A seeded sample of a model's states at the token positions of texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.corpus import datasets
from strata.corpus.passages import LONGEST_TEXT, fitting, passages, split
from strata.corpus.states import (
    COMPACT,
    FEWEST,
    MOST,
    Sample,
    Source,
    first_batches,
    n_bytes_of,
    shares,
)
from strata.errors import InputError
from strata.model import sinks
from strata.trace import ModelCheck

if TYPE_CHECKING:
    from strata.model import Model

Progress = Callable[[float, str], None]

_TEXTS = 100  # of more texts this many are drawn first, and positions from these only


@dataclass(eq=False)
class Reading:
    """A sample on the way: which positions of which texts, and the states of what has been read.

    It can be left between two batches, by whatever `progress` raises, and gone on with later.
    """

    texts: tuple[str, ...]
    lengths: dict[int, int]  # tokens of each text drawn
    text: NDArray[np.int64]  # (n,)
    position: NDArray[np.int64]  # (n,)
    stream: Tensor  # (L + 1, n, D) float32, or float16 where there is a `scale`
    writes: Tensor | None  # (2, L, n, D)
    scale: Tensor | None  # (L + 1, n) float32, as of `Sample`
    keep: NDArray[np.bool_]  # (n,) False: a sink, to be left out
    n_asked: int
    n_available: int
    skip_sinks: bool
    tokens: dict[int, tuple[str, ...]] = field(default_factory=dict)  # of the texts read so far
    checks: list[ModelCheck] = field(default_factory=list)
    refusal: str = ""

    @property
    def n_bytes(self) -> int:
        """Memory held for the states, in bytes."""
        return n_bytes_of(self.stream, self.scale, self.writes)

    def finished(self, model: Model, progress: Progress | None = None) -> Sample:
        """The sample, once the texts that are missing are read. `progress` is called before each
        batch. InputError where fewer than 4 positions are left."""
        self._go_on(model, 0, progress)
        return self._taken(self.keep, self.tokens)

    def beginning(self, model: Model, read: int, progress: Progress | None = None) -> Sample:
        """The sample as far as so many texts take it, once they are read."""
        self._go_on(model, read, progress)
        texts = [i for batch in first_batches(self._to_read, read) for i in batch]
        rows = self.keep & np.isin(self.text, texts)
        if rows.sum() < FEWEST or len(texts) == len(self._to_read):
            return self.finished(model, progress)
        return self._taken(rows, {i: self.tokens[i] for i in texts})

    @property
    def _to_read(self) -> dict[int, int]:
        """Tokens of each text that has one of the positions."""
        return {i: self.lengths[i] for i in np.unique(self.text).tolist()}

    @property
    def is_whole(self) -> bool:
        """Whether all texts are read."""
        return len(self.tokens) == len(self._to_read)

    def _go_on(self, model: Model, read: int, progress: Progress | None) -> None:
        for batch in first_batches(self._to_read, read):
            if batch[0] in self.tokens:
                continue
            if progress is not None:
                n_read, n_texts = len(self.tokens), len(self.lengths)
                progress(n_read / n_texts, f"Reading text {n_read + 1} of {n_texts}")
            self._read(model, batch)

    def _taken(self, rows: NDArray[np.bool_], tokens: Mapping[int, tuple[str, ...]]) -> Sample:
        left = torch.from_numpy(np.flatnonzero(rows))
        if len(left) < FEWEST:
            raise InputError(
                "Nearly all of these tokens are attention sinks; include them, or use other texts."
            )
        stream, scale, writes = self.stream, self.scale, self.writes
        if len(left) < len(rows):
            stream = stream[:, left]
            scale = None if scale is None else scale[:, left]
            writes = None if writes is None else writes[:, :, left]
        n_batches = len(first_batches({i: self.lengths[i] for i in tokens}, 0))
        sinks_in, counts = np.unique(self.text[~self.keep], return_counts=True)
        n_sinks = dict(zip(sinks_in.tolist(), counts.tolist(), strict=True))
        return Sample(
            texts=self.texts,
            tokens=tokens,
            text=self.text[rows],
            position=self.position[rows],
            stream=stream,
            writes=None if self.refusal else writes,
            refusal=self.refusal,
            n_asked=self.n_asked,
            n_available=self.n_available,
            sinks_of={i: n_sinks[i] for i in tokens if i in n_sinks},
            checks=tuple(self.checks[:n_batches]),
            scale=scale,
            n_unread=len(self._to_read) - len(tokens),
        )

    def _read(self, model: Model, batch: list[int]) -> None:
        traces = model.capture_many([self.texts[i] for i in batch], states_only=True)
        self.checks.append(traces[0].check)
        for i, trace in zip(batch, traces, strict=True):
            [rows] = np.nonzero(self.text == i)
            states = trace.hidden[:, self.position[rows]]  # (L + 1, m, D)
            if self.scale is not None:
                states, self.scale[:, rows] = shares(states)
            self.stream[:, rows] = states
            if self.writes is None:
                self.refusal = COMPACT
            elif trace.writes is None:
                self.refusal = trace.refusal
            else:
                self.writes[:, :, rows] = trace.writes[:, :, self.position[rows]]
            if self.skip_sinks:
                norms = sinks.norms_of(trace.hidden)
                self.keep[rows] = ~sinks.which(norms)[self.position[rows]]
            self.tokens[i] = trace.tokens


def require_room(model: Model, source: Source, n_bytes: int) -> None:
    """InputError if the sample takes more than `n_bytes`: for each position 3 L + 1 states of D
    numbers, L + 1 of half as many bytes if it is compact."""
    each = (3 * model.n_layers + 1) * model.d_model * torch.float32.itemsize
    if source.compact:
        each = (model.n_layers + 1) * (
            model.d_model * torch.float16.itemsize + torch.float32.itemsize
        )
    n, most = source.n, n_bytes // each
    if n <= most:
        return
    do = f"sample at most {most:,}" if most >= FEWEST else "choose a smaller model"
    raise InputError(
        f"{n:,} token positions of {model.name} take {n * each / 1e6:,.0f} MB and there is "
        f"room for {n_bytes / 1e6:,.0f} MB; {do}."
    )


# -- states -----------------------------------------------------------------------------------


def draw(
    model: Model, source: Source, prompts: Sequence[str], progress: Progress | None = None
) -> Sample:
    """The sample that a job asks for: of the shipped passages, its own prompts, or the hub's texts.

    Only a listed text is ever fetched, see `strata.corpus.datasets.read`.
    """
    return begun(model, source, prompts, progress).finished(model, progress)


def begun(
    model: Model, source: Source, prompts: Sequence[str], progress: Progress | None = None
) -> Reading:
    """The same before a text is read."""
    if source.corpus == "strata":
        # One longer than the model reads is cut, not halved: they are told apart by their number.
        texts = [fitting(model, [text])[0] for text in passages().values()]
    else:
        if source.corpus != "own":
            prompts = [datasets.read(source.corpus, LONGEST_TEXT, progress)]
        texts = fitting(model, [passage for prompt in prompts for passage in split(prompt)])
    return _begun(
        model,
        texts,
        source.n,
        source.seed,
        skip_first=source.skip_first,
        skip_sinks=source.skip_sinks,
        compact=source.compact,
    )


def sample(
    model: Model,
    texts: Sequence[str],
    n: int = 2_000,
    seed: int = 0,
    *,
    skip_first: bool = True,
    skip_sinks: bool = False,
    compact: bool = False,
    progress: Progress | None = None,
) -> Sample:
    """The model's states at n token positions, drawn with a seed from all positions of the texts.

    In random order, each position once; all of them if there are fewer than n. Of more than 100
    texts, first a hundred are drawn (more, if these hold fewer than n positions), so that a long
    file costs no more than a short one. The first token of each text is left out unless
    `skip_first` is False: often it is an attention sink, a hundred times larger than the rest, and
    a few of these decide every mean and variance. There may be more of them, as where a word is
    repeated: with `skip_sinks` those among the n positions that are sinks in their text, by the
    rule of `hidden_states.sinks`, are left out too. `compact`: see `Sample.compacted`. `progress`
    is called before each batch and may raise. InputError where a text is refused, or where fewer
    than 4 positions can be had. Seed 001.
    """
    how = {"skip_first": skip_first, "skip_sinks": skip_sinks, "compact": compact}
    return _begun(model, texts, n, seed, **how).finished(model, progress)


def _begun(
    model: Model,
    texts: Sequence[str],
    n: int,
    seed: int,
    *,
    skip_first: bool,
    skip_sinks: bool,
    compact: bool,
) -> Reading:
    """The positions of a sample, drawn; nothing of it is read yet."""
    if not FEWEST <= n <= MOST:
        raise InputError(f"A sample has {FEWEST} to {MOST:,} positions, not {n:,}.")
    rng = np.random.default_rng(seed)
    first = int(skip_first)
    lengths: dict[int, int] = {}  # tokens of each text drawn
    available = 0
    for i in rng.permutation(len(texts)).tolist():
        if len(lengths) >= _TEXTS and available >= n:
            break
        lengths[i] = len(model.encode(texts[i]))
        available += lengths[i] - first
    if available < FEWEST:
        raise InputError(
            f"These texts have {available} token positions to sample; use at least a few sentences."
        )
    order = sorted(lengths)
    text = np.repeat(order, [lengths[i] - first for i in order])
    position = np.concatenate([np.arange(first, lengths[i]) for i in order])
    chosen = rng.permutation(available)[:n]
    text, position = text[chosen], position[chosen]

    n_layers, size = model.n_layers, (len(chosen), model.d_model)
    dtype = torch.float16 if compact else torch.float32
    return Reading(
        texts=tuple(texts),
        lengths=lengths,
        text=text,
        position=position,
        stream=torch.empty(n_layers + 1, *size, dtype=dtype),
        writes=None if compact else torch.empty(2, n_layers, *size),
        scale=torch.empty(n_layers + 1, len(chosen)) if compact else None,
        keep=np.ones(len(chosen), dtype=bool),
        n_asked=n,
        n_available=available,
        skip_sinks=skip_sinks,
    )
