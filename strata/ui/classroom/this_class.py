"""Which class a teacher is with, on whatever page: kept in the session and in the address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from strata.classroom.roster import Class
from strata.ui.anatomy.address import OF_CLASS, remember

_KEY, _BOX, _BOXES = "this_class", "box_of_this_class", "boxes_of_classes"


def begin() -> None:
    """At the beginning of a session, be with the class that the address names."""
    if _KEY not in st.session_state:
        be_with(st.query_params.get(OF_CLASS, ""))


def be_with(class_id: str) -> None:
    """From now on this is the class."""
    st.session_state[_KEY] = class_id


def among(groups: Sequence[Class]) -> Class | None:
    """The one of these classes that the teacher is with; None if it is none of them."""
    chosen = st.session_state[_KEY]
    return next((group for group in groups if group.id == chosen), None)


def keep_in_address() -> None:
    """Write it into the address, so that a reload comes back to it."""
    remember(OF_CLASS, st.session_state[_KEY] or None)


def _chosen_in(box: str) -> None:
    """Be with the class that was chosen in a box; not in one that was there before."""
    if box == st.session_state[_BOX]:
        be_with(st.session_state[box] or "")


def choose(groups: Sequence[Class], newest: bool = True) -> Class | None:
    """A box to choose one of these classes, the newest of which comes first: that is chosen where
    the teacher is with none of them, or none if not `newest`."""
    by_id, group = {each.id: each for each in groups}, among(groups)
    if group is None and newest:
        group = groups[0]
    often = Counter(each.name for each in groups)

    def named(class_id: str) -> str:
        """Two of one name are told apart: the browser says which by these words."""
        each = by_id.get(class_id)
        if each is None or often[each.name] == 1:
            return each.name if each else class_id
        return f"{each.name} ({each.code})"

    # With a class more, or one renamed, the box is another one: a browser that has not heard of it
    # still sends the words that were chosen before.
    words = tuple(map(named, by_id))
    boxes: list[tuple[str, ...]] = st.session_state.setdefault(_BOXES, [])
    if words not in boxes:
        boxes.append(words)
    number = [each for each in boxes if len(each) == len(words)].index(words)
    key = st.session_state[_BOX] = f"class_{len(words)}" + f"_{number}" * (number > 0)
    if group is not None and st.session_state.get(key) != group.id:
        st.session_state[key] = group.id
    chosen = st.selectbox(
        "Class",
        list(by_id),
        index=0 if newest else None,
        format_func=named,
        placeholder="Which class?",
        key=key,
        on_change=_chosen_in,
        args=(key,),
    )
    if chosen is not None:
        be_with(chosen)
    return among(groups)
