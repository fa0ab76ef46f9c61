"""What the Gaussian baseline costs: a slider's move beside the seed's redraw, a layer, a glance."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np
import pandas as pd
import torch

from bench.measure import Row, take_turns
from strata import charts, corpus
from strata.concepts.gaussian_baseline import density
from strata.concepts.gaussian_baseline.words import compare
from strata.corpus import passages
from strata.engine import Job, LocalEngine, Settings
from strata.model import load_model


def geometry(name: str, quick: bool) -> Iterator[Row]:
    """On 2,000 states of the model, a million pairs; the texts are read before anything is timed.

    The seed's redraw is without its drawing: cosines, a list of all pairs, a full sort, histogram.
    """
    model = load_model(name)
    n = 200 if quick else 2_000
    sample = corpus.sample(model, list(passages.passages().values()), n)
    middle = model.n_layers // 2
    place: dict[str, object] = {"layer": middle, "part": "mlp"}
    layers = cycle(sample.layers("mlp"))
    shares = cycle(np.linspace(0, 1, 37))
    with LocalEngine(
        Settings(), load=lambda name, progress: model, listed=lambda: (name,)
    ) as engine:
        engine.samples.put((name, corpus.Source.model_validate({}), ()), sample)

        def ask(view: str, **params: object) -> pd.DataFrame:
            view = f"gaussian_baseline.{view}"
            return engine.run(Job(view=view, model=name, sample={}, params=params))

        def moved(place: dict[str, object]) -> object:
            """All that the page computes after a move of the quantile or the dimension."""
            bins, order, numbers = (ask(v, **place) for v in ("histogram", "quantiles", "summary"))
            share = next(shares)
            d = 1 + round(share * (numbers["dims"][0] - 1))
            pair = order.iloc[round(share * (len(order) - 1))]
            baseline = density.curve(d)
            compare(numbers, order, pair, d, len(sample))
            return charts.histogram(bins, baseline, pair["cosine"], "", "")

        def new_layer() -> object:
            engine.results.drop()
            return moved({"layer": next(layers), "part": "mlp"})

        def glance() -> pd.DataFrame:
            engine.results.drop()
            return ask("glance")

        def redraw() -> object:
            return _seed(sample.states(middle, "mlp"), next(shares))

        rounds, warm = (1, 1) if quick else (20, 2)
        taken = take_turns({"ours": lambda: moved(place), "seed": redraw}, rounds, warm)
        yield Row(
            "slider over a million pairs",
            taken["ours"],
            taken["seed"],
            "the seed's redraw",
            ratio_at_most=1 / 20,
            p95_at_most=0.050,
        )
        taken = take_turns({"ours": new_layer, "seed": redraw}, rounds, warm)
        yield Row(
            "another layer", taken["ours"], taken["seed"], "the seed's redraw", p95_at_most=2.0
        )
        taken = take_turns({"ours": glance}, rounds=1 if quick else 5, warm=1)
        yield Row("the whole model at a glance", taken["ours"], p95_at_most=2.0)


def _seed(states: torch.Tensor, share: float) -> tuple[float, tuple[int, int]]:
    """What notebook 001 computes at every move of a slider."""
    d = states / states.norm(dim=1, keepdim=True)
    angles = d[: len(d) // 2] @ d[len(d) // 2 :].t()
    pairs = [(x, y) for x in range(len(d) // 2) for y in range(len(d) // 2, len(d))]
    ordered, indices = angles.reshape(-1).sort(dim=0)
    np.histogram(angles.reshape(-1).numpy(), bins=np.linspace(-1, 1, 200), density=True)
    at = round(share * (len(pairs) - 1))
    return ordered[at].item(), pairs[indices[at]]
