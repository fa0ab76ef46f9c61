"""Controls of maps: which tokens and layers are drawn, how the map is made; and the map itself."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts, map_words
from strata.display import display_text, display_token
from strata.examples import BY_ID, EXAMPLES
from strata.neighbours import METRICS
from strata.ui.page import Page, draw, reading

LETTERS = "ABCD"  # of prompts that share a map
_SEEDS_OWN = (10, 19)  # the positions that the notebook draws


def span(page: Page, place: DeltaGenerator) -> tuple[int, int]:
    """First and last position to draw: the notebook's for a new prompt, all of a short one."""
    last = page.n_tokens - 1
    if last == 0:
        place.text(f"Tokens drawn: the only one, {page.shown(0)}")
        return 0, 0
    usual = _SEEDS_OWN if last >= _SEEDS_OWN[1] else (0, last)
    known = st.session_state.get("span", usual)
    if st.session_state.get("span_of", page.prompt) != page.prompt or known[1] > last:
        st.session_state["span"] = usual
    st.session_state["span_of"] = page.prompt
    first, final = place.slider(
        "Tokens drawn, by position", 0, last, usual, key="span", bind="query-params"
    )
    return first, final


def layers(page: Page, place: DeltaGenerator) -> tuple[int, int]:
    """First and last layer to draw; the map is of all."""
    whole = (0, page.n_layers)
    if st.session_state.get("layers", whole)[1] > page.n_layers:
        st.session_state["layers"] = whole
    first, last = place.slider("Layers drawn", *whole, whole, key="layers", bind="query-params")
    return first, last


def settings(place: DeltaGenerator) -> dict[str, Any]:
    """How maps are drawn, as the views want it; the notebook's settings unless changed."""
    bound: dict[str, Any] = {"bind": "query-params"}
    with place.popover("How the map is drawn", icon=":material/tune:", width="stretch"):
        st.caption(
            "At first as in the notebook: UMAP, cosine, 50 neighbours; 200 epochs, which is "
            "umap-learn's own choice only for larger maps and keeps this one quick."
        )
        method = st.segmented_control(
            "Method", ["UMAP", "PCA"], default="UMAP", required=True, key="method", **bound
        )
        metric = st.segmented_control(
            "Distance", METRICS, default=METRICS[0], required=True, key="metric", **bound
        )
        neighbours = st.select_slider("Neighbours", [5, 15, 30, 50, 100], 50, key="n", **bound)
        gap = st.select_slider(
            "Least distance on the map", [0.0, 0.1, 0.25, 0.5, 1.0], 0.1, key="gap", **bound
        )
        epochs = st.select_slider("Epochs", [50, 100, 200, 500], 200, key="epochs", **bound)
        seed = st.number_input("Seed", 0, 999_999, 0, key="seed", **bound)
    return {
        "method": method.lower(),
        "metric": metric,
        "n_neighbors": neighbours,
        "min_dist": gap,
        "n_epochs": epochs,
        "seed": int(seed),
    }


def show(page: Page, frame: pd.DataFrame, drawn: pd.Series, title: str, key: str) -> None:
    """A map with its reading. `drawn` marks the rows that are drawn, of all that set its limits.

    The page's tokens name the paths unless the frame brings its own columns path and label.
    """
    rows = frame[drawn]
    if "label" not in rows:
        rows = page.labelled(rows).assign(path=rows["position"])
    sentence = map_words.reading(frame)
    kept = rows[["path", "label", "layer", "x", "y"]]
    chart = charts.paths(kept, title, sentence, n_layers=page.n_layers, within=frame)
    draw(chart, key, read=False)
    reading(sentence, key)


def companions(page: Page) -> tuple[str, ...]:
    """Other prompts to put on the same map: examples, at first one of the same purpose."""
    mine = next((e for e in EXAMPLES if e.prompt == page.prompt), None)
    others = [example for example in EXAMPLES if example is not mine]
    alike = [e.id for e in others if mine and e.purpose == mine.purpose] or [others[0].id]
    chosen = st.multiselect(
        "Prompts on the same map as yours",
        [example.id for example in others],
        alike[:1],
        format_func=lambda name: display_text(BY_ID[name].prompt),
        max_selections=3,
        key=f"with_{mine.id if mine else 'own'}",
    )
    return tuple(BY_ID[name].prompt for name in chosen)


def show_shared(page: Page, frame: pd.DataFrame, shared: pd.DataFrame, key: str) -> None:
    """A map of several prompts on which only the tokens that they share are drawn."""
    ids = list(dict.fromkeys(shared["token"]))
    token = st.segmented_control(
        "Token that is followed",
        range(len(ids)),
        format_func=lambda i: display_token(ids[i]),
        key=f"{key}_token",
    )
    chosen = shared if token is None else shared[shared["token"] == ids[token]]
    places = {*zip(chosen["prompt_a"], chosen["position_a"], strict=True)}
    places |= {*zip(chosen["prompt_b"], chosen["position_b"], strict=True)}
    here = pd.Series([*zip(frame["prompt"], frame["position"], strict=True)], index=frame.index)
    names = [
        f"{LETTERS[p]} {display_token(t)}"
        for p, t in zip(frame["prompt"], frame["token"], strict=True)
    ]
    paths = frame["prompt"].astype(str) + "." + frame["position"].astype(str)
    frame = frame.assign(label=names, path=paths)
    show(page, frame, here.isin(places), "Tokens that the prompts share", key)
