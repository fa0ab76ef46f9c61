"""Beside the difference of two conditions: what chance would give, by the draws that its p-values
count."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata.charts.chance import beside_chance as chart_of
from strata.concepts import words
from strata.concepts.chance import band
from strata.concepts.evidence import compared
from strata.display.tokens import display_text
from strata.ui.anatomy.chance import DRAWS, NOTHING, choose_kind
from strata.ui.anatomy.page import draw, reading, readings_wait
from strata.ui.figures.evidence import Study

_PAIRS, _GROUPS = "exchanged pairs", "shuffled labels"
_MEANING = {
    _PAIRS: "The two prompts of each pair exchanged or not by the toss of a coin, the same for all "
    "layers. The p-values of the differences count such draws.",
    _GROUPS: "The same prompts with their conditions dealt out anew, the same for all layers. The "
    "p-values of the differences count such draws.",
}


def beside_chance(study: Study) -> tuple[dict[str, pd.DataFrame], int]:
    """The control of every page, and below it the differences in a band of what chance gave; its
    tables, and how many draws the program is to make. Nothing while a step of a lesson keeps back
    what the page would say."""
    if readings_wait():
        return {}, 0
    found = study.found
    with st.container(key="chance"):
        kind = choose_kind(st.container(), [_PAIRS if found.paired else _GROUPS])
        if kind == NOTHING:
            return {}, 0
        st.caption(_MEANING[kind])
        mine, drawn = compared.by_chance(found, DRAWS, study.conditions)
        a, b = (display_text(name) for name in study.conditions)
        number = f"{study.quantity}, {a} less {b}"
        sentence = words.chance_reading(number, kind, mine, drawn, "give")
        shown = band(mine, drawn)
        title = f"{a} less {b} beside {kind}"
        points = "Points: this half" if study.half != compared.ALL else "Points: this set"
        chart = chart_of(shown, title, [study.quantity, f"{a} less {b}"], sentence, points=points)
        draw(chart, "beside_chance", read=False, note=study.left_out(found))
        reading(sentence, "_null")
    return {"beside chance": shown, "draws by chance": drawn}, DRAWS
