"""A state read by its nearest states in other sentences, where the lens may show but noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts.run import check_count, check_position
from strata.corpus import Sample
from strata.errors import InputError
from strata.trace import Trace

MOST = 20  # neighbours at a layer
BEFORE, AFTER = 12, 10  # tokens of a neighbour's context
_QUOTED = 8  # tokens in a row that no two texts share, unless one quotes the other
_TRIED = 100  # sampled states whose own nearest says what is usual
_TINY = 1e-12  # a length that is none
_EQUAL = 5  # decimals of two cosines that count as one, as those of equal states

COLUMNS = [
    *("layer", "rank", "cosine", "usual", "text", "position", "before", "token", "after"),
]


def nearest(
    trace: Trace,
    sample: Sample,
    layer: int,
    position: int,
    k: int = 5,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """The sampled states most like the state of a cell, at its own layer and at each earlier one:
    layer (the neighbour's, `layer` first, then downwards), rank (how many of that layer are nearer;
    equal cosines share it), cosine, usual, text, position, before, token, after; at most k rows a
    layer, ties in the order of the texts.

    `cosine` is that of standardised states: from each dimension its mean over the sample at its
    layer is taken, and the rest divided by its standard deviation there. Of raw states a few
    dimensions that vary a hundred times more than others, and an offset that all share, decide
    nearly all (Timkey and van Schijndel 2021). `usual`: half of the sampled states of the cell's
    layer have, in another text, a nearest one of the neighbour's layer that is as near or nearer.
    `before` and `after` are up to 12 and 10 tokens of the neighbour's text as they stand there.

    Attention sinks and first tokens are left out as the sample does it; here also texts of which
    the prompt has eight tokens in a row, so that none is found in itself, and states of others that
    have read nothing but what the prompt begins with, which are the same. To read a state so, by
    states of texts, is called LatentLens (Krojer et al. 2026). InputError for a bad layer, position
    or k, for a state that is the mean itself, and where no other text is left.
    """
    position = check_position(trace, position)
    k = check_count("The number of neighbours", k, MOST)
    states = sample.states(layer)
    others = np.flatnonzero(_others(trace, sample))
    if not len(others):
        raise InputError("No other text is left to find neighbours in; use another prompt.")
    mean, spread, _ = sample.measured(layer)
    tried = torch.cat([trace.hidden[layer, position][None], states[:_TRIED]])  # in random order
    apart = (tried - mean) / torch.where(spread > 0, spread, torch.inf)  # (1 + m, D)
    if not apart[0].any():
        raise InputError("This state is the mean of its layer's, so it has no direction.")
    directions = torch.nn.functional.normalize(apart, dim=1)
    rows: list[pd.DataFrame] = []
    for below in range(layer, -1, -1):
        if progress is not None:
            progress((layer - below) / (layer + 1), f"Comparing with layer {below}")
        mean, spread, lengths = sample.measured(below)
        along = directions / torch.where(spread > 0, spread, torch.inf)
        cosines = along @ (sample.states(below) - mean).T / lengths.clamp_min(_TINY)  # (1 + m, n)
        found = _best(cosines[0].numpy(), others, sample, k)
        found.insert(0, "layer", below)
        found.insert(3, "usual", _usual(cosines[1:], sample))
        rows.append(found)
    return pd.concat(rows, ignore_index=True)[COLUMNS]


def _best(
    cosines: NDArray[np.float32], others: NDArray[np.int64], sample: Sample, k: int
) -> pd.DataFrame:
    """The k nearest of some rows of the sample."""
    values = np.round(cosines[others].astype(np.float64), _EQUAL)
    order = np.lexsort((sample.position[others], sample.text[others], -values))[:k]
    rows = others[order]
    ranks = [(values > value).sum() for value in values[order]]
    contexts = [_context(sample, row) for row in rows.tolist()]
    before, token, after = zip(*contexts, strict=True)
    return pd.DataFrame(
        {
            "rank": np.array(ranks, dtype=np.int64),
            "cosine": cosines[rows].astype(np.float64),
            "text": sample.text[rows],
            "position": sample.position[rows],
            "before": before,
            "token": token,
            "after": after,
        }
    )


def _others(trace: Trace, sample: Sample) -> NDArray[np.bool_]:
    """(n,): which sampled states are of other texts than the prompt's own."""
    own = trace.tokens
    runs = {own[i : i + _QUOTED] for i in range(len(own) - _QUOTED + 1)}
    keep = np.ones(len(sample), dtype=bool)
    for text, tokens in sample.tokens.items():
        of_it = sample.text == text
        if any(tokens[i : i + _QUOTED] in runs for i in range(len(tokens) - _QUOTED + 1)):
            keep[of_it] = False
        pairs = enumerate(zip(own, tokens, strict=False))
        same = next((i for i, (a, b) in pairs if a != b), len(own))
        keep[of_it & (sample.position < same)] = False
    return keep


def _usual(cosines: Tensor, sample: Sample) -> float:
    """(m, n) cosines of the first m sampled states with all: the median of the largest of each in
    another text; NaN where there is no other."""
    text = torch.from_numpy(sample.text)
    elsewhere = text[: len(cosines), None] != text[None]
    best = cosines.masked_fill(~elsewhere, -torch.inf).amax(dim=1)
    best = best[best > -torch.inf]
    return float(best.median()) if len(best) else float("nan")


def _context(sample: Sample, row: int) -> tuple[str, str, str]:
    """The tokens before a sampled one, itself, and those after it."""
    tokens, at = sample.tokens[int(sample.text[row])], int(sample.position[row])
    before, after = tokens[max(0, at - BEFORE) : at], tokens[at + 1 : at + 1 + AFTER]
    return "".join(before), tokens[at], "".join(after)
