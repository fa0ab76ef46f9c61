"""Controls that figures of several pages share."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.ui.page import Page

CENTRED = (
    "Take from each state the mean of its layer over the tokens. A first token that is an "
    "attention sink rules that mean, unless it is left out."
)
PACE = 0.8  # seconds that each layer stays while the layers are played


def several(
    page: Page,
    label: str,
    key: str,
    labels: Sequence[str],
    default: list[int],
    place: DeltaGenerator,
) -> list[int]:
    """Choose up to eight of some numbered things; the default for a new prompt.

    The address keeps the numbers, never the labels, which may be what a learner wrote.
    """
    if key not in st.session_state:
        asked = st.query_params.get(key, "").split(".")
        st.session_state[key] = [int(n) for n in asked if n.isdecimal()][:8] or default
    known = all(number < len(labels) for number in st.session_state[key])
    if st.session_state.get(f"{key}_of", page.prompt) != page.prompt or not known:
        st.session_state[key] = default
    st.session_state[f"{key}_of"] = page.prompt
    chosen = place.multiselect(
        label, range(len(labels)), key=key, format_func=labels.__getitem__, max_selections=8
    )
    chosen = sorted(chosen) or default
    if chosen == default:
        st.query_params.pop(key, None)
    else:
        st.query_params[key] = ".".join(map(str, chosen))
    return chosen


def player(key: str, last: int, place: DeltaGenerator) -> bool:
    """A switch that plays the slider of this key from where it stands to its last value."""

    def from_the_start() -> None:
        if st.session_state.get(key, last) >= last:
            st.session_state[key] = 0

    return place.toggle("Play", key=f"{key}_play", on_change=from_the_start)


def played_slider(label: str, key: str, last: int, place: DeltaGenerator, *, playing: bool) -> int:
    """The slider itself, in a fragment that is rerun every `PACE` seconds while it plays."""
    if playing and key in st.session_state:
        if st.session_state[key] >= last:
            st.session_state[f"{key}_play"] = False
            st.rerun()
        st.session_state[key] += 1
    return int(place.slider(label, 0, last, last, key=key, bind="query-params"))
