"""States at token positions of several texts, as data: which, and what was captured there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from strata.errors import InputError, ModelError
from strata.trace import ModelCheck, Part

FEWEST, MOST = 4, 10_000  # positions of a sample
COMPACT = "This sample holds the stream alone, without what attention and MLP wrote."
_BATCH_TOKENS = 1_024  # padding included
_TINY = torch.finfo(torch.float32).tiny


class Source(BaseModel):
    """What a job says of the sample: which texts, how many positions, which seed.

    `corpus`: "strata" (the shipped passages), "own" (the job's prompts) or an id of texts.toml.
    `skip_first`: without the first token of each text, `skip_sinks`: without attention sinks, see
    `sample`. `compact`: the stream alone, in a sixth of the memory, see `Sample.compacted`.
    `read`: the same sample as far as so many texts take it, or a batch's others too; 0: all of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corpus: str = "strata"
    n: int = Field(2_000, ge=FEWEST, le=MOST)
    seed: int = Field(0, ge=0, lt=2**32)
    skip_first: bool = True
    skip_sinks: bool = True
    compact: bool = False
    read: int = Field(0, ge=0)

    @property
    def whole(self) -> Source:
        """The sample of which this one is the beginning."""
        return self.model_copy(update={"read": 0})


@dataclass(frozen=True, eq=False)
class Sample:
    """States at n token positions of several texts, at all layers and parts of one model.

    Of sample i the token is `tokens[text[i]][position[i]]`: `text` counts the `texts` that were
    given, `tokens` holds those that were read. `n_asked` positions were asked for, `n_available`
    were there to choose from, and of those chosen `n_sinks` were left out as attention sinks, by
    text in `sinks_of`. `check` is the worst of the identities, over one text a batch (`checks`).
    `n_unread` texts are still to be read, where this is the beginning of a sample.
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
    sinks_of: Mapping[int, int]
    checks: tuple[ModelCheck, ...]
    scale: Tensor | None = None  # (L + 1, n) float32: the largest entry of each state
    n_unread: int = 0
    _measured: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.position)

    @property
    def n_sinks(self) -> int:
        return sum(self.sinks_of.values())

    @property
    def check(self) -> ModelCheck:
        return worst(self.checks)

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
        return n_bytes_of(self.stream, self.scale, self.writes)

    def beginning(self, read: int) -> Sample:
        """What this sample was when so many of its texts, and the others of a batch, were read."""
        batches = first_batches({i: len(tokens) for i, tokens in self.tokens.items()}, read)
        texts = [i for batch in batches for i in batch]
        rows = np.isin(self.text, texts)
        if rows.sum() < FEWEST or len(texts) == len(self.tokens):
            return self
        left = torch.from_numpy(np.flatnonzero(rows))
        return replace(
            self,
            tokens={i: self.tokens[i] for i in texts},
            text=self.text[rows],
            position=self.position[rows],
            sinks_of={i: self.sinks_of[i] for i in texts if i in self.sinks_of},
            checks=self.checks[: len(batches)],
            stream=self.stream[:, left],
            writes=None if self.writes is None else self.writes[:, :, left],
            scale=None if self.scale is None else self.scale[:, left],
            n_unread=len(self.tokens) - len(texts),
        )

    def compacted(self) -> Sample:
        """The stream alone, each number a 16-bit share of the largest of its state: a sixth of the
        memory, right to 1 in 2,000, and no state is too long for 16 bits."""
        if self.scale is not None:
            return self
        stream, scale = shares(self.stream)
        return replace(self, stream=stream, scale=scale, writes=None, refusal=COMPACT)


def shares(states: Tensor) -> tuple[Tensor, Tensor]:
    """(..., D) states -> the same as float16 shares of their largest entries, and these (...)."""
    largest = states.abs().amax(dim=-1)
    return (states / largest.clamp_min(_TINY)[..., None]).half(), largest


def n_bytes_of(*tensors: Tensor | None) -> int:
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def first_batches(lengths: Mapping[int, int], read: int) -> list[list[int]]:
    """The first batches, with at least so many texts; all of them where that is 0."""
    batches = list(_batches(lengths))
    ends = np.cumsum([len(batch) for batch in batches])
    return batches[: int(np.searchsorted(ends, read)) + 1] if read else batches


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
