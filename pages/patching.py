"""Patching: put states of one prompt's run into another's, and see how much of the answer comes."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures.patches import draw_estimate, draw_heads, draw_map, draw_two, or_said
from strata.ui.figures.read_elsewhere import draw_elsewhere
from strata.ui.figures.two_prompts import choose_patch

DRAWN = {
    "Exact map": draw_map,
    "The gradient's estimate": draw_estimate,
    "Two cells": draw_two,
    "Attention heads": draw_heads,
}
ELSEWHERE = "Read elsewhere"
NOTHING = "# Nothing is patched yet: there is no second prompt of as many tokens.\n"

page = open_page("patching")
names = [*DRAWN, ELSEWHERE]
tabs = st.tabs(names, key="view", on_change="rerun", bind="query-params")
tab, view = next(both for both in zip(tabs, names, strict=True) if both[0].open)
tables: dict[str, pd.DataFrame] = {}
script = NOTHING
beside: dict[str, Any] = {}

if view == ELSEWHERE:
    with tab, or_said("elsewhere"):
        tables, program = draw_elsewhere(page)
        if program:
            script = page.script(blocks=page.about["blocks"], **program)
elif patch := choose_patch(page, tab, part="attn" if view == "Attention heads" else None):
    with tab, or_said("patch"):
        whole = {"blocks": page.about["blocks"], **patch.program}
        script = page.script(**whole)
        tables, told = DRAWN[view](patch)
        script = page.script(**whole, **told)
        beside = patch.beside_chance

close_page(page, tables, script, **beside)
