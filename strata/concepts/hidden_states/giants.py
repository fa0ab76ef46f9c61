"""Massive activations: single numbers of a state thousands of times larger than the others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from strata.concepts import costs, quick
from strata.corpus.passages import fitting, passages
from strata.edits import Scale
from strata.errors import InputError
from strata.model.hooks import Recorder
from strata.model.operations import Operation
from strata.trace import Trace

if TYPE_CHECKING:
    from strata.model import Model

LEAST = 100.0  # how large it is by itself
TIMES = 1_000.0  # the median size of its layer
FOLLOWED = 6  # of them that are followed through the layers, the largest
PASSAGES = 20  # whose states give the mean
SET = ("mean", "zero", "others to zero")


@quick
def massive(trace: Trace, times: float = TIMES) -> pd.DataFrame:
    """The massive activations of a run: layer, position, token, dim, value, median, ratio; by
    layer, the largest first.

    One is massive if it is above 100 and at least `times` as large as the median of all T * D
    numbers of its layer, in size: with 1,000 the rule of Sun et al. 2024. Known bias: 100 is no
    size in all models, since a stream may be scaled as one likes; in a prompt of mostly sinks the
    median is theirs. InputError unless `times` is from 10.
    """
    if not times >= 10:
        raise InputError("An activation that stands out is at least 10 times the median.")
    rows = []
    for layer, states in enumerate(trace.hidden):
        size = states.abs()
        median = float(size.median())
        at = ((size > LEAST) & (size >= times * median)).nonzero()  # (m, 2)
        found = [(layer, int(p), int(d), float(states[p, d]), median) for p, d in at]
        rows += sorted(found, key=lambda row: -abs(row[3]))
    frame = pd.DataFrame(rows, columns=["layer", "position", "dim", "value", "median"])
    types = {"layer": int, "position": int, "dim": int, "value": float, "median": float}
    frame = frame.astype(types)
    frame.insert(2, "token", pd.Series([trace.tokens[p] for p in frame["position"]], dtype="str"))
    return frame.assign(ratio=frame["value"].abs() / frame["median"])


@quick
def massive_path(trace: Trace, times: float = TIMES) -> pd.DataFrame:
    """Where they come from and where they go: position, token, dim, layer, value, median, massive
    (whether it is one at that layer), for the six largest of `massive` at all layers."""
    found = massive(trace, times)
    places = found.assign(size=found["value"].abs()).sort_values("size", ascending=False)
    places = places.drop_duplicates(["position", "dim"]).head(FOLLOWED)
    medians = [float(states.abs().median()) for states in trace.hidden]
    there = set(found[["position", "dim", "layer"]].itertuples(index=False, name=None))
    rows = [
        (p, trace.tokens[p], d, n, float(states[p, d]), medians[n], (p, d, n) in there)
        for p, d in places[["position", "dim"]].itertuples(index=False, name=None)
        for n, states in enumerate(trace.hidden)
    ]
    columns = ["position", "token", "dim", "layer", "value", "median", "massive"]
    return pd.DataFrame(rows, columns=columns)


@costs(lambda n_tokens, n_layers, params: (3 + PASSAGES) * n_tokens)
def without_massive(
    model: Model,
    trace: Trace,
    times: float = TIMES,
    progress: Callable[[float, str], None] | None = None,
) -> pd.DataFrame:
    """What the loss says when they are set to something else, at the layer at which there are most
    of them (the first of these): what, layer, n, loss, change.

    "as it is"; "mean": each set to the mean that its dimension has at its position in those of 20
    of Strata's passages that are long enough, and left as it is where none is: `n` counts those
    that are set, and with none `loss` is missing; "zero"; "others to zero": as a comparison, as
    many of the largest other activations of that layer. `loss` is the mean next-token cross-entropy
    of the prompt in nats, `change` its difference to the run as it is. Sun et al. 2024 find that
    the mean changes next to nothing and zero ruins a model: it is a constant that the model needs,
    not what the text says. Later blocks may build them anew. InputError for a prompt of one token,
    for an edited run, and where nothing is massive.
    """
    if len(trace.tokens) < 2:
        raise InputError("A loss needs a prompt of at least two tokens.")
    if trace.edits:
        raise InputError("What is set to something else are activations of the clean run.")
    found = massive(trace, times)
    counts = found[found["layer"] > 0].groupby("layer").size()
    if counts.empty:
        raise InputError("No activation of this prompt is massive after a block.")
    layer = int(counts.idxmax())
    rows = found[found["layer"] == layer]
    places = list(rows[["position", "dim"]].itertuples(index=False, name=None))
    states = trace.hidden[layer]
    size = states.abs().clone()
    for p, d in places:
        size[p, d] = -1
    largest = size.flatten().topk(len(places)).indices.tolist()
    others = [divmod(i, states.shape[1]) for i in largest]
    if progress is not None:
        progress(0.2, f"Reading {PASSAGES} passages")
    means = _means(model, layer, places)
    known = [place for place, mean in zip(places, means, strict=True) if mean is not None]
    values = [mean for mean in means if mean is not None]
    clean = _loss(trace.logits, trace.token_ids)
    told = [{"what": "as it is", "layer": layer, "n": 0, "loss": clean}]
    to = (known, values), (places, [0.0] * len(places)), (others, [0.0] * len(others))
    for i, (what, (where, values)) in enumerate(zip(SET, to, strict=True)):
        if progress is not None:
            progress(0.5 + i / 6, f"Set to {what}")
        loss = math.nan
        if where:
            loss = _loss(_run(model, trace, layer, where, values), trace.token_ids)
        told.append({"what": what, "layer": layer, "n": len(where), "loss": loss})
    frame = pd.DataFrame(told)
    return frame.assign(change=frame["loss"] - clean)


def _means(model: Model, layer: int, places: list[tuple[int, int]]) -> list[float | None]:
    """Of each position and dimension, over those passages that are long enough for the position;
    None where none is."""
    n_tokens = 1 + max(p for p, _ in places)
    texts = [fitting(model, [text])[0] for text in list(passages().values())[:PASSAGES]]
    rows = [model.encode(text)[:n_tokens] for text in texts]
    states = [model.capture_row(row).hidden[layer] for row in rows]
    found = [[float(each[p, d]) for each in states if p < len(each)] for p, d in places]
    return [float(np.mean(values)) if values else None for values in found]


def _run(
    model: Model, trace: Trace, layer: int, places: list[tuple[int, int]], values: list[float]
) -> Tensor:
    """(T, V): the logits of a run in which numbers of the stream at a layer are set to others."""
    table: dict[int, list[tuple[int, float]]] = {}
    for (p, d), value in zip(places, values, strict=True):
        table.setdefault(p, []).append((d, value))

    def change(state: Tensor, place: object) -> Tensor:  # (B, m, D), m positions in order
        changed = state.clone()
        for i, p in enumerate(sorted(table)):
            for d, value in table[p]:
                changed[:, i].view(len(changed), -1)[:, d] = value
        return changed

    where = Scale(layer - 1, 1.0, positions=tuple(sorted(table)))
    operation = Operation(where, change, frozenset(table))
    _, _, logits = model.forward([trace.token_ids], Recorder(model.architecture, [operation]))
    return logits[0].cpu()


def _loss(logits: Tensor, token_ids: Tensor) -> float:
    scored = logits[:-1].double().log_softmax(dim=-1)  # (T - 1, V)
    return -float(scored.gather(1, token_ids[1:, None]).mean())
