"""The fields in which a learner commits a prediction, one for each kind of question."""

from __future__ import annotations

from typing import Any

import streamlit as st

from strata.lessons import Question
from strata.lessons.answers import curve_layers, positions, start
from strata.lessons.report import quoted

_UNMOVED = "Tap or drag on the line to answer."
_MOVED = "You can move it until you commit."
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
        return _slider("Your answer: a layer", 0, n_layers, begins, 1, key=key)
    if kind == "block" and n_layers == 1:
        st.text("Your answer: block 0, the only one")
        return 0
    if kind == "block":
        return _slider("Your answer: a block", 0, n_layers - 1, begins, 1, key=key)
    if kind == "band":
        # Two sliders, since of one with two thumbs the second would stand somewhere unasked.
        ends = [
            _slider(label, 0, n_layers, begin, 1, key=f"{key}_{end}")
            for end, (label, begin) in enumerate(zip(_ENDS, begins, strict=True))
        ]
        return None if None in ends else sorted(end for end in ends if end is not None)
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


def _slider(
    label: str, low: float, high: float, begins: float, step: float, form: str = "", *, key: str
) -> float | None:
    """A slider whose beginning is no answer: None until it was moved. A learner who leaves it
    where it happens to stand has predicted nothing."""
    whole = all(float(each).is_integer() for each in (low, high, begins, step))
    # It begins beside a value that can be chosen, by less than is seen: who means this very value,
    # and presses where the thumb would stand, has chosen it.
    beside = begins + (step if begins < high else -step) / 1e5
    form = form or ("%.0f" if whole else "%.2f")
    with st.container(key=f"answer_{key}"):
        value = st.slider(label, float(low), float(high), beside, float(step), form, key=key)
        waits = value == beside
        # After it, since a slider that changes its place loses the keyboard; and as long in both
        # cases, so that nothing below moves away under the finger.
        with st.container(key=f"{'un' * waits}moved_{key}"):
            st.caption(_UNMOVED if waits else _MOVED)
    return None if waits else round(value) if whole else value


def _number(question: Question, key: str, begins: float) -> float | None:
    low, high = question.low, question.high
    percent = question.unit == "%"
    scale = 100 if percent else 1
    step = question.step or (high - low) / 100
    unit = f" ({question.unit})" if question.unit else ""
    low, high, begins, step = (value * scale for value in (low, high, begins, step))
    value = _slider(f"Your answer{unit}", low, high, begins, step, key=key)
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
    """A slider a layer; None until each of them was moved."""
    layers, begins = curve_layers(question, n_layers), start(question, n_layers)
    step = question.step or (question.high - question.low) / 50
    form = "percent" if question.unit == "%" else ""
    said = st.empty()
    with st.container(key=f"curve_{key}"):
        limits = question.low, question.high
        values = [
            _slider(f"Layer {layer}", *limits, middle, step, form, key=f"{key}_{layer}")
            for layer, middle in zip(layers, begins, strict=True)
        ]
    left = values.count(None)
    how = f"tap or drag on each, {left} to go" if left else "you can move them until you commit"
    said.caption(f"Your answer, one slider a layer: {how}.")
    return None if left else [value for value in values if value is not None]
