"""`python -m bench.jacobian_estimators`: what a Jacobian lens is worth for its CPU-seconds.

Each way to spend them is compared with the lens that Strata ships, by the cosine of the flattened
matrices at the layer that agrees least; its texts and those that are fitted on here are disjoint.
Texts in full are timed as they are fitted, by `time.process_time`, which leaves out what else the
machine does. What follows from the same numbers is not computed twice: split cotangents are rows of
texts in full and cost that share of them, and larger batches of rows give the same numbers in
another time, which is measured on 64 cotangents. `--json` and `--chart` are written anew after each
text, so a run may be broken off.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from bench.jacobian import by_definition
from strata.corpus.passages import fitting, passages
from strata.model import Model, load_model, pullback
from strata.model.fitted import SHIPPED
from strata.model.jacobian import SKIP, Lens, text_name
from strata.weights.sources import cached_folder

TOKENS, SHORT = 48, 32
_TIMED = 64  # cotangents by which other batches of rows are timed
_BATCHES = (8, 16, 32, 64)
_RANKS = (16, 64)  # of what is kept beside the identity
_TOWARDS = (0.1, 0.3)  # parts of the identity
FULL, SHRUNK = "Strata, texts in full", "Strata, shrunk"


@dataclass(frozen=True)
class Point:
    """One way to spend CPU-seconds, and what its J is worth: the cosine at each layer."""

    way: str
    what: str
    cpu_seconds: float
    cosines: tuple[float, ...]

    @property
    def worst(self) -> float:
        return min(self.cosines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit, compare, and write what is known after each text."""
    parser = argparse.ArgumentParser(prog="python -m bench.jacobian_estimators")
    parser.add_argument("--model", default="smollm2-135m", metavar="NAME")
    parser.add_argument("--reference", type=Path, default=SHIPPED, metavar="FILE", help="a lens")
    parser.add_argument("--texts", type=int, default=4, help="in full; 4")
    parser.add_argument("--short", type=int, default=2, help=f"of {SHORT} tokens; 2")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers here")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them: .svg or .png")
    options = parser.parse_args(arguments)
    model, reference = load_model(options.model), Lens.load(options.reference)
    reference.require(model)
    points: list[Point] = []
    for points in measured(model, reference, options.texts, options.short):
        if options.json:
            told = {"reference_texts": reference.n_texts, "points": list(map(asdict, points))}
            options.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        if options.chart:
            chart(points, reference.n_texts).save(str(options.chart))
    for point in sorted(points, key=lambda point: (point.way, point.cpu_seconds)):
        some = " ".join(f"{cosine:.2f}" for cosine in point.cosines[::3])
        print(f"{point.cpu_seconds:7.0f} s  {point.worst:.3f}  {point.way}: {point.what}  {some}")
    return 0


def measured(model: Model, reference: Lens, n_full: int, n_short: int) -> Iterator[list[Point]]:
    """All points that are known so far, after each text."""
    wanted = reference.matrices[:-1].double()
    texts = [fitting(model, [text])[0] for text in islice(passages().values(), 200)]
    rows = [model.encode(text)[: reference.max_tokens] for text in texts]
    rows = [row[:TOKENS] for row in rows if text_name(row) not in reference.texts]
    rows = [row for row in rows if len(row) == TOKENS][: n_full + n_short]
    everything = torch.eye(model.d_model)
    shares = _shares(model, rows[0])  # of the time in full, by way and batch
    full: list[tuple[Tensor, float]] = []
    short: list[tuple[Tensor, float]] = []
    for i in range(max(n_full, n_short)):
        for some, n, n_tokens in ((full, n_full, TOKENS), (short, n_short, SHORT)):
            if i < n:
                row = rows[n_full + i if some is short else i][:n_tokens]
                some.append(_timed(partial(_of_text, model, row, everything)))
                yield list(_points(wanted, full, short, shares))


def _of_text(model: Model, row: Tensor, cotangents: Tensor) -> Tensor:
    return pullback.pulled_back(model, [row], cotangents, SKIP)[0, :-1]


def _timed(work: Callable[[], Tensor]) -> tuple[Tensor, float]:
    began = time.process_time()
    return work(), time.process_time() - began


