"""Laminar profile: how alike the states of a prompt are, from layer to layer, token to token."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.concepts.laminar_profile import words
from strata.concepts.laminar_profile.tables import evenly_spaced
from strata.ui.anatomy.controls import CENTRED, PACE, played_slider, player
from strata.ui.anatomy.page import close_page, open_page, position_slider, reading
from strata.ui.figures.beside import beside
from strata.ui.figures.matrices import draw_layer_matrices, draw_token_matrices, matrix_controls
from strata.ui.figures.profiles import draw_profiles
from strata.ui.figures.similarity import draw_similarity
from strata.ui.figures.sinks import told

VIEWS = ("Laminar profile", "Between layers", "Between tokens", "Whole layers")
SHORTCUT = "The common mistake: unique(triu)[1:]"

page = open_page("laminar_profile")
tabs = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
profiled, layered, paired, whole = tabs
last, skip_sinks, center = page.n_layers, True, False
tokens, layers = evenly_spaced(page.n_tokens), evenly_spaced(last + 1)
names = [*(f"layer {layer}" for layer in range(last + 1)), "after the final norm"]
tables: dict[str, pd.DataFrame] = {}
compared: dict[str, list[str]] = {}  # texts, groups of words

if profiled.open:
    with profiled:
        skip, centred, more, second = st.columns([4, 3, 5, 5], vertical_alignment="bottom")
        skip_sinks = skip.toggle("Leave out attention sinks", True, key="skip", bind="query-params")
        center = centred.toggle("Mean-centred", key="center", bind="query-params", help=CENTRED)
        runs = beside(page, SHORTCUT, more, second)
        kept: dict[str, Any] = {"skip_first": False, "skip_sinks": skip_sinks, "center": center}
        statistics, points = (
            {
                title: run.ask(f"laminar_profile.{view}", unique=title == SHORTCUT, **kept)
                for title, run in runs.items()
            }
            for view in ("statistics", "points")
        )
        readings = [
            f"{title}: " * (len(runs) > 1)
            + f"{words.profile_reading(statistics[title], points[title])} "
            + told(run, left_out=skip_sinks)
            for title, run in runs.items()
        ]
        if all(map(len, points.values())):
            draw_profiles(runs, points, statistics, **kept)
        if SHORTCUT in runs:
            readings = [words.unique_bug_reading(*statistics.values())]
        reading("\n".join(readings))
        for view, found in (("statistics", statistics), ("points", points)):
            tables |= zip((view, f"{view}, beside"), found.values(), strict=False)

if layered.open:
    with layered:
        pick, chosen, center, wrong = matrix_controls("Tokens", page.labels, tokens)
        tokens = chosen or [position_slider(page, "Token at position", "at", pick)]
        tables = draw_layer_matrices(page, tokens, st.container(), center=center, mistaken=wrong)

if paired.open:
    with paired:
        pick, chosen, center, wrong = matrix_controls("Layers", names, layers)
        if chosen:
            layers = chosen
            place = st.container()
            tables = draw_token_matrices(page, layers, names, place, center=center, mistaken=wrong)
        else:
            playing = player("layer", last, pick)

            @st.fragment(run_every=PACE if playing else None)
            def one_layer() -> None:
                slider, place = st.columns([3, 5], gap="medium")
                layers[:] = [played_slider("Layer", "layer", last, slider, playing=playing)]
                tables.update(draw_token_matrices(page, layers, names, place, center=center))

            one_layer()

if whole.open:
    with whole:
        tables, compared = draw_similarity(page)

choices = {"positions": tokens, "layers": layers, "center": center}
choices |= {"skip_first": False, "skip_sinks": skip_sinks, **compared}
script = page.script(blocks=page.about["blocks"], **choices)
close_page(page, tables, script, lambda: page.ask("hidden_states.archive")["content"][0])
