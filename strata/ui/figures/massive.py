"""Massive activations: where they appear and vanish, and what the model does without them."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata import charts
from strata.concepts.hidden_states import words
from strata.display.tokens import fixed
from strata.ui.anatomy.controls import one_of
from strata.ui.anatomy.page import Page, draw, reading, show_table

TIMES = {1_000: "1,000 times the median", 100: "100 times the median"}


def draw_massive(page: Page) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """The activations through the layers, and what the loss says without them. Tables, and what the
    script needs."""
    times = float(one_of(st.container(), "From where on", TIMES, key="times", help=words.MASSIVE))
    path = page.ask("hidden_states.massive_path", times=times)
    found = page.ask("hidden_states.massive", times=times)
    tables = {"massive activations": found, "their path": path}
    sentence = words.massive_reading(page.named(found), page.named(path), times)
    if len(path):
        chart = charts.lines(
            _lines(page, path),
            "Largest massive activations through the layers",
            "Activation in size (logarithmic)",
            sentence,
            log=True,
            muted=("median",),
        )
        draw(chart, "massive", read=False)
    reading(sentence)
    if found["layer"].gt(0).any() and page.n_tokens > 1:
        asked = st.toggle("Put their mean or zero in their place", key="without", help=words.SET)
        if asked:
            frame = tables["without them"] = page.ask("hidden_states.without_massive", times=times)
            show_table(
                pd.DataFrame(
                    {
                        "set to": frame["what"],
                        "loss (nats)": _told(frame["loss"]),
                        "change": _told(frame["change"]),
                    }
                )
            )
            reading(words.without_reading(frame), "_without")
    return tables, {"massive_from": times}


def _told(losses: pd.Series) -> list[str]:
    """With three digits; nothing where no activation has a mean to be set to."""
    return ["" if pd.isna(loss) else fixed(loss, 3) for loss in losses]


def _lines(page: Page, path: pd.DataFrame) -> pd.DataFrame:
    """Columns layer, name, value: sizes that are not zero, and the median of each layer."""
    named = page.named(path)
    label = "dim " + named["dim"].astype(str) + " at " + named["position"].astype(str)
    rows = named[["layer"]].assign(name=label, value=named["value"].abs())
    first = path.drop_duplicates("layer")
    median = first[["layer"]].assign(name="median", value=first["median"])
    both = pd.concat([rows, median], ignore_index=True)
    return both[both["value"] > 0]
