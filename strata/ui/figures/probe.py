"""The figure of a probe over a set of prompts, and what it is worth on a half that was held out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from strata.charts.probe import at_one_layer, probes
from strata.concepts.evidence import words
from strata.concepts.evidence.compared import HELD_OUT, in_half
from strata.concepts.evidence.probing import LINEAR, MEANS
from strata.display.tokens import display_text
from strata.ui.anatomy.address import remember, whole_number
from strata.ui.anatomy.controls import pressed
from strata.ui.anatomy.page import draw, reading
from strata.ui.figures.sets import SetPage
from strata.ui.figures.written import all_seen, keep, ledger

ABOUT = (
    "The band is what 9 of 10 shuffles of the labels give. A probe reads whatever differs: where "
    "the words of the conditions differ it may read words. And what can be read from a state need "
    "not be used by the model."
)


@dataclass(frozen=True)
class Probed:
    """What the learner chose: a set's page, which half, and which two conditions."""

    page: SetPage
    half: str
    conditions: tuple[str, str]

    def rows(self, half: str) -> list[int]:
        """The places of this half's prompts of the two conditions in the set."""
        rows = self.page.chosen.rows
        names, pairs = (
            np.array([getattr(row, name) for row in rows], dtype=object)
            for name in ("condition", "pair")
        )
        inside = in_half(names, pairs, half) & np.isin(names, self.conditions)
        return [int(i) for i in np.flatnonzero(inside)]

    def ask(self, *halves: str) -> pd.DataFrame:
        """`evidence.probe` of a half, or of the second of two halves, fitted on the first."""
        parts = [[self.page.chosen.rows[i] for i in self.rows(half)] for half in halves]
        rows = [row for part in parts for row in part]
        asked: dict[str, Any] = {"conditions": tuple(row.condition for row in rows)}
        if self.page.chosen.paired:
            asked["pairs"] = tuple(row.pair for row in rows)
        if len(parts) > 1:
            asked["held_out"] = len(parts[-1])
        return self.page.ask("evidence.probe", tuple(row.prompt for row in rows), **asked)


def draw_probe(probed: Probed) -> tuple[dict[str, pd.DataFrame], str]:
    """The figure, what it says, and the half that was held out; tables and program."""
    frame = probed.ask(probed.half)
    a, b = (display_text(name) for name in probed.conditions)
    sentence = words.probe_reading(frame, probed.conditions, probed.half)
    title = f"{a} or {b}, told from the last token's state by layer"
    draw(probes(frame, title, sentence), "probe", read=False)
    reading(sentence, "_probe")
    st.caption(ABOUT)
    layer, held = _hold_out(probed)
    return {"probe": frame, **held}, _script(probed, layer)


def _hold_out(probed: Probed) -> tuple[int | None, dict[str, pd.DataFrame]]:
    """A layer, and once it is written down the half that was held out, tried at exactly that."""
    with st.container(border=True, key="held_out_probe"):
        st.markdown("**The half that was held out**")
        about = ("a linear probe", probed.page.chosen.in_order(probed.conditions))

        def linked(text: str) -> int | None:
            asked = whole_number(text)
            return asked if asked is not None and asked <= probed.page.n_layers else None

        told = ledger(probed.page, about, "probe_claim", linked)
        if all_seen(probed.page, told):
            return None, {}
        if told.latest(about) is None:
            st.caption(
                "The best of many layers may be best by chance. Write down one at which the "
                "linear probe tells the other half apart: it is then tried there, as it was fitted "
                "on this half."
            )
        if (new := _write(probed, told.latest(about))) is not None:
            told.add(about, new)
            keep(probed.page, told)
        layer: int | None = told.latest(about)
        remember("probe_claim", None if layer is None else str(layer))
        if layer is None:
            return None, {}
        frame = probed.ask(probed.half, HELD_OUT)
        frame = frame[frame["method"].isin([LINEAR, MEANS]) & (frame["layer"] == layer)]
        sentence = words.held_out_probe_reading(frame, layer, probed.conditions, told.number)
        title = f"Held out, at layer {layer}, which you wrote down"
        chart = at_one_layer(frame, title, sentence)
        of = replace(probed.page, half=HELD_OUT).subject
        draw(chart, "probe_held_out", read=False, number=told.number, of=of)
        reading(sentence, "_probe_held_out")
        return layer, {"probe, held out": frame}


def _write(probed: Probed, before: int | None) -> int | None:
    """The form for a layer; it, in the run that it was written down for."""
    last = probed.page.n_layers
    with st.form("probe_hypothesis", border=False):
        where, done = st.columns([7, 2], vertical_alignment="bottom")
        begins = last // 2 if before is None else before
        at = where.slider("At layer", 0, last, begins, key="probe_at")
        with done:
            told = pressed(st.form_submit_button, "Write it down", "write_probe_claim")
    return int(at) if told else None


def _script(probed: Probed, layer: int | None) -> str:
    """The program of what is drawn."""

    def cells(half: str) -> list[tuple[str, str, str, str]]:
        rows = (probed.page.chosen.rows[i] for i in probed.rows(half))
        return [(row.prompt, row.condition, row.pair, row.expected) for row in rows]

    return probed.page.script(
        blocks=probed.page.about["blocks"],
        rows=cells(probed.half),
        compared=probed.conditions,
        held_out=cells(HELD_OUT) if layer is not None else (),
        probe_layer=layer,
    )
