"""A seeded sample of a model's states at the token positions of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from strata.corpus import datasets
from strata.corpus.passages import LONGEST_TEXT, fitting, passages, split
from strata.errors import InputError, ModelError
from strata.model import sinks
from strata.trace import ModelCheck, Part

if TYPE_CHECKING:
    from strata.model import Model

Progress = Callable[[float, str], None]

FEWEST, MOST = 4, 10_000  # positions of a sample
_TEXTS = 100  # of more texts this many are drawn first, and positions from these only
_BATCH_TOKENS = 1_024  # padding included
_TINY = torch.finfo(torch.float32).tiny
_COMPACT = "This sample holds the stream alone, without what attention and MLP wrote."


class Source(BaseModel):
    """What a job says of the sample: which texts, how many positions, which seed.

    `corpus`: "strata" (the shipped passages), "own" (the job's prompts) or an id of texts.toml.
    `skip_first`: without the first token of each text, `skip_sinks`: without attention sinks, see
    `sample`. `compact`: the stream alone, in a sixth of the memory, see `Sample.compacted`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corpus: str = "strata"
    n: int = Field(2_000, ge=FEWEST, le=MOST)
    seed: int = Field(0, ge=0, lt=2**32)
    skip_first: bool = True
    skip_sinks: bool = True
    compact: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """States at n token positions of several texts, at all layers and parts of one model.

    Of sample i the token is `tokens[text[i]][position[i]]`: `text` counts the `texts` that were
    given, `tokens` holds those that were read. `n_asked` positions were asked for, `n_available`
    were there to choose from, and of those chosen `n_sinks` were left out as attention sinks.
    `check` is the worst of the identities, over one text a batch.
    """

    texts: tuple[str, ...]
    tokens: Mapping[int, tuple[str, ...]]
    text: NDArray[np.int64]  # (n,)
    position: NDArray[np.int64]  # (n,)
    stream: Tensor  # (L + 1, n, D) float32, or float16 where there is a `scale`
    writes: Tensor | None  # (2, L, n, D) attention first, then MLP; None: `refusal` says why
    refusal: str
    n_asked: int
    n_available: int
    n_sinks: int
    check: ModelCheck
    scale: Tensor | None = None  # (L + 1, n) float32: the largest entry of each state
    _measured: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.position)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that there are states of."""
        return get_args(Part) if self.writes is not None else ("stream",)

    def layers(self, part: Part) -> range:
        """The layers of a part: 0 to L for the stream, 1 to L for what a part added to make it."""
        return range(int(part != "stream"), len(self.stream))

    def states(self, layer: int, part: Part = "stream") -> Tensor:
        """(n, D): the stream at a layer, or what attention or MLP added to make that layer.

        InputError where there is no such layer or part; ModelError where writes cannot be trusted.
        """
        if part not in get_args(Part):
            raise InputError(f"A part is stream, attn or mlp, not {part!r}.")
        layers = self.layers(part)
        if layer not in layers:
            raise InputError(
                f"Layer {layer} of {part} does not exist: layers are {layers[0]} to {layers[-1]}."
            )
        if part == "stream":
            states = self.stream[layer]
            return states if self.scale is None else states.float() * self.scale[layer, :, None]
        if self.writes is None:
            raise ModelError(self.refusal)
        return self.writes[("attn", "mlp").index(part), layer - 1]

    def measured(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of the stream at a layer, measured once: the mean of each dimension (D,), its standard
        deviation (D,), and how long each state is (n,) in these, from the mean. A dimension that is
        the same in all states counts for nothing."""
        found = self._measured.get(layer)
        if found is None:
            states = self.states(layer)
            spread, mean = torch.std_mean(states, dim=0, correction=0)
            apart = (states - mean) / torch.where(spread > 0, spread, torch.inf)
            found = self._measured[layer] = mean, spread, apart.norm(dim=1)
        return found

    @property
    def n_bytes(self) -> int:
        """Memory held by the states, in bytes."""
        return _n_bytes(self.stream, self.scale, self.writes)

    def compacted(self) -> Sample:
        """The stream alone, each number a 16-bit share of the largest of its state: a sixth of the
        memory, right to 1 in 2,000, and no state is too long for 16 bits."""
        if self.scale is not None:
            return self
        stream, scale = _shares(self.stream)
        return replace(self, stream=stream, scale=scale, writes=None, refusal=_COMPACT)


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
        return _n_bytes(self.stream, self.scale, self.writes)

    def finished(self, model: Model, progress: Progress | None = None) -> Sample:
        """The sample, once the texts that are missing are read. `progress` is called before each
        batch. InputError where fewer than 4 positions are left."""
        of = {i: self.lengths[i] for i in np.unique(self.text).tolist()}
        for batch in _batches({i: n for i, n in of.items() if i not in self.tokens}):
            if progress is not None:
                n_read, n_texts = len(self.tokens), len(self.lengths)
                progress(n_read / n_texts, f"Reading text {n_read + 1} of {n_texts}")
            self._read(model, batch)
        left = torch.from_numpy(np.flatnonzero(self.keep))
        if len(left) < FEWEST:
            raise InputError(
                "Nearly all of these tokens are attention sinks; include them, or use other texts."
            )
        stream, scale, writes = self.stream, self.scale, self.writes
        if len(left) < len(self.keep):
            stream = stream[:, left]
            scale = None if scale is None else scale[:, left]
            writes = None if writes is None else writes[:, :, left]
        return Sample(
            texts=self.texts,
            tokens=self.tokens,
            text=self.text[self.keep],
            position=self.position[self.keep],
            stream=stream,
            writes=None if self.refusal else writes,
            refusal=self.refusal,
            n_asked=self.n_asked,
            n_available=self.n_available,
            n_sinks=len(self.keep) - len(left),
            check=worst(self.checks),
            scale=scale,
        )

    def _read(self, model: Model, batch: list[int]) -> None:
        traces = model.capture_many([self.texts[i] for i in batch], states_only=True)
        self.checks.append(traces[0].check)
        for i, trace in zip(batch, traces, strict=True):
            [rows] = np.nonzero(self.text == i)
            states = trace.hidden[:, self.position[rows]]  # (L + 1, m, D)
            if self.scale is not None:
                states, self.scale[:, rows] = _shares(states)
            self.stream[:, rows] = states
            if self.writes is None:
                self.refusal = _COMPACT
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


def _shares(states: Tensor) -> tuple[Tensor, Tensor]:
    """(..., D) states -> the same as float16 shares of their largest entries, and these (...)."""
    largest = states.abs().amax(dim=-1)
    return (states / largest.clamp_min(_TINY)[..., None]).half(), largest


def _n_bytes(*tensors: Tensor | None) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def _batches(lengths: Mapping[int, int]) -> Iterator[list[int]]:
    """The texts in groups of similar length that are run together."""
    batch: list[int] = []
    for i in sorted(lengths, key=lambda i: (lengths[i], i)):
        if batch and lengths[i] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def worst(checks: Sequence[ModelCheck]) -> ModelCheck:
    """The largest errors, with the first reason there is."""
    lens, writes, read_back = (
        float(np.max([getattr(check, name) for check in checks]))
        for name in ("lens_error", "write_error", "read_back_error")
    )
    reason = next(filter(None, (check.reason for check in checks)), "")
    allowed = max(check.lens_tolerance for check in checks)
    return ModelCheck(lens, writes, reason, read_back, lens_tolerance=allowed)
