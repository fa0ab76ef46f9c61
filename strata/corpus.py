"""Texts to measure a model on, and a seeded sample of its states at their token positions.

The shipped passages were written for Strata. A learner's own text, or one from the hub, is cut into
passages of about the same size; a learner's lives in memory only.
"""

from __future__ import annotations

import codecs
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from strata import datasets, run
from strata.errors import InputError, ModelError
from strata.trace import ModelCheck, Part

if TYPE_CHECKING:
    from strata.model import Model

Progress = Callable[[float, str], None]

FEWEST, MOST = 4, 10_000  # positions of a sample
LONGEST_TEXT = 200_000  # characters of a learner's own text
LARGEST_FILE = 2 * 1024 * 1024  # bytes of the file that it comes in
_PASSAGE = (
    600  # characters of a passage cut from a longer text, about as many as those shipped have
)
_TEXTS = 100  # of more texts this many are drawn first, and positions from these only
_BATCH_TOKENS = 1_024  # padding included
_TOKENS_PER_CHARACTER = 8  # more than any tokenizer needs: a shorter text is not too long
_PASSAGES = Path(__file__).parent / "texts" / "passages.txt"


class Source(BaseModel):
    """What a job says of the sample: which texts, how many positions, which seed.

    `corpus`: "strata" (the shipped passages), "own" (the job's prompts) or an id of texts.toml.
    `skip_first`: without the first token of each text, see `sample`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    corpus: str = "strata"
    n: int = Field(2_000, ge=FEWEST, le=MOST)
    seed: int = Field(0, ge=0, lt=2**32)
    skip_first: bool = True


@dataclass(frozen=True, eq=False)
class Sample:
    """States at n token positions of several texts, at all layers and parts of one model.

    Of sample i the token is `tokens[text[i]][position[i]]`: `text` counts the `texts` that were
    given, `tokens` holds those that were read. `n_asked` positions were asked for, `n_available`
    were there to choose from. `check` is the worst of both identities, over one text a batch.
    """

    texts: tuple[str, ...]
    tokens: Mapping[int, tuple[str, ...]]
    text: NDArray[np.int64]  # (n,)
    position: NDArray[np.int64]  # (n,)
    stream: Tensor  # (L + 1, n, D) float32
    writes: Tensor | None  # (2, L, n, D) attention first, then MLP; None: `refusal` says why
    refusal: str
    n_asked: int
    n_available: int
    check: ModelCheck

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
            return self.stream[layer]
        if self.writes is None:
            raise ModelError(self.refusal)
        return self.writes[("attn", "mlp").index(part), layer - 1]

    @property
    def n_bytes(self) -> int:
        """Memory held by the states, in bytes."""
        return sum(
            t.numel() * t.element_size() for t in (self.stream, self.writes) if t is not None
        )


def require_room(model: Model, n: int, n_bytes: int) -> None:
    """InputError if n positions take more than `n_bytes`: 3 L + 1 states of D numbers each."""
    each = (3 * model.n_layers + 1) * model.d_model * torch.float32.itemsize
    if n * each > n_bytes:
        raise InputError(
            f"{n:,} token positions of {model.name} take {n * each / 1e6:,.0f} MB and there is "
            f"room for {n_bytes / 1e6:,.0f} MB; sample at most {n_bytes // each:,}."
        )


# -- texts ------------------------------------------------------------------------------------


@cache
def passages() -> dict[str, str]:
    """The shipped passages by id, in their order: neutral prose on varied subjects."""
    entries = _PASSAGES.read_text(encoding="utf-8").strip().split("\n\n")
    parted = (entry.removeprefix("# ").partition("\n") for entry in entries)
    return {name: text for name, _, text in parted}


def decoded(content: bytes) -> tuple[str, str]:
    """A text file's content as text, and a note on what was done to it ("" where nothing was).

    UTF-8 and UTF-16 are recognised; what is neither is read as Latin-1. Text over 200,000
    characters is cut. InputError where there is no text, and for a file over 2 MB.
    """
    if len(content) > LARGEST_FILE:
        raise InputError("This file is larger than 2 MB; choose a smaller one.")
    notes = []
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", errors="replace")
    else:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = content.decode("latin-1")
            notes.append("it is not UTF-8 and was read as Latin-1, so accents may be wrong")
    if "\x00" in text:
        raise InputError("This is not a text file; save it as plain text in UTF-8.")
    if not text.strip():
        raise InputError("This file holds no text.")
    if len(text) > LONGEST_TEXT:
        notes.append(f"only the first {LONGEST_TEXT:,} of its {len(text):,} characters are used")
        text = text[:LONGEST_TEXT]
    return text, "; ".join(notes)


def split(text: str, longest: int = _PASSAGE) -> list[str]:
    """A longer text as passages of at most `longest` characters that end with a sentence.

    Only a sentence longer than that is cut, between words where there are any. A new paragraph
    does not begin a new passage: lines of dialogue would make passages of a few tokens.
    """
    result: list[str] = []
    for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n", text):
        for piece in textwrap.wrap(sentence, longest):  # also joins the lines of a paragraph
            if result and len(result[-1]) + 1 + len(piece) <= longest:
                result[-1] += " " + piece
            else:
                result.append(piece)
    return result


def fitting(model: Model, texts: Sequence[str]) -> list[str]:
    """The texts, each halved until it is within the model's limit: some scripts take many tokens.

    InputError where a text is refused for another reason than its length.
    """
    result = []
    for text in texts:
        try:
            model.encode(text)
        except InputError:
            if len(text) <= model.prompt_limit // _TOKENS_PER_CHARACTER:
                raise
            middle = len(text) // 2
            result += fitting(model, [text[:middle], text[middle:]])
        else:
            result.append(text)
    return result


# -- states -----------------------------------------------------------------------------------


def draw(
    model: Model, source: Source, prompts: Sequence[str], progress: Progress | None = None
) -> Sample:
    """The sample that a job asks for: of the shipped passages, its own prompts, or the hub's texts.

    Only a listed text is ever fetched, see `strata.datasets.read`.
    """
    texts = list(passages().values())
    if source.corpus != "strata":
        if source.corpus != "own":
            prompts = [datasets.read(source.corpus, LONGEST_TEXT, progress)]
        texts = fitting(model, [passage for prompt in prompts for passage in split(prompt)])
    return sample(
        model, texts, source.n, source.seed, skip_first=source.skip_first, progress=progress
    )


def sample(
    model: Model,
    texts: Sequence[str],
    n: int = 2_000,
    seed: int = 0,
    *,
    skip_first: bool = True,
    progress: Progress | None = None,
) -> Sample:
    """The model's states at n token positions, drawn with a seed from all positions of the texts.

    In random order, each position once; all of them if there are fewer than n. Of more than 100
    texts, first a hundred are drawn (more, if these hold fewer than n positions), so that a long
    file costs no more than a short one. The first token of each text is left out unless
    `skip_first` is False: often it is an attention sink, a hundred times larger than the rest, and
    a few of these decide every mean and variance. `progress` is called before each batch and may
    raise. InputError where a text is refused, or where fewer than 4 positions can be had. Seed 001.
    """
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

    tokens: dict[int, tuple[str, ...]] = {}
    stream = torch.empty(model.n_layers + 1, len(chosen), model.d_model)
    writes = torch.empty(2, model.n_layers, len(chosen), model.d_model)
    refusal, checks = "", []
    for batch in _batches({i: lengths[i] for i in np.unique(text).tolist()}):
        if progress is not None:
            progress(
                len(tokens) / len(lengths), f"Reading text {len(tokens) + 1} of {len(lengths)}"
            )
        traces = model.capture_many([texts[i] for i in batch])
        checks.append(traces[0].check)
        for i, trace in zip(batch, traces, strict=True):
            tokens[i] = trace.tokens
            [rows] = np.nonzero(text == i)
            stream[:, rows] = trace.hidden[:, position[rows]]
            if trace.writes is None:
                refusal = trace.refusal
            else:
                writes[:, :, rows] = trace.writes[:, :, position[rows]]
    return Sample(
        texts=tuple(texts),
        tokens=tokens,
        text=text,
        position=position,
        stream=stream,
        writes=None if refusal else writes,
        refusal=refusal,
        n_asked=n,
        n_available=available,
        check=_worst(checks),
    )


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


def _worst(checks: Sequence[ModelCheck]) -> ModelCheck:
    """The largest errors, with the first reason there is."""
    lens, writes = (
        float(np.max([getattr(check, name) for check in checks]))
        for name in ("lens_error", "write_error")
    )
    return ModelCheck(lens, writes, next(filter(None, (check.reason for check in checks)), ""))


# -- views ------------------------------------------------------------------------------------


def about(model: Model, sample: Sample) -> pd.DataFrame:
    """What was sampled, one row: n, n_asked, n_available (positions to choose from), n_texts and
    n_tokens (that were read), writes (whether there are attention and MLP writes), refusal (if not,
    why), attn and mlp (JSON: paths from a block to the module whose output it adds, of which the
    first that exists counts), write_scale (by which that output is multiplied)."""
    row = model.architecture.row
    return pd.DataFrame(
        [
            {
                "n": len(sample),
                "n_asked": sample.n_asked,
                "n_available": sample.n_available,
                "n_texts": len(sample.tokens),
                "n_tokens": sum(map(len, sample.tokens.values())),
                "writes": sample.writes is not None,
                "refusal": sample.refusal,
                "attn": json.dumps(row.attn),
                "mlp": json.dumps(row.mlp),
                "write_scale": model.architecture.write_scale,
            }
        ]
    )


def texts(sample: Sample) -> pd.DataFrame:
    """The texts there were: text, n_tokens (missing for one that was not read), n_sampled,
    content."""
    sampled = np.bincount(sample.text, minlength=len(sample.texts))
    n_tokens = [len(sample.tokens[i]) if i in sample.tokens else None for i in range(len(sampled))]
    return pd.DataFrame(
        {
            "text": range(len(sampled)),
            "n_tokens": pd.array(n_tokens, dtype="Int64"),
            "n_sampled": sampled,
            "content": list(sample.texts),
        }
    )


def check(sample: Sample) -> pd.DataFrame:
    """The two identities, as in `strata.run.check`, measured while the texts were read."""
    return run.identities(sample.check)


VIEWS = (about, texts, check)
