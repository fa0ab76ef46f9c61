"""What is said of cosines of states, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.concepts.laminar_profile import tables, words
from strata.concepts.laminar_profile.similarity import by_distance, debiased_cka
from strata.concepts.sinks import sinks
from tests.concepts.said import LONG, Run, Said, two


def said(run: Run) -> Iterator[Said]:
    yield from _between_layers(run)
    yield from _between_tokens(run)
    yield from _similarity(run)
    kept = {"skip_first": False, "skip_sinks": True}
    for center in (False, True) if run.last < LONG else (False,):
        yield from _profile(run, {**kept, "center": center})


def _similarity(run: Run) -> Iterator[Said]:
    if run.last < 4:
        return
    found = debiased_cka(list(run.trace.hidden))
    alone = by_distance(found)
    a, b = np.indices(found.shape).reshape(2, -1)
    columns = {"layer_a": a, "layer_b": b, "cka": found.ravel(), "plain": found.ravel()}
    frame = pd.DataFrame({**columns, "rest": (found - alone).ravel()})
    pairs = np.triu_indices(len(found), 1)
    known = found[pairs][~np.isnan(found[pairs])]  # none of a layer whose states are all equal
    total = np.var(known) * len(known) if len(known) else 0.0
    share = 1 - np.nansum((found - alone)[pairs] ** 2) / total if total > 1e-12 else np.nan
    claims = ("There is nothing",) if np.isnan(share) else (f"gives {share:.0%} of the variance",)
    yield Said("cka_reading", words.cka_reading(frame), claims)
    frame = pd.DataFrame({"layer": [0, 1], "within": [0.9, 0.5], "across": [0.1, 0.2]})
    frame = frame.assign(n_pairs=30, n_states=12, difference=[0.8, 0.3], high=[0.2, 0.4], n_draws=9)
    frame["n_as_large"] = [2, 5]
    claims = (
        "30 pairs of 12 states",
        "at layer 0: cosine 0.90 against 0.10",
        "at 1 of 2 layers the difference is beyond all 9 draws in which words are grouped",
        "at 1 of 10 on average, and as large as at layer 0 it is at any layer in 2 of them",
    )
    yield Said("selectivity_reading", words.selectivity_reading(frame, True), claims)


def unit(states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row scaled to length 1; NaN for a row of zeros."""
    with np.errstate(invalid="ignore"):
        return states / np.linalg.norm(states, axis=-1, keepdims=True)


def _between_layers(run: Run) -> Iterator[Said]:
    frame = tables.layer_matrices(run.model, run.trace, (run.last,))
    states = unit(run.hidden[:, run.last])  # (L + 1, D)
    steps = (states[1:] * states[:-1]).sum(axis=-1)  # (L,)
    claims = (
        f"Block {steps.argmin()} turns the state of “{run.shown[-1]}” ({run.last}) most",
        f"before and after is {two(steps.min())}",
        f"and layer {len(steps)} it is {two(states[0] @ states[-1])}",
    )
    yield Said("between_layers_reading", words.between_layers_reading(frame, run.shown), claims)
    centred = tables.layer_matrices(run.model, run.trace, (run.last,), center=True)
    said = words.between_layers_reading(centred, run.shown)
    yield Said("between_layers_reading", said, ("Block",) if run.last else ("has no direction",))
    positions = tables.evenly_spaced(len(run.shown))
    right = tables.layer_matrices(run.model, run.trace, tuple(positions))
    wrong = tables.layer_matrices(run.model, run.trace, tuple(range(len(positions))))
    names = [f"{p} {token}" for p, token in enumerate(run.shown)]
    false = sum(p != i for i, p in enumerate(positions))
    claims = (f"{false} of {len(positions)} panels",) if false else ("every title is right",)
    yield Said("index_bug_reading", words.index_bug_reading(right, wrong, positions, names), claims)


def _between_tokens(run: Run) -> Iterator[Said]:
    for layers in ((1,), (0, run.model.n_layers, run.model.n_layers + 1)):
        frame = tables.token_matrices(run.model, run.trace, layers)
        claims = ["There are no two tokens"]
        drawn = frame["position_a"].unique()
        cosines = unit(run.hidden[layers[0], drawn])
        upper = (cosines @ cosines.T)[np.triu_indices(len(drawn), 1)]
        if run.last and len(layers) == 1:
            claims = [two(upper.min())] if upper.min() < 0.99 else ["cosine"]
            claims += [two(upper.max())] if upper.max() < 0.99 else []
        elif run.last:
            claims = [f"{two(float(np.median(upper)))} at layer 0", "after the final norm"]
        if len(drawn) < len(run.shown):
            claims.append(f"{len(drawn)} of {len(run.shown)} tokens are drawn")
        said = words.between_tokens_reading(frame, run.shown, run.model.n_layers)
        yield Said("between_tokens_reading", said, tuple(claims))


def _profile(run: Run, kept: dict[str, bool]) -> Iterator[Said]:
    statistics = tables.statistics(run.model, run.trace, **kept)
    points = tables.points(run.model, run.trace, **kept)
    wrong = tables.statistics(run.model, run.trace, unique=True, **kept)
    out = set(sinks(run.trace)["position"])
    left = [p for p in range(len(run.shown)) if p not in out]
    n_pairs = len(left) * (len(left) - 1) // 2
    said = words.profile_reading(statistics, points)
    bug = words.unique_bug_reading(statistics, wrong)
    if not n_pairs:
        yield Said("profile_reading", said, ("There is no pair of tokens",))
        yield Said("unique_bug_reading", bug, ("There is no pair",))
        return
    states = run.hidden[:, left]
    states = unit(states - states.mean(axis=1, keepdims=True) if kept["center"] else states)
    cosines = np.array([(s @ s.T)[np.triu_indices(len(left), 1)] for s in states])
    medians = np.median(cosines, axis=1)  # NaN where no pair of a layer has a cosine
    claims = [f"of {n_pairs:,} pairs" if n_pairs > 1 else "of 1 pair"]
    if abs(medians).max() < 0.99:  # near 1 more digits are told
        claims.append(f"{two(medians[0])} at layer 0 to {two(medians[-1])} at layer")
    yield Said("profile_reading", said, tuple(claims))
    n_wrong = int((cosines.min(axis=1) < -5e-6).sum())  # and that of the final norm
    claims = [f"of {len(cosines) + 1} columns"] if n_wrong else ["the shortcut"]
    yield Said("unique_bug_reading", bug, tuple(claims))
    yield _pair(run, statistics, points, cosines, kept)


def _pair(
    run: Run,
    statistics: pd.DataFrame,
    points: pd.DataFrame,
    cosines: NDArray[np.float64],
    kept: dict[str, bool],
) -> Said:
    """On the pair most alike at the last layer."""
    last = points[(points["layer"] == run.model.n_layers) & ~points["normed"].astype(bool)]
    top = last.loc[last["cosine"].idxmax()]
    a, b = int(top["position_a"]), int(top["position_b"])
    path = tables.pair(run.model, run.trace, a, b, **kept)
    said = words.pair_reading(path, statistics, run.model.n_layers, a, b, run.shown)
    claims = [f"“{run.shown[a]}” ({a}) and “{run.shown[b]}” ({b})", "the most alike of"]
    if cosines[-1].max() < 0.9995:
        claims.append(f"a cosine of {two(float(np.nanmax(cosines[-1])), 3)}")
    return Said("pair_reading", said, tuple(claims))
