"""Evidence: the same number over a set of prompts, against what chance would give."""

from typing import Any

import pandas as pd
import streamlit as st

from strata.concepts.evidence import tables
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import close_page, open_page
from strata.ui.figures import evidence
from strata.ui.figures.by_chance import beside_chance
from strata.ui.figures.probe import Probed, draw_probe
from strata.ui.figures.sets import choose_set, of_set

VIEWS = ("One number", "Probe")
NOTHING = "# Nothing is compared yet: there is no set.\n"

opened = open_page("evidence")
pick, said, part = st.columns([3, 4, 3], vertical_alignment="bottom")
shown: dict[str, pd.DataFrame] = {}
script = NOTHING

if chosen := choose_set(opened, pick):
    said.caption(chosen.question)
    half = one_of(part, "Pairs" if chosen.paired else "Prompts", evidence.HALVES, "half")
    page = of_set(opened, chosen, half)
    evidence.tell_half(page)
    two = evidence.choose_conditions(chosen.conditions)
    number, probe = st.tabs(VIEWS, key="view", on_change="rerun", bind="query-params")
    if number.open:
        with number:
            which, one, every = st.columns([4, 3, 3], vertical_alignment="bottom")
            quantity = evidence.choose_quantity(evidence.offered(chosen), which)
            alone: dict[str, Any] = {"names": (quantity,)} if tables.runs_more(quantity) else {}
            values = page.ask("evidence.values", **alone)
            study = evidence.Study(page, values, quantity, half, two)
            pair = evidence.choose_pair(study, one)
            each = every.toggle("Each prompt as a line", key="each", bind="query-params")
            shown["means"] = evidence.draw_means(study, each, pair)
            shown["differences"] = evidence.draw_differences(study)
            claim, held = evidence.hold_out(study)
            shown |= held
            shown["prompts"] = evidence.prompts(study, claim)
            drawn, n_draws = beside_chance(study)
            shown |= drawn
            script = evidence.script(study, claim, n_draws)
    if probe.open:
        with probe:
            shown, script = draw_probe(Probed(page, half, two))
    proved: dict[str, Any] = {"proof": "evidence.check", "asked": {"prompts": page.longest}}
    close_page(page, shown, script, **proved, own_chance=bool(number.open))
else:
    close_page(opened, shown, script, own_chance=True)
