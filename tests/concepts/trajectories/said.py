"""What is said of maps and gradients, and what must stand in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from strata.concepts.sinks import sinks
from strata.concepts.trajectories import shape_by_layer, tables, words
from strata.concepts.trajectories.measures import smoothness
from strata.concepts.trajectories.shape import rank_correlation
from strata.display.tokens import digits
from tests.concepts.said import LONG, Run, Said, chance, two


def said(run: Run) -> Iterator[Said]:
    made = tables.state_map(run.trace, method="pca")
    states = run.hidden.reshape(-1, run.hidden.shape[-1])
    unit = states / np.linalg.norm(states, axis=1, keepdims=True)
    trust = trust_of(unit, made[["x", "y"]].to_numpy())
    spread = np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False) ** 2
    claims = (f"Trust {two(trust, 3)} of 1", grade(trust))
    yield Said("reading", words.reading(made), (*claims, chance(spread[:2].sum() / spread.sum())))
    drawn = made.assign(kept=math.nan)  # as of UMAP
    step = f"a typical step between layers is {step_of(made):.1%} of the map's width"
    yield Said("reading", words.reading(drawn), (*claims, step))
    yield from _shapes(run)
    if run.last > LONG:  # what follows is the same for less
        return
    walk = tables.state_map(run.trace, walk=True, method="pca")
    claims = (f"step is {step_of(made):.1%} of", f"walk {step_of(walk):.1%}", "moves 0% of")
    yield Said("null_reading", words.null_reading(made, walk, made), claims)
    if run.last:
        yield from _gradients(run)


def trust_of(unit: NDArray[np.float64], drawn: NDArray[np.float64]) -> float:
    """Trustworthiness by cosine (Venna and Kaski 2001), where equal states have the better rank."""
    n, k = len(unit), min(15, (len(unit) - 1) // 2)
    distances = 1 - unit @ unit.T + np.diag(np.full(n, np.inf))
    on_map = np.linalg.norm(drawn[:, None] - drawn, axis=-1) + np.diag(np.full(n, np.inf))
    neighbours = np.take_along_axis(
        distances, on_map.argsort(axis=1, kind="stable")[:, :k], axis=1
    )  # (n, k)
    ranks = (distances[:, None] < neighbours[..., None] - 1e-12).sum(axis=-1) + 1
    return float(1 - 2 * (ranks - k).clip(0).sum() / (n * k * (2 * n - 3 * k - 1)))


def grade(trust: float) -> str:
    trust = round(trust, 3)  # what is said of it holds for the number that is shown
    if trust < 0.8:
        return "often are no neighbours"
    return "mostly are neighbours" if trust >= 0.95 else "often are neighbours in truth, but far"


def step_of(frame: pd.DataFrame) -> float:
    """The median step of a token between layers, over the root mean square distance of points."""
    points = frame.sort_values(["position", "layer"])[["x", "y"]].to_numpy()
    paths = points.reshape(frame["position"].nunique(), -1, 2)
    steps = np.linalg.norm(np.diff(paths, axis=1), axis=-1)
    width = math.sqrt(2 * points.var(axis=0).sum())
    assert math.isclose(float(np.median(steps)) / width, smoothness(frame), rel_tol=1e-9)
    return float(np.median(steps)) / width


def _gradients(run: Run) -> Iterator[Said]:
    norms = run.gradients.double().norm(dim=-1).numpy()  # (L + 1, T)
    layer, position = np.unravel_index(norms.argmax(), norms.shape)
    frame = run.named(tables.gradient_norms(run.trace, run.gradients))
    claims = (f"“{run.shown[position]}” at position {position}, layer {layer}", "at layer 0 to")
    yield Said("norms_reading", words.norms_reading(frame), claims)
    other = run.model.capture(f"So {run.text}")
    shared = tables.contexts([run.trace, other])
    if shared.empty:
        yield Said("contexts_reading", words.contexts_reading(shared), ("no token in common",))
        return
    low = shared.loc[shared["cosine"].idxmin()]
    one = run.hidden[low["layer"], low["position_a"]]
    two_ = other.hidden[low["layer"], low["position_b"]].double().numpy()
    cosine = one @ two_ / np.linalg.norm(one) / np.linalg.norm(two_)
    lowest = two(float(cosine)) if low["layer"] else "where it is lowest"
    claims = ("in A and B", lowest)
    yield Said("contexts_reading", words.contexts_reading(shared), claims)


def _shapes(run: Run) -> Iterator[Said]:
    means, n = shape_by_layer(run.trace), run.last + 1
    out = set(sinks(run.trace)["position"])
    kept = [p for p in range(n) if p not in out] or list(range(n))
    inner = [p for p in range(1, run.last) if len(out) == n or not {p - 1, p, p + 1} & out]
    steps = np.diff(run.hidden[:, kept], axis=0)  # (L, T', D)
    length = np.linalg.norm(steps, axis=-1).sum(axis=0).mean()
    turning = np.mean([np.nanmean(angles(*both)) for both in pairwise(steps)])
    claims = [f"goes {digits(length)} in all and turns by {two(turning, 0)}°"]
    if not inner:
        claims.append("too short" if n < 3 else "between two others without a sink")
        yield Said("shape_reading", words.shape_reading(means), tuple(claims))
    else:
        curved = pd.Series(bends(run.hidden, inner)).dropna()
        least = f"least at layer {curved.idxmin()}, by {two(curved.min(), 0)}°"
        yield Said("shape_reading", words.shape_reading(means), (*claims, least))
    if n < 5:
        told = words.surprise_reading(rank_correlation(np.ones(n), np.ones(n)), n, "length")
        yield Said("surprise_reading", told, ("too few tokens",))
        return
    long = np.linalg.norm(np.diff(run.hidden[:, 1:], axis=0), axis=-1).sum(axis=0)
    ids = run.trace.token_ids.numpy()
    surprisal = -run.logprobs[np.arange(n - 1), ids[1:]]
    rank = stats.spearmanr(long, surprisal).statistic
    told = words.surprise_reading(rank_correlation(long, surprisal), n - 1, "length")
    few = len(set(long)) < 2 or len(set(surprisal)) < 2
    claims = ["too few tokens"] if few else [f"Over {n - 1:,} tokens", f"of {two(rank)}, as far"]
    yield Said("surprise_reading", told, tuple(claims))


def angles(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, D), (n, D) -> (n,), degrees."""
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
        cosines = (one * other).sum(axis=-1) / lengths
    return np.degrees(np.arccos(cosines.clip(-1, 1)))


def bends(hidden: NDArray[np.float64], inner: list[int]) -> list[float]:
    """By layer, the mean angle between the steps to these tokens and from them."""
    found = []
    for states in hidden:
        steps = np.diff(states, axis=0)
        at = angles(steps[[p - 1 for p in inner]], steps[inner])
        found.append(float(np.nanmean(at)) if np.isfinite(at).any() else math.nan)
    return found
