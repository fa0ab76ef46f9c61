"""Trajectories: each token's path through the layers, on a map of all states, beside a null."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from strata.concepts import apart, costs
from strata.concepts.run import check_count
from strata.concepts.trajectories.neighbours import METRICS, nearest, trust, unit
from strata.errors import InputError
from strata.runtime.cores import one_core
from strata.runtime.umap_worker import WORKER, Layout, Progress
from strata.trace import Trace

METHODS = ("umap", "pca")
LARGEST = 20_000  # points in one map
_FEWEST = 4  # points that UMAP's starting positions need
_SAME = 1e-7  # unit states no further apart than this are one direction

States = Tensor | NDArray[Any]


def project(
    states: States,
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """A map of all states (layers, T, D) in two dimensions: (layers, T, 2). Seed 000.

    "umap" keeps each state near its `n_neighbors` nearest (itself counted; fewer where there are
    not that many states) by "cosine" or "euclidean" distance, computed exactly. It is drawn in a
    process of its own, and the same seed gives the same map. "pca" keeps the two directions of
    largest variance, whatever the other settings. `progress` may raise to end the wait.
    InputError for settings out of range, for more than 20,000 states, and for states that are
    not finite, all equal or, under cosine, zero.
    """
    points = _points(states)  # (n, D)
    if method == "pca":
        drawn, _ = _principal(points)  # (n, 2)
    elif method == "umap":
        layout = _layout(points, n_neighbors, min_dist, metric, n_epochs, seed)
        if len(points) < _FEWEST:
            raise InputError(
                f"UMAP needs at least {_FEWEST} states and there are {len(points)}; PCA can draw "
                "them."
            )
        if progress:
            progress(0.0, "Finding the nearest neighbours")
        indices, distances = nearest(points, layout.n_neighbors, metric)
        drawn = WORKER.draw(points.numpy(), indices, distances, layout, progress).astype(float)
    else:
        raise InputError(f"A map is drawn by one of {', '.join(METHODS)}, not by {method!r}.")
    return drawn.reshape(*states.shape[:2], 2)


def layers_drawn(n_layers: int, stride: int) -> list[int]:
    """Every `stride`-th layer, 0 first, and always the last, L."""
    return [*range(0, n_layers, check_count("The stride over layers", stride, n_layers)), n_layers]


def _map_costs(n_tokens: int, n_layers: int, params: Mapping[str, Any]) -> float:
    """Token-passes of the bundled model that take as long as a map of its states: a distance of two
    states is measured in 0.43 millionths of a second, a step of UMAP made in 0.095, and a token
    passes in 1.8 thousandths."""
    states = n_tokens * len(layers_drawn(n_layers, params.get("stride", 1)))
    steps = states * params["n_epochs"] * params["n_neighbors"] if params["method"] == "umap" else 0
    return (states**2 * 0.43e-6 + steps * 0.095e-6) / 1.8e-3


@apart
def trajectories(
    trace_or_states: Trace | States,
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """`project` as a table, a row for each state: layer, position, token, x, y; of bare states
    (layers, T, D) the token is the position as text."""
    if isinstance(trace_or_states, Trace):
        states, tokens = trace_or_states.hidden, trace_or_states.tokens
    else:
        states = torch.as_tensor(trace_or_states)
        _points(states)
        tokens = tuple(map(str, range(states.shape[1])))
    settings = (method, n_neighbors, min_dist, metric, seed, n_epochs, progress)
    return _placed(_rows(tokens, range(len(states))), project(states, *settings))


def random_walk(trace: Trace, seed: int = 0) -> NDArray[np.float64]:
    """(L + 1, T, D): where the states would be if each block moved each token as far as it did,
    but in a random direction: same start, same step norms, nothing learnt."""
    hidden = trace.hidden.double().numpy()  # (L + 1, T, D)
    norms = np.linalg.norm(np.diff(hidden, axis=0), axis=-1, keepdims=True)  # (L, T, 1)
    steps = np.random.default_rng(seed).standard_normal((len(hidden) - 1, *hidden.shape[1:]))
    steps *= norms / np.linalg.norm(steps, axis=-1, keepdims=True)
    return np.concatenate([hidden[:1], hidden[:1] + steps.cumsum(axis=0)])


@apart
@costs(_map_costs)
def state_map(
    trace: Trace,
    walk: bool = False,
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    stride: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """A map of the states, or of their random walk, that says how far it can be trusted.

    layer, position, token, x, y; and the same in every row: trust (see neighbours.py; in
    the metric asked for), n_neighbors (those used), kept (PCA: the share of the variance that two
    dimensions keep; NaN for UMAP). PCA knows no metric, so under cosine it is given the states
    scaled to length 1: a twin that answers the same question. With a `stride` there are only every
    `stride`-th layer and the last on it.
    """
    states = torch.as_tensor(random_walk(trace)) if walk else trace.hidden
    layers = layers_drawn(len(states) - 1, stride)
    settings = (method, n_neighbors, min_dist, metric, seed, n_epochs, progress)
    return _judged(_rows(trace.tokens, layers), states[layers], *settings)


@apart
@costs(_map_costs)
def gradient_map(
    trace: Trace,
    gradients: Tensor,
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    stride: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Like `state_map`, of the gradients (L + 1, T, D) of the mean next-token loss.

    The last position is dropped: what it predicts is not scored, so its gradient is zero at every
    layer and has no direction. Seed 000 keeps these rows, and UMAP packs them into one clump. Any
    other state whose gradient is exactly zero, since what follows it is foreseen with a probability
    that rounds to 1, is left out too. InputError where none is left.
    """
    settings = (method, n_neighbors, min_dist, metric, seed, n_epochs, progress)
    layers = layers_drawn(len(gradients) - 1, stride)
    rows, scored = _rows(trace.tokens[:-1], layers), gradients[layers, :-1]
    counts = scored.abs().amax(dim=-1) > 0  # (L + 1, T - 1)
    if not bool(counts.any()):
        raise InputError(
            "Every gradient of this text is exactly zero, since the model foresaw each token with "
            "a probability that rounds to 1, so there is nothing to map."
        )
    if not bool(counts.all()):
        rows = rows[counts.flatten().numpy()].reset_index(drop=True)
        scored = scored[counts][None]  # (1, n, D)
    return _judged(rows, scored, *settings)


