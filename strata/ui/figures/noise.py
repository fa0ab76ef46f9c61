"""Scaling beside its controls: a block left out, and random pushes of the same size."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts import sweep
from strata.concepts.scaling import words
from strata.concepts.scaling.controls import SEEDS
from strata.ui.anatomy.page import Page, draw, readings_wait
from strata.ui.anatomy.style import leads
from strata.ui.figures.edit import Edit


def draw_noise(page: Page, edit: Edit, place: DeltaGenerator) -> pd.DataFrame:
    """The figure, what it says, and its table."""
    asked = {"target_id": edit.target.ids, "factor": edit.factor, **edit.params}
    frame = page.ask("scaling.controls", n_seeds=SEEDS, **asked)
    target = edit.target
    sentence = words.controls_reading(frame, target.shown, edit.part, target.other)
    title = f"{target.named}: {edit.noun} at one block, beside noise"
    names = {
        "scale": f"× {edit.factor:g}",
        "noise": f"{SEEDS} random pushes as large: median, range",
        "skip": "block left out",
    }
    sinks = page.ask("hidden_states.sinks")["position"]
    pushed = sorted({*sinks} & {*(edit.positions or range(page.n_tokens))})
    with place, leads():
        chart = sweep.beside_noise(_marks(frame, names), title, sentence, target.pair)
        draw(chart, "beside_noise", note="beyond 1 nat the axis is logarithmic")
        if 0 < len(pushed) < page.n_tokens and not readings_wait():
            st.caption(words.pushed_sinks([page.shown(position) for position in pushed], pushed))
    return frame


def _marks(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Three rows a block: block, edit, name, logprob, low, high, clean_logprob."""
    rows = words.by_block(frame)
    of = {"scale": "scale", "noise": "median", "skip": "skip"}
    shown = ["block", "clean_logprob", "low", "high"]
    parts = [
        rows[shown].assign(edit=edit, name=names[edit], logprob=rows[column])
        for edit, column in of.items()
    ]
    return pd.concat(parts, ignore_index=True)
