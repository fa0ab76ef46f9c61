"""The map of every factor at every block, which takes long: with a way out, and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import sweep
from strata.concepts.scaling import words
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.expected import Coarser
from strata.ui.anatomy.page import Page, draw, only
from strata.ui.anatomy.style import leads
from strata.ui.figures.target import Target

_FEW = "few_factors"  # whether only some are drawn


def draw_factors(
    page: Page,
    target: Target,
    swept: pd.DataFrame,
    leave: dict[str, Any],
    factors: Sequence[float],
    **asked: Any,
) -> pd.DataFrame:
    """The map, and what it says of the target; its table.

    While it is computed the one row that is there, `swept`, is drawn, and a button gives up waiting
    by `leave`, which sets the widgets so that the page does not ask again. Where it will be long,
    every fourth of the factors is offered instead.
    """
    state, few, less = st.session_state, factors[::4], None
    part = only(len(few), len(factors), "factor")
    if state.get(_FEW):
        factors, all_of_them = few, {_FEW: False}
        st.button("Every factor", on_click=state.update, args=(all_of_them,), key="all_factors")
    else:
        less, part = Coarser(part, {"factors": few}, {_FEW: True}), ""
    names, key = sweep.QUANTITIES, "colour"
    if target.minus:
        key = "colour_pair"  # a choice of its own, since not all of the others are there
        names = {name: text for name, text in names.items() if name != "rank"}
    quantity = one_of(st.container(), "Colour", names, key)
    title = f"{names[quantity]}: {target.named}"
    words_of = target.shown, target.other

    def row() -> None:
        one = f"{title}, so far by {swept['factor'].iloc[0]:g}"
        said = words.map_reading(swept, *words_of)
        # Its reading has the place of the one below, and no two things may have one.
        draw(sweep.factor_map(swept, quantity, one, said), "map_so_far", read=False)

    place = st.empty()
    place.button(
        "Cancel",
        on_click=st.session_state.update,
        args=(leave,),
        icon=":material/cancel:",
        key="cancel_scaling.sweep",
    )
    mapped = page.ask("scaling.sweep", meanwhile=row, coarser=less, factors=factors, **asked)
    place.empty()
    chart = sweep.factor_map(mapped, quantity, title, words.map_reading(mapped, *words_of))
    with leads():
        draw(chart, "map", note=part)
    return mapped
