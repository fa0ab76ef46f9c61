"""Controls that several pages share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from strata.ui.anatomy.address import led_back, remember, whole_number

CENTRED = (
    "Take from each state the mean of its layer over the tokens. A token that is an attention "
    "sink rules that mean, unless it is left out."
)
_MOVED = "moved_sliders"  # value and why of each that was not moved by the learner
TOLD = "told_moves"  # what this run of a page has said of them, each once, and at which
STANDS = "stands"  # where the sliders of this run of a page stand, by their keys
_EXPECTED = 4.0  # seconds that a press is remembered
PACE = 0.8  # seconds that each layer stays while the layers are played
# For so many seconds after the last layer a browser may not have heard that the play is over: it
# then asks for one more layer, with the switch still on, which is no press.
_UNHEARD = 2.0
FIRST = -1  # in a box of tokens "whatever ranks first", or "nothing", which holds for every prompt


def follow_the_answer() -> None:
    """Boxes of tokens at their first choices: a lesson asks about what the model says itself."""
    for name in ("target", "minus", "other"):
        st.session_state[f"{name}_choice"] = FIRST


def one_of(
    place: DeltaGenerator, label: str, names: dict[Any, str], key: str, help: str | None = None
) -> Any:
    """One of a few choices, side by side; the first at first. The address keeps it, and where it
    names none (`?part=`) the first is meant."""
    first = next(iter(names))
    chosen = place.segmented_control(
        label,
        list(names),
        format_func=names.__getitem__,
        default=first,
        required=True,
        key=key,
        bind="query-params",
        help=help,
    )
    return first if chosen is None else chosen


def themselves(choices: Sequence[str]) -> dict[Any, str]:
    """Choices of `one_of` that are shown as they are."""
    return dict(zip(choices, choices, strict=True))


def several(
    label: str, key: str, labels: Sequence[str], default: list[int], place: DeltaGenerator
) -> list[int]:
    """Choose up to eight of some labelled things by their numbers; the default for new labels.

    The address keeps the numbers, never the labels, which may be what a learner wrote.
    """
    if key not in st.session_state:
        asked = [whole_number(each) for each in st.query_params.get(key, "").split(".")]
        known = [n for n in dict.fromkeys(asked) if n is not None and n < len(labels)]
        st.session_state[key] = known[:8] or list(default)
    elif st.session_state.get(f"{key}_of") != tuple(labels):
        st.session_state[key] = list(default)
    st.session_state[f"{key}_of"] = tuple(labels)
    chosen = place.multiselect(
        label, range(len(labels)), key=key, format_func=labels.__getitem__, max_selections=8
    )
    chosen = sorted(chosen) or list(default)
    remember(key, None if chosen == default else ".".join(map(str, chosen)))
    return chosen


def pressed(button: Callable[..., bool], label: str, key: str, *, primary: bool = True) -> bool:
    """A button that does something, once: True in the run that is to do it.

    Streamlit forgets a press if another control, or news, starts the page anew before the run has
    come to the button. This one is remembered, but not for long: who has turned to something else
    does not expect it any more. `button`: `st.button` or `st.form_submit_button`.
    """
    state, kept = st.session_state, f"{key}_pressed"

    def note() -> None:
        state[kept] = time.monotonic()

    button(label, on_click=note, key=key, type="primary" if primary else "secondary")
    return time.monotonic() - state.pop(kept, -math.inf) < _EXPECTED


def stands(key: str, value: int) -> int:
    """Note where a slider of the page stands, for the small model beside its title; the value."""
    st.session_state.setdefault(STANDS, {})[key] = value
    return value


def move(key: str, value: Any, why: str, was: Any = None) -> None:
    """Give the control of this key another value than the learner's, before it is drawn, and keep
    why, for `told_moved`. `was`: what it was, if the session has forgotten that."""
    state = st.session_state
    was = state.get(key) if was is None else was
    if was is not None and was != value:
        text = f"Moved from {_in_words(was)} to {_in_words(value)}: {why}."
        state.setdefault(_MOVED, {})[key] = value, text
    state[key] = value
    if f"{key}_limits" in state:  # a slider of `_slide`, which may wait with its figure
        state[f"{key}_put"] = value


def forget_moves() -> None:
    """Nothing that has moved a control so far is told any longer."""
    st.session_state.pop(_MOVED, None)


def told_moved(key: str, value: Any, place: DeltaGenerator) -> Any:
    """The value of a slider, below which it is said what moved it and why, until somebody moves
    it again. Of several of which the same is to be said, below the first."""
    moved, told = st.session_state.get(_MOVED, {}), st.session_state.setdefault(TOLD, {})
    if key in moved:
        to, text = moved[key]
        if to == value:
            if told.setdefault(text, key) == key:
                place.caption(text)
        else:
            del moved[key]
    return value


def _in_words(value: Any) -> str:
    return "–".join(map(str, value)) if isinstance(value, tuple | list) else f"{value}"


def _settle(key: str, low: int, high: int, default: int, why: str, why_default: str = "") -> None:
    """Put a slider whose limits may have changed where it belongs, before `_slide` draws it: where
    it was moved while it was not drawn, which Streamlit forgets; where the address says, at first
    and on the way back; for new limits at their default if it was at that of the old ones, or is
    beyond them; else where it was, which Streamlit would forget. `why`: what is said of a move, and
    `why_default` of one from a default that the new limits have too."""
    state = st.session_state
    before = state.get(f"{key}_limits", (low, high, default))
    if key not in state or led_back():
        asked = whole_number(st.query_params.get(key, ""))
        if not led_back():
            asked = state.get(f"{key}_put", asked)
        # Also as the slider's default: a browser may miss the first run, and what it was told.
        state[key] = state[f"{key}_linked"] = default if asked is None else asked
    elif before[:2] != (low, high):
        if state[key] == before[2] and f"{key}_put" not in state:
            move(key, default, (low <= state[key] <= high and why_default) or why)
        else:
            state[key] = state[key]
    if not low <= state[key] <= high:
        move(key, default, why)
    state[f"{key}_limits"] = low, high, default


def _slide(label: str, low: int, high: int, default: int, key: str, place: DeltaGenerator) -> int:
    """A slider whose limits change, kept in the address. Not bound to it by Streamlit: that would
    take the value of the limits before from there, whatever was set meanwhile."""
    linked = st.session_state.get(f"{key}_linked", default)
    shown = linked if low <= linked <= high else default
    chosen = int(place.slider(label, low, high, shown, key=key))
    st.session_state.pop(f"{key}_put", None)
    remember(key, None if chosen == default else str(chosen))
    return stands(key, told_moved(key, chosen, place))


def bounded_slider(
    label: str, low: int, high: int, default: int, key: str, place: DeltaGenerator
) -> int:
    """A slider whose limits change with the model or part: what is beyond them becomes default,
    and who has the default keeps it, as all where all is the default. Where there is nothing to
    choose it says so. The address keeps the choice."""
    if low == high:  # a slider of one value is an error
        place.text(f"{label}: {low}, the only one")
        return stands(key, low)
    where = f"it stood where it begins, which is {default} here"
    _settle(key, low, high, default, f"here it goes from {low} to {high}", where)
    return _slide(label, low, high, default, key, place)


def one_of_counts(
    label: str, counts: list[int], usual: int, key: str, place: DeltaGenerator
) -> int:
    """A slider over some numbers, by default the largest up to `usual`; with a single number there
    is nothing to choose. The address keeps the choice."""
    if len(counts) == 1:
        return counts[0]
    default = max((count for count in counts if count <= usual), default=counts[0])
    if st.session_state.get(key, default) not in counts:
        move(key, default, f"here there are at most {counts[-1]}")
    chosen = int(place.select_slider(label, counts, default, key=key, bind="query-params"))
    return int(told_moved(key, chosen, place))


def player(key: str, last: int, place: DeltaGenerator) -> bool:
    """A switch that plays the slider of this key from where it stands to its last value."""

    def from_the_start() -> None:
        if time.monotonic() - st.session_state.get(f"{key}_ended", -math.inf) < _UNHEARD:
            st.session_state[f"{key}_play"] = False
        elif st.session_state.get(key, last) >= last:
            st.session_state[key] = 0

    return place.toggle("Play", key=f"{key}_play", on_change=from_the_start)


def played_slider(label: str, key: str, last: int, place: DeltaGenerator, *, playing: bool) -> int:
    """The slider itself, in a fragment that is rerun every `PACE` seconds while it plays."""
    _settle(key, 0, last, last, f"this model has {last} layers")
    if playing:
        if st.session_state[key] == last:
            st.session_state[f"{key}_play"] = False
            st.session_state[f"{key}_ended"] = time.monotonic()
            st.rerun()
        st.session_state[key] += 1
    chosen = _slide(label, 0, last, last, key, place)
    if playing:
        place.caption("Play moves it, layer by layer.")
    return chosen