def _shares(model: Model, row: Tensor) -> dict[tuple[str, int], float]:
    """The time of both estimators by how many rows go together, over ours as it is."""
    folder = cached_folder(model.card)
    assert folder is not None, "a model that was loaded is cached"
    network: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=model.dtype)
    network = network.to(model.device).eval().requires_grad_(False)
    some, usual, taken = torch.eye(model.d_model)[:_TIMED], pullback.ROWS, {}
    _of_text(model, row, some[:usual])  # warm
    for batch in _BATCHES:
        pullback.ROWS = batch
        taken["Strata", batch] = _timed(partial(_of_text, model, row, some))[1]
        pullback.ROWS = usual
        plain = _timed(partial(by_definition, network, model, row, some, batch))
        taken["the definition", batch] = plain[1]
    return {which: seconds / taken["Strata", usual] for which, seconds in taken.items()}


def _points(
    wanted: Tensor,
    full: Sequence[tuple[Tensor, float]],
    short: Sequence[tuple[Tensor, float]],
    shares: dict[tuple[str, int], float],
) -> Iterator[Point]:
    def cosines(found: Tensor) -> tuple[float, ...]:
        both = torch.cosine_similarity(found.double().flatten(1), wanted.flatten(1))
        return tuple(both.tolist())

    for n in range(1, len(full) + 1):
        mean = torch.stack([each for each, _ in full[:n]]).double().mean(dim=0)  # (L, D, D)
        seconds, own = sum(taken for _, taken in full[:n]), cosines(mean)
        yield Point(FULL, f"{n} of {TOKENS} tokens", seconds, own)
        for (who, batch), share in shares.items():
            if (who, batch) != ("Strata", pullback.ROWS) and n in (1, len(full)):
                what = f"{who}, {batch} rows at a time"
                yield Point(what, f"{n} texts", seconds * share, own)
    for n in range(1, len(short) + 1):
        mean = torch.stack([each for each, _ in short[:n]]).double().mean(dim=0)
        seconds = sum(taken for _, taken in short[:n])
        yield Point("Strata, shorter texts", f"{n} of {SHORT} tokens", seconds, cosines(mean))
    seconds = sum(taken for _, taken in full)
    for n in range(1, len(full)):  # each text some of its cotangents, each cotangent some texts
        total = torch.zeros_like(full[0][0], dtype=torch.float64)
        for i, (each, _) in enumerate(full):
            chosen = (torch.arange(each.shape[1]) + i) % len(full) < n
            total[:, chosen] += each[:, chosen].double()
        what = f"{n} of {len(full)} parts of the cotangents of {len(full)} texts"
        yield Point("Strata, cotangents split", what, seconds * n / len(full), cosines(total / n))
    mean = torch.stack([each for each, _ in full]).double().mean(dim=0)
    identity = torch.eye(mean.shape[-1], dtype=torch.float64)
    for part in _TOWARDS:
        what = f"{len(full)} texts, {part:g} of the identity"
        size = mean.flatten(1).norm(dim=1)[:, None, None] / identity.norm()
        mixed = (1 - part) * mean + part * size * identity
        yield Point(SHRUNK, what, seconds, cosines(mixed))
    left, sizes, right = torch.linalg.svd((mean - identity).float())
    for rank in (each for each in _RANKS if each < len(identity)):
        low = (left[..., :rank] * sizes[:, None, :rank]) @ right[:, :rank]
        what = f"{len(full)} texts, identity plus rank {rank}"
        yield Point(SHRUNK, what, seconds, cosines(identity + low.double()))


def chart(points: Sequence[Point], n_texts: int) -> alt.LayerChart:
    """The worst layer's cosine over CPU-seconds, a line a way; what is shrunk costs no time."""
    frame = pd.DataFrame([asdict(point) | {"worst": point.worst} for point in points])
    frame = frame.drop(columns="cosines")
    ways = sorted(frame["way"].unique(), key=lambda way: (way != FULL, way))
    legend = alt.Legend(orient="right", labelLimit=280, symbolLimit=0)
    base = alt.Chart(frame, width=560, height=340).encode(
        x=alt.X("cpu_seconds:Q", title="CPU-seconds", scale=alt.Scale(type="log", nice=False)),
        y=alt.Y("worst:Q", title="Worst layer's cosine", scale=alt.Scale(zero=False)),
        color=alt.Color(
            "way:N", title=None, sort=ways, legend=legend, scale=alt.Scale(scheme="tableau20")
        ),
        shape=alt.Shape("way:N", sort=ways, legend=None),
    )
    lines = base.mark_line().transform_filter(alt.datum.way != SHRUNK)
    both = lines + base.mark_point(filled=True, size=60, opacity=1)
    return both.properties(title=f"Against a fit on {n_texts} other texts")


if __name__ == "__main__":
    raise SystemExit(main())
