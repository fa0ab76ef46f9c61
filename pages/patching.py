"""Patching: put states of one prompt's run into another's, and see how much of the answer comes."""

import pandas as pd
import streamlit as st

from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures.patches import draw_estimate, draw_heads, draw_map, draw_two, or_said
from strata.ui.figures.two_prompts import choose_patch

DRAWN = {
    "Exact map": draw_map,
    "The gradient's estimate": draw_estimate,
    "Two cells": draw_two,
    "Attention heads": draw_heads,
}
NOTHING = "# Nothing is patched yet: there is no second prompt of as many tokens.\n"

page = open_page("patching")
tabs = st.tabs(list(DRAWN), key="view", on_change="rerun", bind="query-params")
tab, draw = next(both for both in zip(tabs, DRAWN.values(), strict=True) if both[0].open)
patch = choose_patch(page, tab, part="attn" if draw is draw_heads else None)
tables: dict[str, pd.DataFrame] = {}
script = NOTHING

if patch is not None:
    with tab, or_said("patch"):
        tables = draw(patch)
        script = page.script(blocks=page.about["blocks"], **patch.program)

close_page(page, tables, script)
