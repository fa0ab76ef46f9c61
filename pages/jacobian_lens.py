"""Jacobian lens: what each state is disposed to say, its controls, and the beam of a word."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures.beam import draw_beam
from strata.ui.figures.lens_controls import draw_controls
from strata.ui.figures.lenses import draw_lenses, or_fit_one, to_be_fitted

BEAM = "The beam of a word"
DRAWN = {"The grid": draw_lenses, "Controls": draw_controls, BEAM: draw_beam}

page = open_page("jacobian_lens")
tabs = st.tabs(list(DRAWN), key="view", on_change="rerun", bind="query-params")
tab, view = next(both for both in zip(tabs, DRAWN, strict=True) if both[0].open)
tables: dict[str, pd.DataFrame] = {}
program: dict[str, Any] = to_be_fitted()
with tab, or_fit_one(page, BEAM):
    tables, program = DRAWN[view](page)
[modules] = page.ask("logit_lens.modules").to_dict("records")
kept = {name: modules[name] for name in ("blocks", "norm", "logit_scale", "logit_cap")}
close_page(page, tables, page.script(**kept, **program))
