"""One small chart of every form, for the tests that hold for all."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd

from strata import charts
from strata.charts import Chart, chance
from strata.concepts.gaussian_baseline import density
from strata.concepts.laminar_profile import layer_matrices, points, statistics, token_matrices
from strata.display.tokens import display_sampled
from tests.concepts.by_hand import HOSTILE, trace
from tests.concepts.laminar_profile.test_laminar_profile import norm_model

READING = "It is so."
TOKENS = ["The", "␣cat", "␣cat"]
LABELS = [f"{position} {token}" for position, token in enumerate(TOKENS)]


def bars() -> Chart:
    frame = pd.DataFrame(
        {
            "label": ["␣a", "␣b"],
            "order": [0, 1],
            "value": [0.9, 0.1],
            "logprob": np.log([0.9, 0.1]),
            "chosen": [False, True],
        }
    )
    return charts.bars(frame, "What may follow", READING)


def funnel() -> Chart:
    frame = pd.DataFrame({"title": ["1. A", "2. B"], "reached": [3, 1], "answered": [2, 0]})
    return charts.funnel(frame.assign(hints=[0, 1]), "How far the class is", READING)


def tally(*, wall: bool = False) -> Chart:
    frame = pd.DataFrame(
        {
            "label": ["a", "b"] * 2,
            "right": [False, True] * 2,
            "vote": ["first"] * 2 + ["second"] * 2,
            "learners": [3, 0, 1, 2],
        }
    )
    return charts.tally(frame, "How the class voted", READING, wall=wall)


def strip(*, symlog: bool = False) -> Chart:
    frame = pd.DataFrame(
        {"x": [0.1, 0.9, 2.0], "layer": [0, 1, 2], "dim": [5, 5, 6], "value": [-1.0, 0.5, 300.0]}
    )
    return charts.strip(frame, "Activations", READING, symlog=symlog)


def layer_pairs(*, signed: bool = False) -> Chart:
    frame = pd.DataFrame({"layer_a": [0, 0, 1, 1], "layer_b": [0, 1, 0, 1]})
    frame["value"] = [1.0, -0.5, -0.5, 1.0]
    look = {"legend": "CKA", "domain": (0.0, 1.0), "signed": signed}
    return charts.layer_pairs(frame, "CKA of layers", READING, **look)


def scatter() -> Chart:
    frame = pd.DataFrame({"label": LABELS, "x": [0.1, 2.0, 7.5], "y": [300.0, 20.0, 25.0]})
    return charts.scatter(frame, "Paths and surprisal", "Surprisal (nats)", "Norm", READING)


def beside_chance(*, n_layers: int = 3, drawn: bool = True, best_first: bool = False) -> Chart:
    frame = pd.DataFrame({"layer": range(n_layers), "value": [4.0, 90.0, 600.0][:n_layers]})
    for name, factor in (("low", 0.5), ("middle", 1.0), ("high", 1.5)):
        frame[name] = frame["value"] * factor if drawn else float("nan")
    title = "Norm beside shuffled text"
    return chance.beside_chance(frame, title, "Norm", READING, best_first=best_first)


def by_layer() -> Chart:
    frame = pd.DataFrame({"layer": [0, 1, 2], "value": [1.0, 2.5, 24_000.0]})
    return charts.by_layer(frame, "Norm by layer", "Norm")


def lines(*, log: bool = False) -> Chart:
    frame = pd.DataFrame({"layer": [0, 1, 2] * 2, "name": ["text"] * 3 + ["chance"] * 3})
    frame["value"] = [1.0, 2.5, 400.0, 2.0, float("nan"), 3.0]
    frame.index = pd.Index([0, 1, 2] * 2)  # as of tables behind each other
    x = ("layer", "Dimension of the noise") if log else ("layer", "")
    return charts.lines(frame, "Two numbers", "Dimension", READING, x=x, log=log, muted=["chance"])


def heatmap(*, log: bool = False) -> Chart:
    rows = [(label, p, layer) for layer in range(3) for p, label in enumerate(LABELS)]
    frame = pd.DataFrame(rows, columns=["label", "position", "layer"])
    values = frame["layer"] * 100.0 + 1
    return charts.heatmap(frame.assign(value=values), "Norms", READING, legend="Norm", log=log)


def before_and_after() -> Chart:
    frame = pd.DataFrame(
        {
            "label": LABELS,
            "position": range(3),
            "norm_before": [600.0, 500.0, 400.0],
            "norm_after": [40.0, 50.0, 60.0],
            "cosine": [0.4, 0.5, 0.6],
        }
    )
    return charts.before_and_after(frame, READING)


def outliers() -> Chart:
    frame = pd.DataFrame(
        {
            "dim": [17, 9],
            "layer": [2, 1],
            "position": [1, 2],
            "value": [500.0, -20.0],
            "share": [0.7, 0.1],
            "label": LABELS[1:],
        }
    )
    return charts.outliers(frame, 3, READING)


@cache
def profile() -> tuple[pd.DataFrame, pd.DataFrame]:
    run = trace(layers=4, tokens=6)
    return points(norm_model(), run), statistics(norm_model(), run)


def laminar_profile() -> Chart:
    pairs, numbers = profile()
    axes = charts.laminar_axes(pairs, numbers)
    return charts.laminar_profile(pairs, numbers, "Laminar profile", READING, list(HOSTILE), axes)


@cache
def cells_of_layers(*layers: int) -> pd.DataFrame:
    return token_matrices(norm_model(), trace(tokens=6), layers)


def matrices(*layers: int) -> list[Chart]:
    cells = cells_of_layers(*layers)
    names = [f"layer {layer}" for layer in range(7)]
    scale = charts.colours(cells["cosine"])
    return charts.token_matrices(cells, layers, names, list(HOSTILE), scale, READING)


@cache
def cells_of_tokens() -> pd.DataFrame:
    return layer_matrices(norm_model(), trace(layers=4, tokens=6), (0, 5))


def layers_of_a_token() -> Chart:
    cells = cells_of_tokens()
    scale = charts.colours(cells["cosine"])
    return charts.layer_matrices(cells, [0, 5], list(HOSTILE), scale, READING)[1]


def colour_bar() -> Chart:
    cosines = pd.Series([-0.2, 0.9])
    return charts.colour_bar(charts.colours(cosines), cosines)


def histogram(d: int = 8, *, small: bool = False) -> Chart:
    edges = np.linspace(-1, 1, 21)
    bins = pd.DataFrame({"left": edges[:-1], "right": edges[1:], "count": 5, "density": 0.5})
    pair = None if small else 0.3
    return charts.histogram(bins, density.curve(d), pair, "Cosines", READING, small=small)


def by_part(*, log: bool = False) -> Chart:
    rows = [(layer, part, 1.0 + layer) for layer in (1, 2) for part in ("stream", "attn", "mlp")]
    frame = pd.DataFrame(rows, columns=["layer", "part", "value"])
    return charts.by_part(frame, "Mean cosine of pairs", "Mean cosine", 1, log=log)


def dimensions() -> Chart:
    frame = pd.DataFrame({"dim": [0, 1], "kurtosis": [-0.5, 80.0], "share": [0.1, 0.9]})
    return charts.dimensions(frame.assign(mean=0.0, variance=1.0), 1, "Dimensions", READING)


def quantile_quantile() -> Chart:
    frame = pd.DataFrame({"expected": [-1.0, 1.0], "observed": [-0.9, 1.3], "label": LABELS[1:]})
    return charts.quantile_quantile(frame, "Dimension 3", READING)


def paths() -> Chart:
    rows = [(p, LABELS[p], layer, p + layer * 0.5, layer) for p in (0, 1) for layer in range(3)]
    frame = pd.DataFrame(rows, columns=["path", "label", "layer", "x", "y"])
    return charts.paths(frame, "Map of states", READING, n_layers=2)


def contexts() -> Chart:
    """As the page has them: of texts that are inert."""
    frame = pd.DataFrame(
        {
            "order": range(len(HOSTILE)),
            "before": "on the bank of the",
            "shown": list(map(display_sampled, HOSTILE)),
            "after": ["where the boats lie", *[""] * (len(HOSTILE) - 1)],
            "name": "“canals”",
            "cosine": np.linspace(0.9, -0.2, len(HOSTILE)),
            "usual": 0.4,
        }
    )
    return charts.contexts(frame, "Nearest at layer 2", READING)


FORMS = {
    "bars": bars,
    "funnel": funnel,
    "tally": tally,
    "tally, wall": lambda: tally(wall=True),
    "strip": strip,
    "strip, symlog": lambda: strip(symlog=True),
    "scatter": scatter,
    "beside_chance": beside_chance,
    "beside_chance, the least first": lambda: beside_chance(best_first=True),
    "beside_chance, a single number": lambda: beside_chance(n_layers=1),
    "beside_chance, nothing drawn": lambda: beside_chance(drawn=False),
    "layer_pairs": layer_pairs,
    "layer_pairs, signed": lambda: layer_pairs(signed=True),
    "by_layer": by_layer,
    "lines": lines,
    "lines, log": lambda: lines(log=True),
    "contexts": contexts,
    "heatmap": heatmap,
    "heatmap, log": lambda: heatmap(log=True),
    "before_and_after": before_and_after,
    "outliers": outliers,
    "laminar_profile": laminar_profile,
    "layer_matrices": layers_of_a_token,
    "token_matrices": lambda: matrices(1, 2)[0],
    "token_matrices, large": lambda: matrices(2)[0],
    "colour_bar": colour_bar,
    "histogram": histogram,
    "histogram, small": lambda: histogram(1, small=True),
    "by_part": by_part,
    "by_part, log": lambda: by_part(log=True),
    "dimensions": dimensions,
    "quantile_quantile": quantile_quantile,
    "paths": paths,
}
