"""Choosing sampled states, the baseline beside them, a pair of tokens, and a dimension."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts
from strata.concepts.gaussian_baseline import words
from strata.display.tokens import display_sampled
from strata.ui.anatomy.controls import bounded_slider, one_of, one_of_counts, themselves
from strata.ui.anatomy.page import draw, only
from strata.ui.anatomy.style import room
from strata.ui.figures.texts import SampledPage

PARTS = {"stream": "Stream", "attn": "Attention", "mlp": "MLP"}
NOUNS = {"stream": "Residual stream", "attn": "Attention writes", "mlp": "MLP writes"}
_KS = "KS distance (0 to 1)"
GLANCE = {
    "mean": ("Mean cosine of pairs", "Mean cosine"),
    "effective_dimension": ("Effective dimension", "Dimensions (logarithmic)"),
    "ks_full": ("Distance from random directions in all dimensions", _KS),
    "ks_best": ("Distance from those in the nearest number of dimensions", _KS),
}
_TOP = 3  # dimensions of largest variance that are left out at first
STEPS = RAW, CENTRED, DROPPED = "Raw", "Centred", "Without the top"
PAIRS = {"all": "All", "within": "Within a text", "between": "Between texts"}
COMPARED = {"number": "", "these": "These states", "random": "Random"}


@dataclass(frozen=True)
class States:
    """Which states the learner looks at, and what is taken from them before."""

    layer: int
    part: str
    step: str
    top: int  # how many dimensions of largest variance the last step leaves out

    @property
    def place(self) -> dict[str, Any]:
        """A view's parameters that name the states."""
        return {"layer": self.layer, "part": self.part}

    @property
    def treated(self) -> dict[str, Any]:
        """A view's parameters that say what is taken from them."""
        return treatment(self.step, self.top)

    @property
    def noun(self) -> str:
        """What the figure shows."""
        return f"{NOUNS[self.part]} at layer {self.layer}"


def treatment(step: str, top: int) -> dict[str, Any]:
    """What a step takes from the states, as a view's parameters; each step keeps those before."""
    return {"center": step != RAW, "drop_top": top if step == DROPPED else 0}


def choose(page: SampledPage) -> States:
    """The row above all tabs: part, layer, step."""
    which, where, how, many = st.columns([5, 5, 6, 4])
    parts = list(PARTS) if page.sampled["writes"][0] else ["stream"]
    names, refusal = {part: PARTS[part] for part in parts}, page.sampled["refusal"][0] or None
    part = one_of(which, "States of", names, key="part", help=refusal)
    first, last = int(part != "stream"), page.n_layers
    layer = bounded_slider("Layer", first, last, (last + 1) // 2, key="at_layer", place=where)
    told = (
        "Centred: the mean over the whole sample is taken from every state. Without the top: "
        "centred, and without the dimensions of largest variance."
    )
    step = one_of(how, "Before they are compared", themselves(STEPS), key="step", help=told)
    counts, top = page.up_to_width(1, 2, 3, 5, 10, 20, 50), _TOP
    view = st.session_state.get("view", st.query_params.get("view"))
    if step == DROPPED or view == "Three steps":  # else nothing is left out
        top = one_of_counts("Top dimensions", counts, _TOP, key="top", place=many)
    return States(layer, part, step, top)


def sides() -> tuple[DeltaGenerator, DeltaGenerator, DeltaGenerator]:
    """Places for the histogram, which is kept while it is drawn; beside it, and below both."""
    (figure, detail), below = st.columns([5, 3], gap="medium"), st.container()
    with figure:
        return room(400, "histogram"), detail, below


def choose_pairs() -> tuple[str, bool]:
    """Which pairs, and whether the axis is as narrow as their cosines."""
    pairs = one_of(st.container(), "Pairs", PAIRS, key="pairs")
    return pairs, st.toggle("Zoom in on their cosines", key="zoom", bind="query-params")


def choose_baseline(numbers: pd.DataFrame, place: DeltaGenerator) -> tuple[int, float]:
    """The dimension of the baseline, with a button that finds the nearest; a quantile, 0 to 1."""
    dims, best = int(numbers["dims"][0]), int(numbers["best_dimension"][0])
    slide, fit, quantile = place.columns([5, 2, 5], vertical_alignment="bottom")
    fit.button(
        "Fit",
        on_click=lambda: st.session_state.update(dims=best),
        width="stretch",
        help="Finds the number of dimensions whose random directions are nearest, by the "
        "Kolmogorov-Smirnov distance.",
    )
    d = bounded_slider(
        "Random directions in this many dimensions", 1, dims, dims, key="dims", place=slide
    )
    percent = quantile.slider(
        "The pair at this quantile, from the least to the most alike",
        0.0,
        100.0,
        50.0,
        0.1,
        format="%.1f%%",
        key="quantile",
        bind="query-params",
    )
    return d, percent / 100


def show_pair(page: SampledPage, pair: pd.Series) -> None:
    """Both tokens of a pair in their texts, as plain text."""
    for place, side in zip(st.columns(2), ("a", "b"), strict=True):
        place.text(f"{page.name(pair[f'text_{side}'])}, position {pair[f'position_{side}']}")
        place.code(words.context(pair, side), language=None, wrap_lines=True)


def choose_dimension(
    page: SampledPage, chosen: States, dims: pd.DataFrame
) -> tuple[int, pd.DataFrame]:
    """Both figures of single dimensions: their kurtosis, where a click chooses one, and the
    quantiles of that one, which are returned with its number."""
    left, right = st.columns(2, gap="medium")
    state = st.session_state
    last, widest = len(dims) - 1, int(dims["kurtosis"].fillna(0).argmax())
    if not 0 <= state.get("dim", widest) <= last:
        state["dim"] = widest
    dim = int(state.get("dim", widest))

    def picked(point: dict[str, Any]) -> None:
        state["dim"] = int(point["dim"])

    with left:
        title = f"{chosen.noun}: excess kurtosis of each dimension"
        sentence = words.dimensions_reading(dims, page.n_states)
        chart = charts.dimensions(dims, dim, title, sentence)
        draw(chart, "dimensions", read=False, on_pick=picked)
    dim = int(right.number_input("Dimension", 0, last, dim, key="dim", bind="query-params"))
    points = page.ask("gaussian_baseline.normality", dim=dim, **chosen.place)
    shown = points.assign(label=points["token"].map(display_sampled))
    with right:
        sentence = words.normality_reading(points, dim)
        title = f"Dimension {dim}: its quantiles against a Gaussian's"
        some = only(len(points), page.n_states, "state")
        chart = charts.quantile_quantile(shown, title, sentence)
        draw(chart, "quantiles", read=False, note=some)
    return dim, points


def script(page: SampledPage, chosen: States, **kept: Any) -> str:
    """The program for these states; `kept` are its other choices."""
    about = page.sampled.iloc[0]
    modules, scales = (), ()
    if chosen.part != "stream":
        modules = json.loads(about[chosen.part])
        scales = json.loads(about[f"{chosen.part}_scales"])[chosen.layer - 1]
    return page.script(
        texts=page.ask("corpus.texts")["content"],
        blocks=page.about["blocks"],
        modules=modules,
        scales=scales,
        **{name: page.sample[name] for name in ("n", "seed", "skip_first", "skip_sinks")},
        **chosen.place,
        **chosen.treated,
        **kept,
    )


def archive(page: SampledPage, chosen: States) -> Callable[[], bytes]:
    """What fetches these states as a file."""
    return lambda: page.ask("gaussian_baseline.archive", **chosen.place)["content"][0]
