"""The teacher's page: the classes of this server, who is where in one, and its gradebook."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from functools import partial

import pandas as pd
import streamlit as st

from strata.charts import funnel
from strata.classroom import watch
from strata.classroom.asked import Asked
from strata.classroom.roster import Class
from strata.classroom.votes import call
from strata.errors import StrataError
from strata.lessons import Lesson, lessons
from strata.ui.anatomy import style
from strata.ui.anatomy.controls import pressed
from strata.ui.anatomy.page import draw
from strata.ui.classroom import this_class
from strata.ui.classroom.class_settings import choose_lessons, choose_model, kept, learners, rules
from strata.ui.classroom.coming_in import remove_several, say_if_shut, who_may_join
from strata.ui.classroom.entrance import names_of, strip
from strata.ui.classroom.gradebook import gradebook
from strata.ui.classroom.names import class_names
from strata.ui.classroom.vote_tab import vote_tab
from strata.ui.server.learner import database, roster, seat, time_zone

_EVERY = 3  # seconds between two looks at the class
_KEPT = {"a week": 7, "a month": 30, "half a year": 183}


def show() -> None:
    """Draw the page, for the teacher only."""
    here = seat()
    if here is None or not here.is_teacher:
        raise StrataError("This page is the teacher's.")
    st.title("Class", anchor=False)
    known = roster().classes()
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    key = f"new_class_{len(known)}"  # another one once the class is made: closed
    with right.popover("New class", icon=":material/add:", width="stretch", key=key):
        _new(f"new_name_{len(known)}")
    if not known:
        left.markdown("There is no class yet: make one, and give its code to your learners.")
        return
    with left:
        group = this_class.choose(known) or known[0]
    this_class.keep_in_address()
    strip(group)
    st.fragment(_state, run_every=_EVERY)(group.id)
    names = ["Who is where", "Vote", "Gradebook", "Settings"]
    live, vote, book, settings = st.tabs(names, key="tab", on_change="rerun", bind="query-params")
    with live:
        if live.open:
            st.fragment(_live, run_every=_EVERY)(group)
    with vote:
        if vote.open:
            vote_tab(group)
    with book:
        if book.open:
            gradebook(group)
    with settings:
        if settings.open:
            who_may_join(group)
            class_names(group)
            rules(group)
            remove_several(group)
            kept(group)


def _new(key: str) -> None:
    with st.form("new_class", border=False):
        name = st.text_input("Name of the class", max_chars=40, key=key)
        stems = choose_lessons(())
        model = choose_model("")
        st.caption("Lessons and model can be changed later, and limits and hours set.")
        kept = st.radio("Keep its data for", list(_KEPT), index=1, horizontal=True)
        if not pressed(st.form_submit_button, "Make it", "make_class"):
            return
    try:
        over = datetime.now(UTC) + timedelta(days=_KEPT[kept])
        this_class.be_with(roster().create(name, lessons=stems, model=model, expires=over).id)
    except StrataError as error:
        style.say("refusal", str(error), "new_class")
        return
    st.rerun()


def _state(class_id: str) -> None:
    """What the teacher should know of the class now: a call, that nobody new can join, that it is
    closed. By itself, since that comes and goes by the clock."""
    try:
        group, called = roster().get(class_id), roster().called(class_id)
    except StrataError as error:
        style.say("refusal", f"{error} What is shown may be old.", "state")
        return
    if group is None:
        return
    if called:
        with st.container(horizontal=True, vertical_alignment="center", key="called"):
            st.caption(f"Everyone was asked to come to {called}.")
            back = partial(call, database(), group.id, None)
            st.button("Take it back", on_click=back, type="tertiary")
    say_if_shut(group)
    if reason := group.closed(zone=time_zone()):
        style.say("warning", f"{reason} Nobody else can come in or go on.", "closed")


def _live(group: Class) -> None:
    """Who is where, how far a lesson has got, what went wrong: looked at every few seconds."""
    try:
        done = watch.events(database(), group.id)
        names = names_of(group, roster().members(group.id))
    except StrataError as error:
        style.say("refusal", f"{error} What is shown may be old.", "watch")
        return
    known = zip(done["member"], done["name"], strict=True)
    done = done.assign(name=[names.get(*each) for each in known])
    people = watch.people(done)
    active = int(((people["minutes"] < 5) & (people["lesson"] != "")).sum())
    lately = f"{active} of them did something in a lesson in the last five minutes"
    st.markdown(f"**{learners(len(people))}**, {lately}")
    if people.empty:
        return
    titles = {stem: lesson.title for stem, lesson in lessons().items()}
    begun = [stem for stem in titles if stem in set(done["lesson"])]
    if begun:
        stem = st.selectbox("Lesson", begun, format_func=titles.__getitem__, key="watched_lesson")
        _lesson(done, lessons()[stem])
    st.markdown("**Everyone**")
    people["lesson"] = people["lesson"].map(lambda stem: titles.get(stem, "not begun yet"))
    people = people.round({"minutes": 1}).rename(columns={"minutes": "minutes since active"})
    st.dataframe(people, hide_index=True, height=300)


def _lesson(done: pd.DataFrame, lesson: Lesson) -> None:
    reached = watch.funnel(done, lesson.stem, len(lesson.steps))
    names = [f"{n}. {step.title}" for n, step in enumerate(lesson.steps, 1)]
    left, right = st.columns([3, 2], gap="large")
    with left:
        last = int(reached["reached"].iloc[-1])
        reading = f"{last} of {int(reached['reached'].iloc[0])} have reached the last step."
        title = f"How far the class is in “{lesson.title}”"
        draw(funnel(reached.assign(title=names), title, reading), "funnel", read=False)
    with right:
        wrong = watch.answers(done[done["lesson"] == lesson.stem])
        st.markdown("**First answers**, most missed questions first")
        shown = wrong.assign(guess=[_answer(lesson, row) for row in wrong.itertuples()])
        together = ["step", "guess", "grade"]
        shown = shown.groupby(together, sort=False)["learners"].sum().reset_index()
        st.dataframe(shown, hide_index=True, height=240)
        hints = reached[reached["hints"] > 0]
        if not hints.empty:
            told = ", ".join(f"step {row.step}: {row.hints}" for row in hints.itertuples())
            st.caption(f"Learners who took a hint: {told}")
    said = watch.observations(done[done["lesson"] == lesson.stem])
    if not said.empty:
        with st.expander(f"What they saw ({len(said)})"):
            st.dataframe(said[["step", "name", "text"]], hide_index=True)


def _answer(lesson: Lesson, row: object) -> str:
    """An answer as it is counted: of a choice the option, of a number its range, else as its
    learner reads it; so too where the lesson has changed since."""
    guess, said = str(row.guess), str(row.said)  # type: ignore[attr-defined]
    number = int(row.step)  # type: ignore[attr-defined]
    question = lesson.steps[number - 1].question if number <= len(lesson.steps) else None
    if question is None or question.kind not in ("choice", "number"):
        return said
    try:
        return Asked(question=question).counted_as(json.loads(guess))
    except (ValueError, TypeError, IndexError):
        return said
