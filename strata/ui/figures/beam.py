"""The beam of a word: how disposed each state is to say it, sharper with every passage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts.common import Chart
from strata.charts.lenses import compared
from strata.concepts.jacobian_lens import words
from strata.corpus.passages import passages
from strata.ui.anatomy import style
from strata.ui.anatomy.controls import bounded_slider, one_of_counts
from strata.ui.anatomy.page import Page, draw, only, position_slider, reading
from strata.ui.anatomy.style import leads
from strata.ui.figures.target import Target, choose_target

STAGES = (1, 2, 4, 8, 16, 25)  # passages after which the curves are drawn anew
_USUAL = 8
SEED = 0  # of the random blocks
_TALL = 340  # pixels
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
    with left, leads():
        by_layers, waiting = coming("beam"), st.container()
        random = random_blocks()
    with right:
        by_tokens = coming("beam_at")
    told = st.empty()
    named = target.pair or (target.shown,)

    def show(beams: pd.DataFrame, look: int = 0) -> None:
        sentence = words.beam_reading(beams, named, page.all_shown, layer, position)
        with by_layers.container():
            note = only(1, page.n_tokens, "token")
            chart = by_layer(page, beams, target, position, sentence)
            draw(chart, "beam", read=False, number=look, note=note)
        with by_tokens.container():
            note = only(1, page.n_layers + 1, "layer")
            chart = _by_token(page, beams, target, layer, sentence)
            draw(chart, "beam_at", read=False, number=look, note=note)
        with told.container():
            reading(sentence, f"_{look}" if look else "")
            reading(words.passages_reading(beams, layer, position), f"_passages{look or ''}")

    with waiting:
        beams = read_passages(page, target, n_passages, show, random=random)
    show(beams)
    texts = list(passages().values())[:n_passages]
    program = {"shows": ["beam"], "target_id": target.ids, "position": position, "texts": texts}
    return {"beam": beams}, program | {"random_blocks": SEED if random else None}


def random_blocks() -> bool:
    """Whether random blocks are read as well; the choice, which says what they would show."""
    chosen = st.toggle("Random blocks beside it", key="random", bind="query-params")
    if not chosen:
        st.caption(words.WHY_RANDOM)
    return chosen


def coming(figure: str) -> DeltaGenerator:
    """A place that is drawn anew while more is read, as high as a figure from the start."""
    place = st.empty()
    with place.container():
        style.room(_TALL, f"{figure}_comes")
    return place


def read_passages(
    page: Page,
    target: Target,
    n_passages: int,
    show: Callable[[pd.DataFrame, int], None],
    *,
    random: bool,
) -> pd.DataFrame:
    """The word's curve at all cells, the logit lens beside it and, if asked for, random blocks;
    what is known while the rest is read is shown, each time with another number."""
    asked: dict[str, Any] = {"target": target.ids}
    floor = page.ask("jacobian_lens.floor", **asked).assign(kind="logit")
    found: dict[int, pd.DataFrame] = {}
    looks = count(1)

    def so_far() -> None:
        if not found:
            return
        read, look = max(found), next(looks)
        show(found[read], look)
        st.caption(words.so_far(read, n_passages))
        if read < n_passages:
            enough = partial(st.session_state.update, passages=read)
            keep = "this one" if read == 1 else f"these {read}"
            st.button(f"Enough: keep {keep}", on_click=enough, key=f"enough_{look}")
        else:
            without = partial(st.session_state.update, random=False)
            st.button("Enough: without random blocks", on_click=without, key=f"enough_{look}")

    for stage in [*(each for each in STAGES if each < n_passages), n_passages]:
        view = "jacobian_lens.passage_beam"
        own = page.ask(view, meanwhile=so_far, n_passages=stage, **asked)
        both = [own.assign(kind="jacobian"), floor.assign(n=stage)]
        found[stage] = pd.concat(both, ignore_index=True)
    if not random:
        return found[n_passages]
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
