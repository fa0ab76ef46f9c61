"""The figure of one head changed: the target before and after, beside its controls."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.charts import head as forms
from strata.charts.common import apart_in_nats
from strata.charts.subject import Subject
from strata.concepts.heads import words
from strata.concepts.heads.changed import SEEDS
from strata.ui.anatomy.controls import one_of, told_moved
from strata.ui.anatomy.page import Page, draw, reading
from strata.ui.anatomy.style import leads, say
from strata.ui.figures.heads import Drawn, Seen
from strata.ui.figures.two_prompts import second_prompt

CHANGES = {"skip": "Leave out", "scale": "Scale", "replace": "Take from another prompt"}
_ROWS = {"head": "This head", "other": "Others of its block", "noise": "Noise of its size"}


def draw_changed(seen: Seen) -> Drawn:
    """The controls, the target in each edited run, and what that says."""
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    kind = one_of(row, "Do to the head", CHANGES, key="change")
    done = _chosen(seen, kind, row)
    if done is None:
        say("note", "Write a second prompt, whose run the head is taken from.", "no_second")
        return {}, {}
    asked: dict[str, Any] = {"block": seen.block, "head": seen.head, **done}
    frame = seen.page.ask("heads.changed", target_id=seen.target.ids, **asked)
    target, other = seen.target.shown, seen.target.other
    direct = None
    if kind != "replace" and seen.is_written:
        direct = (done["factor"] - 1) * _wrote(seen)
    what, since = _in_words(seen.page, done)
    said = words.changed_reading(frame, target, other, what + since, direct)
    clean = float(frame.loc[frame["edit"] == "clean", "logprob"].iloc[0])
    runs = frame[frame["edit"] != "clean"]
    rows = runs.assign(
        label=runs["edit"].map(_ROWS),
        order=runs["edit"].map({name: i for i, name in enumerate(_ROWS)}),
        kind=runs["edit"],
        value=runs["logprob"],
        name=[_named(row) for row in runs.to_dict("records")],
    )
    axis = apart_in_nats(target, other) if other else "Log-probability (nats)"
    title = f"{seen.target.named} with {seen.name} {what}"
    chart = forms.changed(rows, title, said, axis, clean=clean)
    of = None
    if kind == "replace":
        of = Subject((seen.page.prompt, str(done["other"])), seen.page.subject.model)
    with leads():
        draw(chart, "changed", read=False, of=of)
    reading(said)
    reading(words.controls_reading(frame), "_controls")
    return {"changed head": frame}, {"head": seen.head, **done}


def _chosen(seen: Seen, kind: str, place: DeltaGenerator) -> dict[str, Any] | None:
    """What is done to the head, as the view is told; None while there is no second prompt."""
    if kind == "skip":
        return {"kind": "scale", "factor": 0.0}
    if kind == "scale":
        bound: dict[str, Any] = {"key": "head_factor", "bind": "query-params"}
        place = place.container()
        factor = place.slider("By the factor", -2.0, 2.0, 0.5, 0.25, **bound)
        told_moved("head_factor", factor, place)
        return {"kind": "scale", "factor": float(factor)}
    text = second_prompt(seen.page, place.container())
    return {"kind": "replace", "other": text} if text else None


def _in_words(page: Page, done: dict[str, Any]) -> tuple[str, str]:
    """What was done, behind the head's name, and why no more than that."""
    if done["kind"] == "replace":
        taken = "taken from the other prompt"
        if page.beside(prompt=done["other"]).n_tokens == page.n_tokens:
            return taken, ""
        return f"{taken} at the last token only", ", since the prompts differ in length"
    factor = done["factor"]
    return "left out" if factor == 0 else f"times {factor:g}".replace("-", "−"), ""


def _wrote(seen: Seen) -> float:
    """What the head itself adds to the target."""
    frame = seen.all_heads
    here = (frame["block"] == seen.block) & (frame["head"] == seen.head)
    return float(frame.loc[here, "logit"].iloc[0])


def _named(row: dict[str, Any]) -> str:
    name = words.head_name(int(row["block"]), int(row["head"]))
    return (
        name if pd.isna(row["seed"]) else f"{name}, pushed at random ({row['seed'] + 1} of {SEEDS})"
    )
