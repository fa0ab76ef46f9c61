"""The gradebook of a class: points of each learner, every answer, and both as files."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from strata.classroom import watch
from strata.classroom.roster import Class
from strata.display.files import as_csv, as_parquet
from strata.lessons import Lesson, lessons
from strata.ui.classroom.class_settings import told_apart
from strata.ui.classroom.vote_tab import votes
from strata.ui.server.learner import database, roster, time_zone

_VOTE = "vote: "  # before the lesson of a question that was voted on
_WORDS = {
    "first": "first answer",
    "first_grade": "grade",
    "revision_grade": "its grade",
    "answer": "right answer",
}


def gradebook(group: Class) -> None:
    """Draw it, with times of the teacher's zone."""
    book = watch.gradebook(watch.events(database(), group.id))
    book = pd.concat([book, votes().gradebook(group.id)], ignore_index=True)
    if book.empty:
        st.caption("Nobody has answered a question yet.")
        return
    names = told_apart(roster().members(group.id))
    st.markdown("**Each learner**, of the questions whose answer is known")
    st.dataframe(_named(watch.points(book), names), hide_index=True, width="content")
    st.markdown("**Each answer**: the first one counts, the revision stands beside it")
    st.dataframe(_readable(_named(book, names)), hide_index=True)
    with st.container(horizontal=True):
        save = partial(st.download_button, on_click="ignore")
        save("CSV", partial(as_csv, book), "gradebook.csv", "text/csv")
        save("Parquet", partial(as_parquet, book), "gradebook.parquet")
    st.caption(
        "The files also hold each learner's pseudonym and each lesson's version, and times are in "
        "UTC. In the CSV, text that a spreadsheet would take for a formula begins with an "
        "apostrophe."
    )


def _named(frame: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """With a name in place of each member."""
    named = [names.get(*each) for each in zip(frame["member"], frame["name"], strict=True)]
    return frame.assign(name=named).drop(columns="member")


def _readable(book: pd.DataFrame) -> pd.DataFrame:
    """Lessons and steps by their titles, times of the clock here."""
    known = lessons()
    places = list(zip(book["lesson"], book["step"], book["version"], strict=True))
    at = pd.to_datetime(book["at"], utc=True).dt.tz_convert(time_zone()).dt.tz_localize(None)
    book = book.assign(
        lesson=[_lesson(known, stem) for stem, _, _ in places],
        step=[_step(known, *place) for place in places],
        at=at,
    )
    return book.drop(columns="version").rename(columns=_WORDS)


def _lesson(known: Mapping[str, Lesson], named: str) -> str:
    """A lesson by its title, a question of the teacher's own as it was asked."""
    lesson = known.get(named.removeprefix(_VOTE))
    return named if lesson is None else f"{'Vote: ' if _VOTE in named else ''}{lesson.title}"


def _step(known: Mapping[str, Lesson], named: str, number: int, version: str) -> str:
    """A step by number and title, by its number alone where the lesson has changed since."""
    lesson = known.get(named.removeprefix(_VOTE))
    if lesson is None or lesson.version != version or not 0 < number <= len(lesson.steps):
        return str(number or "")
    return f"{number}. {lesson.steps[number - 1].title}"
