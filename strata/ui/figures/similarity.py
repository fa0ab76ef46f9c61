"""How alike whole layers are, beside the distance between them, and what is left."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts.subject import Subject
from strata.concepts.laminar_profile import words
from strata.errors import StrataError
from strata.ui.anatomy.page import Page, draw, reading
from strata.ui.anatomy.style import say
from strata.ui.figures.nearest import SAMPLE

_TITLES = {
    "cka": "CKA of each two layers",
    "distance": "What their distance alone gives",
    "rest": "What is left",
}


def draw_similarity(page: Page) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Three matrices and what they say. The table, and the texts for the script.

    Where the passages cannot be read or held the page says so."""
    try:
        about = page.ask("corpus.about", meanwhile=_waiting, sample=SAMPLE)
        frame = page.ask("laminar_profile.cka", sample=SAMPLE)
        texts = page.ask("corpus.texts", sample=SAMPLE)["content"]
    except StrataError as error:
        say("note", str(error), "similarity")
        return {}, []
    sentence = words.cka_reading(frame)
    n = min(500, int(about["n"][0]))
    of = Subject(
        model=str(page.about["title"]),
        sampled=f"a sample of {n:,} states",
        without="without first tokens and attention sinks",
    )
    least = min(0.0, float(frame["cka"].min()))
    for place, (value, title) in zip(st.columns(3, gap="medium"), _TITLES.items(), strict=True):
        cells = frame[["layer_a", "layer_b"]].assign(value=frame[value])
        signed = value == "rest"
        chart = charts.layer_pairs(
            cells, title, sentence, legend="CKA", signed=signed, domain=(least, 1.0)
        )
        with place:
            draw(chart, f"cka_{value}", read=False, of=of)
    reading(sentence)
    st.caption(words.CKA)
    return {"CKA": frame}, list(texts)


def _waiting() -> None:
    """What there is to say while the passages are read."""
    st.caption("Passages are read, whose states the layers are compared by: once for all prompts.")
