"""The shape of each token's path: how far it goes, how it turns, and how text bends from token to
token, beside layers and tokens in another order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from strata.concepts import quick
from strata.concepts.run import check_count
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
    curvature = _curved(trace, hidden)
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


def shape_null(
    trace: Trace,
    draws: int = 20,
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What chance gives: the same states in another order. draw, layer, turning (the layers of all
    tokens in one other order, the first left where it is; `layer` is then a place in that order)
    and curvature (the tokens in one other order, sinks left where they are), each the mean over
    the same places as in `shape_by_layer`; length: that of the whole path through the layers in
    that order. draws * (L + 1) rows.

    States in another order lie as far apart as before, so what is left is what the places of states
    give without their order.
    """
    draws = check_count("The number of draws", draws, 1_000)
    rng = np.random.default_rng(seed)
    kept = _others(trace)
    hidden = trace.hidden[:, kept]  # (L + 1, T', D)
    n_layers = len(hidden) - 1
    rows = []
    for draw in range(draws):
        if progress is not None:
            progress(draw / draws, f"Draw {draw + 1} of {draws}")
        mixed = hidden[np.r_[0, 1 + rng.permutation(n_layers)]]
        turning = np.full(n_layers + 1, np.nan)
        turning[1:-1] = _means(turning_angles(mixed))
        order = np.arange(trace.hidden.shape[1])
        order[kept] = kept[rng.permutation(len(kept))]
        curvature = _means(_curved(trace, trace.hidden[:, order]))
        length = float(step_norms(mixed).sum(axis=0).mean())
        layers = range(n_layers + 1)
        rows += [(draw, n, turning[n], curvature[n], length) for n in layers]
    return pd.DataFrame(rows, columns=["draw", "layer", "turning", "curvature", "length"])


@quick
def shape_by_layer(trace: Trace) -> pd.DataFrame:
    """Of the tokens that are no attention sinks: layer, step, length, turning, curvature, each the
    mean over them (see `shape`), or over all where all are sinks; n_tokens and n_sinks of them."""
    kept = _others(trace)
    hidden = trace.hidden[:, kept]
    n = len(hidden)
    step, turning = np.full(n, np.nan), np.full(n, np.nan)
    step[1:], turning[1:-1] = _means(step_norms(hidden)), _means(turning_angles(hidden))
    curvature = _means(_curved(trace, trace.hidden))
    length = np.nan_to_num(step).cumsum()
    columns = {"step": step, "length": length, "turning": turning, "curvature": curvature}
    counts = {"n_tokens": len(trace.tokens), "n_sinks": len(sinks(trace))}
    return pd.DataFrame({"layer": range(n), **columns, **counts})


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


def _curved(trace: Trace, hidden: Tensor) -> Floats:
    """(L + 1, T, D), a trace's states or the same in another order -> (L + 1, T): `curvatures`, NaN
    at ends and beside sinks."""
    curved = np.full(hidden.shape[:2], np.nan)
    if hidden.shape[1] > 2:
        curved[:, 1:-1] = curvatures(hidden)
        curved[:, _beside_sinks(trace)] = np.nan
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


def _others(trace: Trace) -> NDArray[np.int64]:
    """The tokens that are no sinks; all, where there are no others."""
    out = set(sinks(trace)["position"])
    left = [p for p in range(len(trace.tokens)) if p not in out]
    return np.array(left or range(len(trace.tokens)), dtype=np.int64)


def _beside_sinks(trace: Trace) -> NDArray[np.bool_]:
    """(T,): whether a token or one beside it is a sink; no token where all are sinks."""
    is_sink = np.zeros(len(trace.tokens) + 2, dtype=bool)
    is_sink[1 + sinks(trace)["position"].to_numpy(int)] = True
    if is_sink[1:-1].all():
        is_sink[:] = False
    return np.asarray(is_sink[:-2] | is_sink[1:-1] | is_sink[2:])
