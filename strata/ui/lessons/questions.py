"""The fields in which a learner commits a prediction, one for each kind of question."""

from __future__ import annotations

from typing import Any

import streamlit as st

from strata.lessons import Question
from strata.lessons.answers import curve_layers, positions, start
from strata.lessons.report import quoted

_UNMOVED = "Tap or drag on the line to answer."
_ENDS = ("Your answer: from layer", "to layer")  # of a band


def answer_field(question: Question, key: str, n_layers: int, shown: list[str]) -> Any:
    """The learner's guess as it stands, as `strata.lessons.answers.score` takes it; None where
    there is none yet. `shown`: the prompt's tokens, made visible."""
    texts = [option.text for option in question.options]
    kind, begins = question.kind, start(question, n_layers)
    if kind == "choice":
        labels = list(map(quoted, texts))  # of a radio they are Markdown
        return st.radio(
            "Your answer", range(len(texts)), None, format_func=labels.__getitem__, key=key
        )
    if kind == "token":
        return st.text_input("Your answer: a word or token", key=key).strip() or None
    if kind == "layer":
        return _slider("Your answer: a layer", 0, n_layers, begins, key=key)
    if kind == "block" and n_layers == 1:
        st.text("Your answer: block 0, the only one")
        return 0
    if kind == "block":
        return _slider("Your answer: a block", 0, n_layers - 1, begins, key=key)
    if kind == "band":
        # Two sliders, since of one with two thumbs the second would stand somewhere unasked.
        ends = [
            _slider(label, 0, n_layers, begin, key=f"{key}_{end}")
            for end, (label, begin) in enumerate(zip(_ENDS, begins, strict=True))
        ]
        return None if None in ends else sorted(ends)
    if kind == "ordering":
        return _ordering(texts, key)
    if kind == "curve":
        return _curve(question, key, n_layers)
    if kind == "position":
        return st.selectbox(
            "Your answer: a token of the prompt",
            positions(question, len(shown)),
            None,
            format_func=lambda i: f"{i} {shown[i]}",
            key=key,
        )
    return _number(question, key, begins)


def _slider(label: str, *limits: Any, key: str) -> Any:
    """A slider whose beginning is no answer: None until it was moved. A learner who leaves it
    where it happens to stand has predicted nothing."""
    state, kept = st.session_state, f"{key}_moved_to"

    def moved() -> None:
        state[kept] = state[key]

    # `kept` outlives the slider, which begins anew when the learner comes back to the step.
    waits = state.get(kept) is None or state.get(kept) != state.get(key)
    with st.container(key=f"answer_{key}"):
        slide: Any = st.slider  # of whole numbers, of others, of two
        value = slide(label, *limits, key=key, on_change=moved)
        # After it, since a slider that changes its place loses the keyboard; and as long in both
        # cases, so that nothing below moves away under the finger.
        with st.container(key=f"{'un' * waits}moved_{key}"):
            st.caption(_UNMOVED if waits else "You can move it until you commit.")
    return None if waits else value


def _number(question: Question, key: str, begins: float) -> float | None:
    low, high = question.low, question.high
    percent = question.unit == "%"
    scale = 100 if percent else 1
    step = question.step or (high - low) / 100
    unit = f" ({question.unit})" if question.unit else ""
    limits = tuple(float(value) * scale for value in (low, high, begins, step))
    if all(value.is_integer() for value in limits):
        limits = tuple(map(int, limits))
    value = _slider(f"Your answer{unit}", *limits, key=key)
    return None if value is None else value / scale


def _ordering(texts: list[str], key: str) -> list[int] | None:
    """One box for each place, each offering what the boxes above have left."""
    places = ["The largest", *(f"Number {n}" for n in range(2, len(texts))), "The smallest"]
    chosen: list[int] = []
    for number, label in enumerate(places):
        left = [option for option in range(len(texts)) if option not in chosen]
        if number == len(texts) - 1 and len(chosen) == number:
            st.caption(f"{label}: {quoted(texts[left[0]])}")
            return [*chosen, left[0]]
        said = st.selectbox(
            label,
            left,
            None,
            format_func=texts.__getitem__,
            placeholder="Choose",
            key=f"{key}_{number}_{'_'.join(map(str, chosen))}",
        )
        if said is None:
            return None
        chosen.append(said)
    return chosen


def _curve(question: Question, key: str, n_layers: int) -> list[float] | None:
    """Those that were not moved count where they stand, once one was."""
    layers = curve_layers(question, n_layers)
    st.caption("Your answer: one slider a layer; one that you do not move counts as the middle.")
    middle = (question.low + question.high) / 2
    step = question.step or (question.high - question.low) / 50
    limits = question.low, question.high, middle, step
    form = "percent" if question.unit == "%" else None
    with st.container(key=f"curve_{key}"):
        values = [
            _slider(f"Layer {layer}", *limits, form, key=f"{key}_{layer}") for layer in layers
        ]
    if all(value is None for value in values):
        return None
    return [middle if value is None else value for value in values]
