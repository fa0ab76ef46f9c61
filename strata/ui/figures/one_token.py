"""The hidden states of one token: every activation, and beside them their statistics by layer."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.hidden_states import words
from strata.ui.anatomy.page import Page, draw, only, reading

STATISTICS = {"variance": "Variance", "norm": "Norm", "mean": "Mean", "kurtosis": "Excess kurtosis"}


def draw_one_token(page: Page, position: int, summary: pd.DataFrame, *, symlog: bool) -> None:
    """Both figures of the token at a position, and their reading. `summary`: of all tokens."""
    strip = page.ask("hidden_states.strip", position=position)
    sentence = words.strip_reading(strip, page.about["d_model"])

    def activations() -> charts.Chart:
        points = strip.assign(x=strip["layer"] + strip["jitter"])
        subject = f"Hidden-state activations of {page.shown(position)} (position {position})"
        return charts.strip(points, subject, sentence, symlog=symlog)

    def by_layer(name: str, noun: str) -> charts.Chart:
        values = summary[summary["position"] == position].assign(value=summary[name])
        return charts.by_layer(values[["layer", "value"]], f"{noun} by layer", noun)

    st.caption("Every number of this token's hidden state, a column of points for each layer.")
    figure, detail = st.columns([5, 3], gap="medium")
    with figure:
        chart = page.made("strip", activations, position, symlog)
        n_values = page.about["d_model"] * (page.n_layers + 1)
        draw(chart, "strip", read=False, note=only(len(strip), n_values, "activation"))
    with detail:
        for name, noun in STATISTICS.items():
            chart = page.made("by_layer", partial(by_layer, name, noun), name, position)
            draw(chart, f"by_layer_{name}", read=False)
    reading(sentence)
