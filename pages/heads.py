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
}
CHANGED = "Change a head"

page = open_page("heads")
names = [*DRAWN, CHANGED]
tabs = st.tabs(names, key="view", on_change="rerun", bind="query-params")
tab, view = next(both for both in zip(tabs, names, strict=True) if both[0].open)
tables: dict[str, pd.DataFrame] = {}
change: dict[str, Any] = {}

seen = choose_head(page, tab, at_the_end=view in ("The sink", CHANGED))
with tab, or_said("heads"):
    if view == CHANGED:
        tables, change = draw_changed(seen)
    else:
        tables = DRAWN[view](seen)

[modules] = page.ask("heads.modules").to_dict("records")
told = {"block": seen.block, "target_id": seen.target.ids, "position": seen.position}
script = page.script(**modules, **told, against="mean", writes=seen.is_written)
close_page(page, tables, script)
