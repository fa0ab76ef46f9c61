"""Controls of maps: which tokens are drawn, how the map is made; and the maps themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts
from strata.charts.path import unnamed
from strata.charts.subject import Subject
from strata.concepts.trajectories import words
from strata.concepts.trajectories.neighbours import METRICS
from strata.corpus.examples import BY_ID, EXAMPLES
from strata.display.tokens import display_text, display_token, distinct
from strata.errors import InputError, ModelError, StrataError
from strata.ui.anatomy.address import led_back, remember, whole_number
from strata.ui.anatomy.controls import (
    PACE,
    move,
    one_of,
    one_of_counts,
    played_slider,
    player,
    themselves,
    told_moved,
)
from strata.ui.anatomy.expected import Coarser
from strata.ui.anatomy.page import Page, draw, only, reading
from strata.ui.anatomy.style import say
from strata.ui.server.learner import keep_prompt, kept_prompt

_STRIDES = (1, 2, 4, 8)  # between the layers that are drawn
_COARSE, _FEW_LAYERS = 4, "every fourth layer"  # a sixteenth of the distances
_SEEDS_OWN = (10, 19)  # the positions that the notebook draws
_WITH, _FOLLOW = "with", "follow"
_MOST = len(words.LETTERS) - 1  # prompts beside the learner's own
_ALL = -1  # the choice of all shared tokens


@dataclass(frozen=True)
class Map:
    """A map to be drawn: all its rows are judged, `rows` marks those that are drawn."""

    key: str
    title: str
    frame: pd.DataFrame
    rows: pd.Series
    of: Subject | None = None  # where it is of several prompts


def span(page: Page, place: DeltaGenerator) -> tuple[int, int]:
    """First and last position to draw: the notebook's for a new prompt, all of a short one."""
    last = page.n_tokens - 1
    if last == 0:
        place.text(f"Tokens drawn: the only one, {page.shown(0)}")
        return 0, 0
    usual = _SEEDS_OWN if last >= _SEEDS_OWN[1] else (0, last)
    state = st.session_state
    if "span" not in state or led_back():
        asked = [whole_number(each) for each in st.query_params.get_all("span")]
        known = tuple(sorted(n for n in asked if n is not None))
        state["span"] = known if len(known) == 2 and known[1] <= last else usual
    known = state["span"]
    if state.get("span_of", page.prompt) != page.prompt or known[1] > last:
        if tuple(known) == state.get("span_usual"):  # as it is at first, for this text too
            state["span"] = usual
        else:
            move("span", usual, f"this is another text, of {last + 1} tokens")
    state["span_of"], state["span_usual"] = page.prompt, usual
    # Not bound to the address by Streamlit, as `position_slider` is not.
    first, final = place.slider("Tokens on the map, by position", 0, last, usual, key="span")
    if (first, final) == usual:
        st.query_params.pop("span", None)
    elif st.query_params.get_all("span") != (kept := [str(first), str(final)]):
        st.query_params["span"] = kept
    told_moved("span", (first, final), place)
    if (first, final) != (0, last):
        why = "at first those of the notebook, since" if (first, final) == usual else "since"
        place.caption(
            f"{final - first + 1} of {last + 1} tokens are drawn, {why} many paths hide each "
            "other; the map is made of all."
        )
    return first, final


def settings(place: DeltaGenerator, n_layers: int) -> dict[str, Any]:
    """How maps are drawn, as the views want it; the notebook's settings unless changed."""
    bound: dict[str, Any] = {"bind": "query-params"}
    row = place.container(horizontal=True, key="one_row")
    with row.popover("How the map is drawn", icon=":material/tune:", width="stretch"):
        st.caption(
            "At first as in the notebook: UMAP, cosine, 50 neighbours; 200 epochs, which is "
            "umap-learn's own choice only for larger maps and keeps this one quick."
        )
        here = st.container()
        method = one_of(here, "Method", themselves(["UMAP", "PCA"]), key="method")
        metric = one_of(here, "Distance", themselves(METRICS), key="metric")
        neighbours = st.select_slider("Neighbours", [5, 15, 30, 50, 100], 50, key="n", **bound)
        gap = st.select_slider(
            "Least distance on the map", [0.0, 0.1, 0.25, 0.5, 1.0], 0.1, key="gap", **bound
        )
        epochs = st.select_slider("Epochs", [50, 100, 200, 500], 200, key="epochs", **bound)
        strides = [n for n in _STRIDES if n < max(2, n_layers)]
        label = "Every how many layers (the last always)"
        stride = one_of_counts(label, strides, 1, key="map_stride", place=st.container())
        seed = st.number_input("Seed", 0, 999_999, 0, key="seed", **bound)
    return {
        "method": method.lower(),
        "metric": metric,
        "n_neighbors": neighbours,
        "min_dist": gap,
        "n_epochs": epochs,
        "stride": stride,
        "seed": int(seed),
    }


