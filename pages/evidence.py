"""Evidence: the same number over a set of prompts, against what chance would give."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.concepts.evidence import tables
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures import evidence
from strata.ui.figures.sets import choose_set, of_set

NOTHING = "# Nothing is compared yet: there is no set.\n"

opened = open_page("evidence")
pick, number, part = st.columns([3, 4, 3], vertical_alignment="bottom")
shown: dict[str, pd.DataFrame] = {}
script = NOTHING

if chosen := choose_set(pick):
    quantity = evidence.choose_quantity(evidence.offered(chosen), number)
    half = one_of(part, "Pairs" if chosen.paired else "Prompts", evidence.HALVES, "half")
    page = of_set(opened, chosen, half)
    alone: dict[str, Any] = {"names": (quantity,)} if tables.runs_more(quantity) else {}
    values = page.ask("evidence.values", **alone)
    two = evidence.choose_conditions(chosen.conditions)
    study = evidence.Study(page, values, quantity, half, two)
    said, one, every = st.columns([3, 4, 3], vertical_alignment="bottom")
    said.caption(chosen.question)
    pair = evidence.choose_pair(study, one)
    each = every.toggle("Each prompt as a line", key="each", bind="query-params")
    shown["means"] = evidence.draw_means(study, each, pair)
    shown["differences"] = evidence.draw_differences(study)
    claim, held = evidence.hold_out(study)
    shown |= held
    shown["prompts"] = evidence.prompts(study, claim)
    script = evidence.script(study, claim)
    close_page(page, shown, script, proof="evidence.check", prompts=page.longest)
else:
    close_page(opened, shown, script)
