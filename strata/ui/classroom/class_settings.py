"""The rules of a class, as its teacher sets them; and taking away or deleting what is kept."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, tzinfo
from functools import partial

import streamlit as st

from strata.classroom.backup import kept_of
from strata.classroom.roster import Class, Member
from strata.display.files import as_json
from strata.errors import StrataError
from strata.lessons import lessons
from strata.ui.anatomy import style
from strata.ui.anatomy.controls import pressed
from strata.ui.classroom.names import RENAMED, learner_name
from strata.ui.server.learner import database, roster, time_zone
from strata.ui.server.resources import models
from strata.weights.fitting import menu_title

_FREE = "Learners choose"


def choose_lessons(chosen: tuple[str, ...]) -> list[str]:
    titles = {stem: lesson.title for stem, lesson in lessons().items()}
    return st.multiselect(
        "Lessons, in order (none: all of them)",
        list(titles),
        [stem for stem in chosen if stem in titles],
        format_func=titles.__getitem__,
    )


def choose_model(chosen: str) -> str:
    names = ["", *models()]
    return st.selectbox(
        "Model",
        names,
        names.index(chosen) if chosen in names else 0,
        format_func=lambda name: menu_title(models()[name]) if name else _FREE,
    )


def _choose_limits(chosen: dict[str, int]) -> dict[str, int]:
    """What a learner may ask of the model; nothing where the server's limits are enough."""
    words = {
        "prompt_tokens": "Longest prompt, in tokens",
        "per_minute": "New computations of a learner in a minute",
    }
    typed = {}
    for (name, label), place in zip(words.items(), st.columns(2), strict=True):
        said = f"{label} (empty: as the server allows)"
        typed[name] = place.number_input(said, 1, 10_000, chosen.get(name))
    return {name: int(number) for name, number in (chosen | typed).items() if number is not None}


def rules(group: Class) -> None:
    """Lessons, model, limits and times of a class."""
    open_now = not group.closed()

    def open_or_close() -> None:
        _change(group, opens=None, closes=datetime.now(UTC) if open_now else None)

    label = "Close the class now" if open_now else "Open the class now"
    st.button(label, on_click=open_or_close, key="open_or_close")
    zone = time_zone()
    with st.form(f"class_settings_{group.id}"):
        stems = choose_lessons(group.lessons)
        model = choose_model(group.model)
        limits = _choose_limits(group.limits)
        begins, ends = st.columns(2)
        first, last = _local(group.opens, zone), _local(group.closes, zone)
        named = f"{zone} time"
        opens = begins.datetime_input(f"Opens, {named} (empty: at once)", first)
        closes = ends.datetime_input(f"Closes, {named} (empty: when you close it)", last)
        if pressed(st.form_submit_button, "Save", f"save_{group.id}", primary=False):
            chosen = {"lessons": stems, "model": model, "limits": limits}
            hours = {"opens": _utc(opens, zone), "closes": _utc(closes, zone)}
            if hours["opens"] and hours["closes"] and hours["closes"] <= hours["opens"]:
                style.say("refusal", "A class closes after it has opened.", "hours")
            elif _change(group, **chosen, **hours):
                st.toast("Saved.")
                st.rerun()
    if group.expires:
        st.caption(f"All data of this class are deleted on {group.expires:%d %B %Y}.")


def _change(group: Class, **chosen: object) -> bool:
    """Whether the class has these fields now; the reason is shown if not."""
    try:
        roster().change(group.id, **chosen)
    except StrataError as error:
        st.toast(str(error))
        return False
    return True


def _local(moment: datetime | None, zone: tzinfo) -> datetime | None:
    return moment and moment.astimezone(zone).replace(tzinfo=None)


def _utc(typed: datetime | None, zone: tzinfo) -> datetime | None:
    return typed and typed.replace(tzinfo=zone).astimezone(UTC)


def export(group: Class, ids: list[str], label: str, file: str) -> None:
    """A button for a file of all that is kept of these learners, made when it is pressed."""
    st.download_button(
        label,
        lambda: as_json({"class": group.name, **kept_of(database(), ids)}),
        file,
        "application/json",
        on_click="ignore",
    )


def kept(group: Class) -> None:
    """Export or delete what is kept of one learner or of the class; a new resume code."""
    members = roster().members(group.id)
    names = told_apart(members)
    renamed = st.session_state.get(RENAMED)
    begins = list(names).index(renamed) + 1 if renamed in names else 0
    one = st.selectbox(
        "A learner", ["", *names], begins, format_func=lambda i: names.get(i, "everyone")
    )
    ids = [one] if one else list(names)
    with st.container(horizontal=True):
        if one:
            known = {member.id: member.name for member in members}
            learner_name(one, known[one])
        export(group, ids, "Export all that is kept", "class.json")
        if one:
            renew = st.button("New resume code")
            if renew:
                st.code(roster().renew(one), language=None, wrap_lines=True)
        with st.popover("Delete the learner" if one else "Delete the class"):
            all_ = f"the class {group.name}, with its {learners(len(ids))}"
            whom = f"the learner {names[one]}" if one else all_
            st.text(f"Delete {whom}: all answers, notes and prompts?")
            sure = st.checkbox("Yes: it cannot be undone", key=f"sure_{one or group.id}")
            forget = partial(roster().forget, one) if one else partial(roster().remove, group.id)
            st.button(
                "Delete for good",
                on_click=forget,
                disabled=not sure,
                type="primary",
                key="delete_for_good",
            )


def learners(count: int) -> str:
    """How many, in words."""
    return "1 learner" if count == 1 else f"{count:,} learners"


def told_apart(members: list[Member]) -> dict[str, str]:
    """Names by id; where several have the same, with the time at which each joined."""
    often, zone = Counter(member.name for member in members), time_zone()

    def told(member: Member) -> str:
        once = often[member.name] == 1
        joined = member.joined.astimezone(zone)
        return member.name if once else f"{member.name}, joined {joined:%d %B, %H:%M:%S}"

    return {member.id: told(member) for member in members}
