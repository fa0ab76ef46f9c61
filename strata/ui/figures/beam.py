"""The beam of a word: how disposed each state is to say it, sharper with every passage."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.common import Chart
from strata.charts.lenses import compared
from strata.concepts.jacobian_lens import words
from strata.corpus.passages import passages
from strata.ui.anatomy.controls import bounded_slider, one_of_counts
from strata.ui.anatomy.page import Page, draw, only, position_slider, reading
from strata.ui.anatomy.style import leads
from strata.ui.figures.target import Target, choose_target

STAGES = (1, 2, 4, 8, 16, 25)  # passages after which the curves are drawn anew
_USUAL = 8
Found = tuple[dict[str, pd.DataFrame], dict[str, Any]]


def draw_beam(page: Page) -> Found:
    """The controls, the word's curve by layer and by token, and what they say. Its table, and what
    the script needs."""
    with st.container(key="edit"):
        which, minus, many, where, at = st.columns(5, vertical_alignment="bottom")
        target = choose_target(page, which, minus)
        n_passages = one_of_counts("Passages", list(STAGES), _USUAL, key="passages", place=many)
        position = position_slider(page, "Token at position", "at", where)
        layer = bounded_slider("Layer", 0, page.n_layers, page.n_layers // 2, "layer", at)
    left, right = st.columns([5, 4], gap="medium")
    with left:
        figure = leads()
    with figure:
        beams = read_passages(page, target, n_passages, position)
    named = target.pair or (target.shown,)
    sentence = words.beam_reading(beams, named, page.all_shown, layer, position)
    with figure:
        note = only(1, page.n_tokens, "token")
        draw(by_layer(page, beams, target, position, sentence), "beam", read=False, note=note)
    with right:
        note = only(1, page.n_layers + 1, "layer")
        chart = _by_token(page, beams, target, layer, sentence)
        draw(chart, "beam_at", read=False, note=note)
    reading(sentence)
    reading(words.passages_reading(beams, layer, position), "_passages")
    texts = list(passages().values())[:n_passages]
    program = {"target_id": target.ids, "position": position, "texts": texts}
    return {"beam": beams}, program


def read_passages(page: Page, target: Target, n_passages: int, position: int) -> pd.DataFrame:
    """All three curves at all cells; while more passages are read, those so far are drawn."""
    found: dict[int, pd.DataFrame] = {}

    looks = count(1)  # each wait draws anew, in a place of its own

    def so_far() -> None:
        if not found:
            return
        read, look = max(found), next(looks)
        said = words.so_far(read, n_passages)
        chart = by_layer(page, found[read].assign(kind="jacobian"), target, position, said)
        draw(chart, "beam_so_far", read=False, number=look)
        st.caption(said)
        if read < n_passages:
            enough = partial(st.session_state.update, passages=read)
            keep = "this one" if read == 1 else f"these {read}"
            st.button(f"Enough: keep {keep}", on_click=enough, key=f"enough_{look}")

    asked: dict[str, Any] = {"target": target.ids}
    for stage in [each for each in STAGES if each <= n_passages]:
        view = "jacobian_lens.passage_beam"
        found[stage] = page.ask(view, meanwhile=so_far, n_passages=stage, **asked)
    return page.ask("jacobian_lens.beside", meanwhile=so_far, n_passages=n_passages, **asked)


def by_layer(
    page: Page, beams: pd.DataFrame, target: Target, position: int, sentence: str
) -> Chart:
    """The curves of a token's states, with their intervals."""
    rows = beams[beams["position"] == position].rename(columns={"score": "value"})
    title = f"How disposed the state of {page.shown(position)} is to {target.named}, by layer"
    return compared(_named(rows), title, sentence, words.SCORE)


def _by_token(page: Page, beams: pd.DataFrame, target: Target, layer: int, sentence: str) -> Chart:
    rows = page.labelled(beams[beams["layer"] == layer]).rename(columns={"score": "value"})
    title = f"How disposed each state of layer {layer} is to {target.named}"
    return compared(_named(rows), title, sentence, words.SCORE, by="label")


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(name=rows["kind"].map(words.CURVES))
