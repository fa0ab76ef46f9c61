"""Matrices of cosines: their controls, their colours, and the common mistake below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata import charts
from strata.charts.subject import Subject
from strata.concepts.laminar_profile import words
from strata.concepts.laminar_profile.measures import steps
from strata.concepts.laminar_profile.tables import most_alike
from strata.ui.anatomy.controls import CENTRED, several
from strata.ui.anatomy.page import Page, draw, draw_row, only, reading, show_table
from strata.ui.anatomy.style import aside

Tables = dict[str, pd.DataFrame]


def matrix_controls(
    label: str, labels: Sequence[str], default: list[int]
) -> tuple[DeltaGenerator, list[int], bool, bool]:
    """The row above small multiples of matrices: a place for the slider of the one shown large,
    the numbers of the several shown (none: one is shown large), mean-centred, with the mistake."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="matrix_row")
    pick = row.container(key="matrix_pick")
    one = row.toggle("One, large", key="large", bind="query-params")
    center = row.toggle("Mean-centred", key="center", bind="query-params", help=CENTRED)
    mistake = row.toggle("The common mistake", key="wrong", bind="query-params", disabled=one)
    chosen = [] if one else several(label, label.lower(), labels, default, pick)
    return pick, chosen, center, mistake and not one


def draw_layer_matrices(
    page: Page, positions: list[int], place: DeltaGenerator, *, center: bool, mistaken: bool
) -> Tables:
    """Tokens' states at every two layers, and the mistake below; a single one has its steps at its
    side. Returns the tables, the right one first."""

    def ask(chosen: list[int]) -> pd.DataFrame:
        return page.ask("laminar_profile.layer_matrices", positions=chosen, center=center)

    def turns(cells: pd.DataFrame) -> None:
        by_layer = steps(cells).rename(columns={"cosine": "value"})
        chart = charts.by_layer(by_layer, "Cosine with the layer before", "Cosine")
        draw(chart, "steps", read=False)
        st.caption("Low where a block turns the state. The point on the right is the final norm.")

    form = partial(charts.layer_matrices, labels=page.labels)
    read = partial(words.between_layers_reading, shown=page.tokens["shown"].tolist())
    ways = ask, form, read, turns
    return _draw(page, *ways, positions, page.labels, (0.8, 1.0), mistaken, place)


def draw_token_matrices(
    page: Page,
    layers: list[int],
    names: list[str],
    place: DeltaGenerator,
    *,
    center: bool,
    mistaken: bool = False,
) -> Tables:
    """Every two tokens at some layers, and the mistake below; a single one has the most alike
    tokens at its side, and the colours of all layers. Returns the tables, the right one first."""

    def ask(chosen: list[int]) -> pd.DataFrame:
        return page.ask("laminar_profile.token_matrices", layers=chosen, center=center)

    def ranking(cells: pd.DataFrame) -> None:
        top = most_alike(cells)
        label = page.labels.__getitem__
        st.markdown("**Most alike tokens**")
        pair = {"token": top["position_a"].map(label), "other token": top["position_b"].map(label)}
        show_table(
            pd.DataFrame({**pair, "cosine": top["cosine"]}),
            {"cosine": st.column_config.NumberColumn(format="%.3f")},
        )

    form = partial(charts.token_matrices, names=names, labels=page.labels)
    read = partial(
        words.between_tokens_reading,
        shown=page.tokens["shown"].tolist(),
        n_layers=page.n_layers,
    )
    least = pd.Series(dtype=float)
    if len(layers) == 1:  # one scale for all, so that layers can be compared while they play
        least = page.ask("laminar_profile.statistics", skip_first=False, center=center)["minimum"]
    ways = ask, form, read, ranking
    return _draw(page, *ways, layers, names, (0.5, 1.0), mistaken, place, least)


def _draw(
    page: Page,
    ask: Callable[[list[int]], pd.DataFrame],
    form: Callable[..., list[charts.Chart]],
    read: Callable[[pd.DataFrame], str],
    detail: Callable[[pd.DataFrame], None],
    chosen: list[int],
    names: Sequence[str],
    by_hand: tuple[float, float],
    mistaken: bool,
    place: DeltaGenerator,
    also: pd.Series | None = None,
) -> Tables:
    """`ask` gives the cells of some numbers, `form` their charts, `read` the sentence on them;
    `also` are cosines that the colours must reach too. Of a single token, or where no cosine is
    defined, there is the sentence only."""
    tables = {"cosines": ask(chosen)}
    if mistaken:
        tables["by the loop's index"] = ask(list(range(len(chosen))))
    right, *wrong = tables.values()
    alone = "position_a" in right and right["position_a"].nunique() == 1
    if alone or right["cosine"].isna().all():  # there is nothing to see
        reading(read(right))
        return tables
    cosines = pd.concat([*(frame["cosine"] for frame in tables.values()), also])
    scale = _colours(cosines, by_hand, place, bar=len(chosen) > 1)
    sentence = read(right)
    row = form(right, chosen, scale=scale, reading=sentence)
    n_drawn = right["position_a"].nunique() if "position_a" in right else page.n_tokens
    note = only(n_drawn, page.n_tokens, "token")
    if len(row) == 1:
        figure, side = st.columns([5, 3], gap="medium")
        with figure:
            draw(row[0], "matrix", read=False, note=note)
        with side:
            detail(right)
    else:
        draw_row(row, "right", note=note)
    for false in wrong:
        st.markdown(
            "**The common mistake**: the loop's own index 0, 1, 2, … instead of the chosen ones, "
            "under the same titles"
        )
        sentence = words.index_bug_reading(right, false, chosen, names)
        draw_row(form(false, chosen, scale=scale, reading=sentence), "wrong", note=note)
    reading(sentence)
    return tables


def _colours(
    cosines: pd.Series, by_hand: tuple[float, float], place: DeltaGenerator, *, bar: bool
) -> charts.Colours:
    """Choose from which to which cosine the colours of these cells go; with a bar that says so."""
    choose, limits, legend = place.columns(
        [4, 3, 5] if bar else [4, 4, 1], vertical_alignment="center"
    )
    chosen = choose.segmented_control(
        "Colours",
        charts.COLOURS,
        default=charts.COLOURS[0],
        key="colours",
        bind="query-params",
        required=True,
    )
    if chosen == charts.BY_HAND:
        label = "From which cosine to which"
        key = f"by_hand_{by_hand[0]:g}"  # what suits layers does not suit tokens
        by_hand = limits.slider(label, -1.0, 1.0, by_hand, 0.01, key=key, bind="query-params")
    scale = charts.colours(cosines, chosen, by_hand)
    if bar:
        with aside(legend):
            draw(charts.colour_bar(scale, cosines), "colour_bar", read=False, of=Subject())
    return scale
