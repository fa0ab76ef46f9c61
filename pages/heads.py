"""Attention heads: who reads whom, what goes to the sinks, and which head wrote the answer."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures.changed_head import draw_changed
from strata.ui.figures.heads import choose_head, draw_pattern, draw_sinks, draw_written
from strata.ui.figures.patches import or_said

DRAWN = {
    "Who reads whom": draw_pattern,
    "The sink": draw_sinks,
    "Who wrote it": draw_written,
    "Change a head": draw_changed,
}
NOTHING = "# Nothing is shown here, so there is nothing to print.\n"

page = open_page("heads")
tabs = st.tabs(list(DRAWN), key="view", on_change="rerun", bind="query-params")
tab, view = next(both for both in zip(tabs, DRAWN, strict=True) if both[0].open)
tables: dict[str, pd.DataFrame] = {}
program: dict[str, Any] = {}

seen = choose_head(page, tab, at_the_end=view in ("The sink", "Change a head"))
with tab, or_said("heads"):
    tables, program = DRAWN[view](seen)

script = NOTHING
if tables:
    [modules] = page.ask("heads.modules").to_dict("records")
    told: dict[str, Any] = {"block": seen.block, "weighted": seen.weighted}
    told |= {"target_id": seen.target.ids, "position": seen.position}
    script = page.script(**modules, **told, **program, against="mean", writes=seen.is_written)
adds_up: dict[str, Any] = {"proof": "heads.proof", "asked": {"position": seen.position}}
close_page(page, tables, script, **(adds_up if "sums" in tables else {}), position=seen.position)