def asked(
    page: Page,
    tables: dict[str, pd.DataFrame],
    settings: dict[str, Any],
    span: tuple[int, int],
    name: str,
    view: str,
    title: str,
    **changed: Any,
) -> Map | None:
    """A map drawn with the settings, of which the tokens of a span are shown; its table is put into
    `tables`. None where there is nothing to map, which is said in its place."""
    key = name.replace(" ", "_")
    less = None
    if settings["stride"] < _COARSE < page.n_layers:
        less = Coarser(_FEW_LAYERS, {"stride": _COARSE}, {"map_stride": _COARSE})
    try:
        chosen = {**settings, **changed}
        frame = tables[name] = page.ask(f"trajectories.{view}", coarser=less, **chosen)
    except (InputError, ModelError) as error:
        say("note", f"{title}: {error}" if title else str(error), key)
        return None
    return Map(key, title, frame, frame["position"].between(*span))


def show(
    page: Page, drawn: Map, upto: float = math.inf, *, main: bool = False, number: int = 0
) -> None:
    """A map with its reading, as far as a layer; `main` is one map of a page at most. One that is
    drawn once more, until others are there, has a number and no reading.

    The page's tokens name the paths unless the map brings its own columns path and label.
    """
    whole = drawn.frame[drawn.rows]
    rows = whole[whole["layer"] <= upto]
    if "label" not in rows:
        rows = page.labelled(rows).assign(path=rows["position"])
    sentence = words.reading(drawn.frame)
    kept = rows[["path", "label", "layer", "x", "y"]]
    chart = charts.paths(kept, drawn.title, sentence, n_layers=page.n_layers, within=whole)
    n_tokens = drawn.frame["path"].nunique() if "path" in drawn.frame else page.n_tokens
    some = only(kept["path"].nunique(), n_tokens, "token")
    few = only(drawn.frame["layer"].nunique(), page.n_layers + 1, "layer")
    note = "; ".join(filter(None, (some, few)))
    draw(chart, drawn.key, read=False, number=number, of=drawn.of, note=note)
    if not number:
        reading(sentence, "" if main else f"_{drawn.key}")
    missing, n_paths = unnamed(chart)
    if missing:
        st.caption(
            f"{missing} of these {n_paths} have no name here, since it would cover others: point "
            "at a path, or tap it, to read whose it is."
        )


def meanwhile(page: Page, drawn: Map | None) -> None:
    """A map that is there already, while one beside it is being made."""
    if drawn is not None:
        place, _ = st.columns(2, gap="medium")
        with place:
            show(page, drawn, number=1)


def play(page: Page, found: Sequence[Map | None]) -> None:
    """Maps beside each other, as far as one layer, which can be chosen and played; those that could
    not be made are left out."""
    maps = [drawn for drawn in found if drawn is not None]
    if not maps:
        return
    playing = bool(st.session_state.get("layer_play"))

    @st.fragment(run_every=PACE if playing else None)
    def up_to_a_layer() -> None:
        switch, slide = st.columns([1, 7], vertical_alignment="bottom")
        upto = played_slider("Up to layer", "layer", page.n_layers, slide, playing=playing)
        if player("layer", page.n_layers, switch) != playing:
            st.rerun()
        for drawn, place in zip(maps, st.columns(len(maps), gap="medium"), strict=True):
            with place:
                show(page, drawn, upto, main=drawn is maps[0])

    up_to_a_layer()