@apart
@costs(_map_costs)
def joint_map(
    traces: Sequence[Trace],
    method: str = "umap",
    n_neighbors: int = 50,
    min_dist: float = 0.1,
    metric: str = "cosine",
    seed: int = 0,
    n_epochs: int = 200,
    stride: int = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Like `state_map`, of several prompts on one map: with prompt (0 for the first) in front."""
    if not traces:
        raise InputError("A map of several prompts needs at least one prompt.")
    layers = layers_drawn(len(traces[0].hidden) - 1, stride)
    states = torch.cat([trace.hidden[layers] for trace in traces], dim=1)  # (layers, sum of T, D)
    rows = [_rows(trace.tokens, layers).assign(prompt=i) for i, trace in enumerate(traces)]
    frame = pd.concat(rows).sort_values(["layer", "prompt", "position"], ignore_index=True)
    frame.insert(0, "prompt", frame.pop("prompt"))
    settings = (method, n_neighbors, min_dist, metric, seed, n_epochs, progress)
    return _judged(frame, states, *settings)


def gradient_norms(trace: Trace, gradients: Tensor) -> pd.DataFrame:
    """How strongly the loss depends on each state: layer, position, token, norm, (L + 1) * T rows.

    Cosine hides this size. The last position's is exactly zero.
    """
    norms = gradients.double().norm(dim=-1)  # (L + 1, T)
    return _rows(trace.tokens, range(len(gradients))).assign(norm=norms.flatten().numpy())


def contexts(traces: Sequence[Trace]) -> pd.DataFrame:
    """How alike a token's states are in two prompts: layer, token, prompt_a, position_a, prompt_b,
    position_b, cosine, for each token that both hold, at its last position in each. Tokens
    that only begin a character, which another one completes, are left out."""
    places = [{int(i): p for p, i in enumerate(trace.token_ids)} for trace in traces]
    columns = ["layer", "token", "prompt_a", "position_a", "prompt_b", "position_b", "cosine"]
    rows: list[tuple[Any, ...]] = []
    for a, b in combinations(range(len(traces)), 2):
        for token_id in places[a].keys() & places[b].keys():
            here, there = places[a][token_id], places[b][token_id]
            token = traces[a].tokens[here]
            if not (token and traces[b].tokens[there]):
                continue
            one, other = traces[a].hidden[:, here], traces[b].hidden[:, there]  # (L + 1, D)
            cosines = torch.cosine_similarity(one.double(), other.double(), dim=-1).tolist()
            rows += [(n, token, a, here, b, there, c) for n, c in enumerate(cosines)]
    types = dict.fromkeys(columns, int) | {"token": "str", "cosine": float}
    frame = pd.DataFrame(rows, columns=columns).astype(types)
    return frame.sort_values(["prompt_a", "prompt_b", "position_a", "layer"], ignore_index=True)


# -- inside ---------------------------------------------------------------------------------------


def _rows(tokens: Sequence[str], layers: Sequence[int]) -> pd.DataFrame:
    """A row for each state, layer by layer: layer, position, token."""
    return pd.DataFrame(
        {
            "layer": np.repeat(layers, len(tokens)),
            "position": np.tile(np.arange(len(tokens)), len(layers)),
            "token": pd.Series(list(tokens) * len(layers), dtype="str"),
        }
    )


def _placed(frame: pd.DataFrame, drawn: NDArray[np.float64]) -> pd.DataFrame:
    return frame.assign(x=drawn[..., 0].ravel(), y=drawn[..., 1].ravel())


def _judged(
    frame: pd.DataFrame,
    states: Tensor,
    method: str,
    n_neighbors: int,
    min_dist: float,
    metric: str,
    seed: int,
    n_epochs: int,
    progress: Progress | None,
) -> pd.DataFrame:
    points = _points(states)  # (n, D)
    used = _layout(points, n_neighbors, min_dist, metric, n_epochs, seed).n_neighbors
    kept = math.nan
    if method == "pca":
        drawn, kept = _principal(unit(points) if metric == "cosine" else points)
        drawn = drawn.reshape(*states.shape[:2], 2)
    else:
        settings = (n_neighbors, min_dist, metric, seed, n_epochs, progress)
        drawn = project(states, method, *settings)
    if progress:
        progress(1.0, "Judging the map")
    trusted = trust(points, drawn.reshape(-1, 2), metric)
    return _placed(frame, drawn).assign(trust=trusted, n_neighbors=used, kept=kept)


def _points(states: States) -> Tensor:
    """(layers, T, D) -> (layers * T, D), float32; InputError unless they can be mapped."""
    tensor = torch.as_tensor(states)
    if tensor.ndim != 3 or not tensor.numel():
        raise InputError("A map needs states of the shape (layers, tokens, dimensions).")
    points = tensor.detach().cpu().float().flatten(0, 1)  # (n, D)
    if len(points) > LARGEST:
        raise InputError(
            f"A map of {len(points):,} states is too large; the limit is {LARGEST:,}, which is "
            f"{LARGEST // len(tensor):,} tokens here."
        )
    if not bool(points.isfinite().all()):
        raise InputError("Some states are not finite numbers, so they cannot be mapped.")
    if bool((points == points[0]).all()):
        raise InputError("All states are equal, so there is nothing to map.")
    return points


def _layout(
    points: Tensor, n_neighbors: int, min_dist: float, metric: str, n_epochs: int, seed: int
) -> Layout:
    """Settings that can be drawn with; InputError names the one that is out of range."""
    if metric not in METRICS:
        raise InputError(f"The metric is one of {', '.join(METRICS)}, not {metric!r}.")
    whole = {
        "n_neighbors": (n_neighbors, 2, 200),
        "n_epochs": (n_epochs, 1, 2_000),
        "seed": (seed, 0, 2**32 - 1),
    }
    for name, (value, least, most) in whole.items():
        try:
            fits = least <= operator.index(value) <= most
        except TypeError:
            fits = False
        if not fits:
            raise InputError(f"{name} must be a whole number from {least} to {most:,}.")
    if not 0 <= min_dist <= 1:
        raise InputError("min_dist must be from 0 to 1.")
    if metric == "cosine":
        directions = unit(points)
        if bool((directions - directions[0]).abs().amax() <= _SAME):
            raise InputError("All states point the same way, so cosine has nothing to map.")
    return Layout(min(n_neighbors, len(points) - 1), float(min_dist), metric, n_epochs, seed)


def _principal(points: Tensor) -> tuple[NDArray[np.float64], float]:
    """(n, D) -> (n, 2), the two directions of largest variance, and the share of it they keep.

    By itself scikit-learn draws its solver at random from some size on; both of these are exact.
    """
    from sklearn.decomposition import PCA  # here: not every server draws a map

    n, d_model = points.shape
    solver = "full" if n < d_model else "covariance_eigh"  # many times faster for many states
    pca = PCA(min(2, n, d_model), svd_solver=solver, random_state=0)
    with one_core():
        drawn = pca.fit_transform(points.double().numpy())
    drawn = np.pad(drawn, ((0, 0), (0, 2 - drawn.shape[1])))  # of one dimension or state
    sign = np.sign(drawn[np.abs(drawn).argmax(axis=0), [0, 1]])  # (2,)
    return drawn * np.where(sign == 0, 1, sign), float(pca.explained_variance_ratio_.sum())
