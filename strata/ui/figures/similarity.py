"""How alike whole layers are, beside the distance between them, and what is left; how alike the
states of one word are, or of one kind of words."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts.subject import Subject
from strata.concepts.laminar_profile import words
from strata.concepts.laminar_profile.similarity import STATES
from strata.errors import StrataError
from strata.ui.anatomy.page import Page, draw, reading
from strata.ui.anatomy.style import say
from strata.ui.figures.nearest import SAMPLE

_GROUPS = "he she they; in on at"
_TITLES = {
    "cka": "CKA of each two layers",
    "distance": "What their distance alone gives",
    "rest": "What is left",
}


def draw_similarity(page: Page) -> tuple[dict[str, pd.DataFrame], dict[str, list[str]]]:
    """Three matrices and what they say. The tables, and what the script is to be told: the texts,
    and the groups that were typed.

    Where the passages cannot be read or held the page says so."""
    try:
        about = page.ask("corpus.about", meanwhile=_waiting, sample=SAMPLE)
        frame = page.ask("laminar_profile.cka", sample=SAMPLE)
        texts = page.ask("corpus.texts", sample=SAMPLE)["content"]
    except StrataError as error:
        say("note", str(error), "similarity")
        return {}, {}
    sentence = words.cka_reading(frame)
    n = min(STATES, int(about["n"][0]))
    of = _subject(page, n)
    least = min(0.0, float(frame["cka"].min()))
    with st.container(key="three_matrices"):
        places = st.columns(3, gap="medium")
    for place, (value, title) in zip(places, _TITLES.items(), strict=True):
        cells = frame[["layer_a", "layer_b"]].assign(value=frame[value])
        signed = value == "rest"
        chart = charts.layer_pairs(
            cells, title, sentence, legend="CKA", signed=signed, domain=(least, 1.0)
        )
        with place:
            draw(chart, f"cka_{value}", read=False, of=of)
    reading(sentence)
    st.caption(words.CKA)
    tables, groups = draw_selectivity(page)
    return {"CKA": frame} | tables, {"similarity": list(texts), "groups": groups}


def _subject(page: Page, n: int) -> Subject:
    """What figures of the passages are of."""
    return Subject(
        model=str(page.about["title"]),
        sampled=f"a sample of {n:,} states",
        without="without first tokens and attention sinks",
    )


def _waiting() -> None:
    """What there is to say while the passages are read."""
    st.caption("Passages are read, whose states the layers are compared by: once for all prompts.")


def draw_selectivity(page: Page) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Cosines within and across groups of words by layer, beside chance, and what they say; the
    table, and the groups that were compared."""
    typed = st.text_input(
        "Groups of words", placeholder=_GROUPS, key="groups", max_chars=400, help=words.GROUPS
    )
    groups = [each.strip() for each in typed.split(";") if each.strip()]
    try:
        frame = page.ask("laminar_profile.selectivity", groups=groups, sample=SAMPLE)
    except StrataError as error:
        say("note", str(error), "selectivity")
        return {}, []
    sentence = words.selectivity_reading(frame, bool(groups))
    lines = {
        "within": frame["within"],
        "across": frame["across"],
        "chance": frame["across"] + frame["high"],  # which "within" is above where it is beyond all
    }
    pieces = [frame[["layer"]].assign(name=name, value=value) for name, value in lines.items()]
    rows = pd.concat(pieces, ignore_index=True).dropna(subset="value")
    if len(rows):
        title = "Cosine within groups and across them, and within by chance at most"
        chart = charts.lines(rows, title, "Mean cosine", sentence, muted=("chance",))
        draw(chart, "selectivity", read=False, of=_subject(page, int(frame["n_states"][0])))
    reading(sentence, "_selectivity")
    st.caption(words.CHANCE)
    return {"selectivity": frame}, groups