def companions(page: Page, place: DeltaGenerator) -> tuple[str, ...]:
    """Other prompts to put on the same map, examples or own texts; at first an example of the same
    purpose. The address names examples and own texts by their ids."""
    state, mine = st.session_state, page.prompt
    examples = [example.prompt for example in EXAMPLES if example.prompt != mine]
    usual = _alike(mine)
    if _WITH not in state:
        asked = [_prompt_of(name) for name in st.query_params.get(_WITH, "").split(".")]
        state[_WITH] = [prompt for prompt in asked if prompt and prompt != mine][:_MOST] or usual
    elif state.get(f"{_WITH}_of") != mine:
        state[_WITH] = usual
    state[f"{_WITH}_of"] = mine
    labels = dict(zip(examples, distinct(display_text(e) for e in examples), strict=True))
    chosen = place.multiselect(
        "Prompts on the same map as yours: choose examples or type a text",
        examples,
        format_func=lambda prompt: labels.get(prompt, prompt),
        max_selections=_MOST,
        accept_new_options=True,
        key=_WITH,
    )
    names = [_name_of(prompt) for prompt in chosen]
    remember(_WITH, None if chosen == usual or not all(names) else ".".join(names))
    return tuple(chosen)


def _alike(prompt: str) -> list[str]:
    mine = next((example for example in EXAMPLES if example.prompt == prompt), None)
    others = [example for example in EXAMPLES if example is not mine]
    return [next((e for e in others if mine and e.purpose == mine.purpose), others[0]).prompt]


def _name_of(prompt: str) -> str:
    """The id of an example or of an own text, which is stored at its first use; "" if it cannot."""
    known = st.session_state.setdefault(f"{_WITH}_ids", {e.prompt: e.id for e in EXAMPLES})
    if prompt not in known:
        try:
            known[prompt] = keep_prompt(prompt)
        except StrataError as error:
            known[prompt] = ""
            st.toast(f"{error} The link to this page will not hold that prompt.")
    return str(known[prompt])


def _prompt_of(name: str) -> str | None:
    try:
        return BY_ID[name].prompt if name in BY_ID else kept_prompt(name)
    except StrataError as error:
        st.toast(str(error))
        return None


def follow(shared: pd.DataFrame, place: DeltaGenerator) -> pd.DataFrame:
    """Choose one of the tokens that prompts share, or all; at first the one whose states part
    most. The address keeps its number among them, not the token. `shared`: `contexts`."""
    tokens = list(dict.fromkeys(shared["token"]))
    if not tokens:
        return shared
    state = st.session_state
    parting = tokens.index(shared["token"][shared["cosine"].idxmin()])
    if state.get(f"{_FOLLOW}_of", tokens) != tokens:
        state[_FOLLOW] = parting
    elif _FOLLOW not in state:
        asked = st.query_params.get(_FOLLOW, "")
        at = _ALL if asked == "all" else whole_number(asked)
        state[_FOLLOW] = parting if at is None or at >= len(tokens) else at
    state[f"{_FOLLOW}_of"] = tokens
    names = {_ALL: "All that they share"} | dict(
        enumerate(distinct(display_token(token) for token in tokens))
    )
    chosen = place.selectbox(
        "Token that is followed", list(names), format_func=names.__getitem__, key=_FOLLOW
    )
    remember(_FOLLOW, {parting: None, _ALL: "all"}.get(chosen, str(chosen)))
    return shared if chosen == _ALL else shared[shared["token"] == tokens[chosen]]


def joint(page: Page, prompts: tuple[str, ...], frame: pd.DataFrame, followed: pd.DataFrame) -> Map:
    """A map of several prompts on which only the tokens that are followed are drawn."""
    places = {*zip(followed["prompt_a"], followed["position_a"], strict=True)}
    places |= {*zip(followed["prompt_b"], followed["position_b"], strict=True)}
    here = pd.Series([*zip(frame["prompt"], frame["position"], strict=True)], index=frame.index)
    names = [
        f"{words.LETTERS[prompt]} {position} {display_token(token)}"
        for prompt, position, token in zip(
            frame["prompt"], frame["position"], frame["token"], strict=True
        )
    ]
    paths = frame["prompt"].astype(str) + "." + frame["position"].astype(str)
    named = frame.assign(label=names, path=paths)
    title, of = "The same token in several prompts", replace(page.subject, prompts=prompts)
    return Map("joint", title, named, here.isin(places), of)
