"""What is said of hidden states, and what must stand in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from strata.concepts import sinks
from strata.concepts.hidden_states import giants, tables, words
from tests.concepts.said import Run, Said, chance, three, two


def said(run: Run) -> Iterator[Said]:
    found = sinks.sinks(run.trace)
    left = [p for p in range(len(run.shown)) if p not in set(found["position"])]
    norms = run.norms[:, left or slice(None)]  # (L + 1, T')
    median = np.median(norms, axis=1)
    claims = [f"is {three(median[0])} at layer 0 and {three(median[-1])} at layer {len(norms) - 1}"]
    if len(found) == 0:
        claims.append("no token is an attention sink.")
    else:
        top = found.loc[found["ratio"].idxmax()]
        p, layer = int(top["position"]), int(top["layer"])
        claims.append(f"position {p}, “{run.shown[p]}”, reaches {three(run.norms[layer, p])} at")
        times = (
            f"{three(run.norms[layer, p] / median[layer])} times the others" if left else "times"
        )
        claims.append(times)
        if left and (ratio := (norms / median[:, None]).max(axis=0)).max() >= 3:
            claims.append(f"up to {ratio.max():.1f} times the others, but not the tenfold")
            claims.append(str(left[int(ratio.argmax())]))
    sentence = words.reading(tables.summary(run.trace), run.named(found))
    yield Said("reading", sentence, tuple(claims))
    note = sinks.note(found, run.shown, left_out=True)
    names = [f"“{run.shown[p]}” ({p})" for p in found["position"]]
    some = (f"{len(names)} tokens",) if len(names) > 1 and not left else tuple(names[:5])
    yield Said("note", note, some or ("No token",))
    yield from _strips(run)
    yield from _massive(run)
    yield from _outliers(run, left)
    before = run.norms[-1, -1]
    after = run.model.normed(run.trace.hidden[-1])[-1].double().numpy()
    cosine = run.hidden[-1, -1] @ after / before / np.linalg.norm(after)
    final = words.final_norm_reading(tables.final_norm(run.model, run.trace))
    claims = [f"from a norm of {three(before)} to {three(float(np.linalg.norm(after)))} and"]
    yield Said("final_norm_reading", final, (*claims, f"cosine between the two is {two(cosine)}"))


def _massive(run: Run) -> Iterator[Said]:
    size = np.abs(run.hidden)  # (L + 1, T, D)
    medians = run.trace.hidden.abs().flatten(1).median(dim=1).values.numpy()
    there = (size > 100) & (size >= 1_000 * medians[:, None, None])
    n = int(there.any(axis=0).sum())
    found, path = giants.massive(run.trace), giants.massive_path(run.trace)
    named = run.named(found), run.named(path)
    sentence = words.massive_reading(*named, 1_000)
    claims = (f"{n:,} activation",) if n else ("No activation of this prompt is massive",)
    yield Said("massive_reading", sentence, claims)
    rows = [("as it is", 12, 0, 3.0, 0.0), ("mean", 12, 2, 3.1, 0.1)]
    rows += [("zero", 12, 2, 9.25, 6.25), ("others to zero", 12, 2, 2.5, -0.5)]
    frame = pd.DataFrame(rows, columns=["what", "layer", "n", "loss", "change"])
    claims = ("by 0.100 nats", "zeros in their place by 6.250", "by −0.500")
    yield Said("without_reading", words.without_reading(frame), claims)


def _strips(run: Run) -> Iterator[Said]:
    for position in sorted({0, run.last}):
        states = run.trace.hidden[:, position].numpy()  # (L + 1, D)
        layer, dim = np.unravel_index(np.abs(states).argmax(), states.shape)
        claims = (
            f"activation is {three(states[layer, dim])}, in dimension {dim} at layer {layer}",
            f"all {states.shape[1]:,} dimensions",
        )
        strip = tables.strip(run.trace, position)
        yield Said("strip_reading", words.strip_reading(strip, states.shape[1]), claims)


def _outliers(run: Run, left: list[int]) -> Iterator[Said]:
    claims: tuple[str, ...] = ("Every token of this prompt is left out",)
    if left:
        states = run.hidden[:, left]
        layer, at, dim = np.unravel_index(np.abs(states).argmax(), states.shape)
        share = states[layer, at, dim] ** 2 / (states[layer, at] ** 2).sum()
        claims = (
            f"Dimension {dim} alone holds {chance(share)} of",
            f"“{run.shown[left[at]]}” at layer {layer}",
        )
    frame = run.named(tables.outliers(run.trace, 5, skip_first=False, skip_sinks=True))
    yield Said("outliers_reading", words.outliers_reading(frame), claims)
