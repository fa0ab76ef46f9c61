"""The shape of each token's path: how far it goes, how it turns, and how text bends from token to
token."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from strata.concepts import quick
from strata.concepts.chance import left_of
from strata.concepts.sinks import sinks
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

Floats = NDArray[np.float64]
SHUFFLES = 10_000  # of tokens, for the chance of a rank correlation


def step_norms(hidden: Tensor) -> Floats:
    """(L + 1, T, D) -> (L, T): how far each block moves each state, Euclidean."""
    return np.stack([(b.double() - a.double()).norm(dim=-1).numpy() for a, b in _pairs(hidden)])


def turning_angles(hidden: Tensor) -> Floats:
    """(L + 1, T, D) -> (L - 1, T), degrees: at layer l from 1 to L - 1, between the step that leads
    to it and the one that leads on. 0: straight on, 90: unrelated directions, 180: back. NaN where
    a step is 0."""
    steps = (b.double() - a.double() for a, b in _pairs(hidden))
    before, found = next(steps), []
    for step in steps:
        found.append(_degrees(before, step))
        before = step
    return np.array(found).reshape(-1, hidden.shape[1])


def curvatures(hidden: Tensor) -> Floats:
    """(L + 1, T, D) -> (L + 1, T - 2), degrees: at each layer, for the tokens that are neither
    first nor last, the angle between the step from the token before and that to the one after."""
    n = hidden.shape[1]
    if n < 3:
        return np.empty((len(hidden), 0))
    steps = (layer.double().diff(dim=0) for layer in hidden)  # (T - 1, D) each
    return np.array([_degrees(step[:-1], step[1:]) for step in steps])


@quick
def shape(model: Model, trace: Trace) -> pd.DataFrame:
    """The path of each token in numbers: layer, position, token, step, length, turning, curvature,
    surprisal, (L + 1) * T rows.

    `step` is the norm of what the block before added, `length` the sum of all steps so far (both in
    the units of states; missing and 0 at layer 0). `turning` and `curvature` are angles in degrees,
    through the layers at one token and through the tokens at one layer; missing at ends, and
    `curvature` where one of its three tokens is an attention sink, whose state would make all
    angles near 180. Curvature is as in Hosseini & Fedorenko 2023, who find that middle layers
    straighten text. `surprisal` (nats) of the token itself, missing for the first.

    Known bias: steps that have nothing to do with each other turn by 90 degrees in many dimensions;
    states that have nothing to do with each other curve by 120, since two steps share a state. The
    residual stream grows, so late steps are long and the length is mostly theirs.
    """
    hidden = trace.hidden
    n_layers, n_tokens = len(hidden) - 1, hidden.shape[1]
    step = np.full((n_layers + 1, n_tokens), np.nan)
    step[1:] = step_norms(hidden)
    turning = np.full_like(step, np.nan)
    turning[1:-1] = turning_angles(hidden)
    curvature = _curved(hidden, left_of(trace))
    logprobs = trace.logits[:-1].float().log_softmax(-1)  # (T - 1, V)
    own = logprobs.gather(1, trace.token_ids[1:, None].to(logprobs.device))[:, 0]
    surprisal = np.r_[np.nan, -own.double().cpu().numpy()]
    return pd.DataFrame(
        {
            "layer": np.repeat(np.arange(n_layers + 1), n_tokens),
            "position": np.tile(np.arange(n_tokens), n_layers + 1),
            "token": pd.Series(list(trace.tokens) * (n_layers + 1), dtype="str"),
            "step": step.ravel(),
            "length": np.nan_to_num(step).cumsum(axis=0).ravel(),
            "turning": turning.ravel(),
            "curvature": curvature.ravel(),
            "surprisal": np.tile(surprisal, n_layers + 1),
        }
    )


@quick
def shape_by_layer(trace: Trace) -> pd.DataFrame:
    """Of the tokens that are no attention sinks: layer, step, length, turning, curvature, each the
    mean over them (see `shape`), or over all where all are sinks; n_tokens and n_sinks of them."""
    return by_layer(trace, left_of(trace)).assign(
        n_tokens=len(trace.tokens), n_sinks=len(sinks(trace))
    )


def by_layer(trace: Trace, left: NDArray[np.int64]) -> pd.DataFrame:
    """The same of the tokens that are `left`: layer, step, length, turning, curvature."""
    hidden = trace.hidden[:, left]
    n = len(hidden)
    step, turning = np.full(n, np.nan), np.full(n, np.nan)
    step[1:], turning[1:-1] = _means(step_norms(hidden)), _means(turning_angles(hidden))
    curvature = _means(_curved(trace.hidden, left))
    length = np.nan_to_num(step).cumsum()
    columns = {"step": step, "length": length, "turning": turning, "curvature": curvature}
    return pd.DataFrame({"layer": range(n), **columns})


def rank_correlation(x: Floats, y: Floats, seed: int = 0) -> tuple[float, float]:
    """Spearman's rank correlation of two numbers of the same tokens, and the share of 10,000
    shuffles in which it is as far from 0 or farther, the order itself among them. NaN for fewer
    than 4 tokens, or where one number is the same for all.

    Known bias: tokens of one text are not independent, so the share is too small.
    """
    if len(x) < 4 or len(set(x)) < 2 or len(set(y)) < 2:
        return np.nan, np.nan
    one, other = stats.rankdata(x), stats.rankdata(y)
    one, other = one - one.mean(), other - other.mean()
    scale = np.linalg.norm(one) * np.linalg.norm(other)
    found = float(one @ other / scale)
    shuffled = np.random.default_rng(seed).permuted(np.tile(other, (SHUFFLES, 1)), axis=1)
    as_far = np.abs(shuffled @ one / scale) >= abs(found) - 1e-9
    return found, float((1 + as_far.sum()) / (1 + SHUFFLES))


# -- inside ---------------------------------------------------------------------------------------


def _pairs(hidden: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The states before and after each block."""
    return pairwise(hidden.unbind())


def _curved(hidden: Tensor, left: NDArray[np.int64]) -> Floats:
    """(L + 1, T, D) -> (L + 1, T): `curvatures`, NaN at ends and beside tokens not left."""
    n_tokens = hidden.shape[1]
    curved = np.full(hidden.shape[:2], np.nan)
    if n_tokens > 2:
        curved[:, 1:-1] = curvatures(hidden)
        out = np.ones(n_tokens + 2, dtype=bool)
        out[[0, -1]] = out[1 + left] = False
        curved[:, out[:-2] | out[1:-1] | out[2:]] = np.nan
    return curved


def _degrees(one: Tensor, other: Tensor) -> Floats:
    """(n, D), (n, D) -> (n,): the angles between rows. By both diagonals of the rhombus of unit
    rows: an arc cosine would lose small angles."""
    lengths = one.norm(dim=-1, keepdim=True), other.norm(dim=-1, keepdim=True)
    a, b = one / lengths[0], other / lengths[1]
    angle = 2 * np.arctan2((a - b).norm(dim=-1).numpy(), (a + b).norm(dim=-1).numpy())
    return np.degrees(angle)


def _means(angles: Floats) -> Floats:
    """(layers, tokens) -> (layers,), over those that are known; NaN where none is."""
    known = ~np.isnan(angles)
    count = known.sum(axis=1)
    total = np.where(known, angles, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(angles), np.nan), where=count > 0)
