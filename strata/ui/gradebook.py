"""The gradebook of a class: points of each learner, every answer, and both as files."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from strata.classroom import watch
from strata.classroom.roster import Class
from strata.export import as_csv, as_parquet
from strata.lessons import lessons
from strata.ui.learner import database, time_zone
from strata.ui.vote_tab import votes

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
    st.markdown("**Each learner**, of the questions whose answer is known")
    points = watch.points(book).drop(columns="member")
    st.dataframe(points, hide_index=True, width="content")
    st.markdown("**Each answer**: the first one counts, the revision stands beside it")
    st.dataframe(_readable(book), hide_index=True)
    with st.container(horizontal=True):
        save = partial(st.download_button, on_click="ignore")
        save("CSV", partial(as_csv, book), "gradebook.csv", "text/csv")
        save("Parquet", partial(as_parquet, book), "gradebook.parquet")
    st.caption(
        "The files also hold each learner's pseudonym and each lesson's version, and times are in "
        "UTC. In the CSV, text that a spreadsheet would take for a formula begins with an "
        "apostrophe."
    )


def _readable(book: pd.DataFrame) -> pd.DataFrame:
    """Lessons and steps by their titles, times of the clock here."""
    at = pd.to_datetime(book["at"], utc=True).dt.tz_convert(time_zone()).dt.tz_localize(None)
    titles = {stem: lesson.title for stem, lesson in lessons().items()}
    titles |= {_VOTE + stem: f"Vote: {title}" for stem, title in titles.items()}
    steps = [_step(*each) for each in zip(book["lesson"], book["step"], strict=True)]
    book = book.assign(
        lesson=[titles.get(each, each) for each in book["lesson"]], step=steps, at=at
    )
    return book.drop(columns=["member", "version"]).rename(columns=_WORDS)


def _step(stem: str, number: int) -> str:
    """A step by its number and title; "" for a question of the teacher's own."""
    lesson = lessons().get(stem.removeprefix(_VOTE))
    if lesson is None or not 0 < number <= len(lesson.steps):
        return str(number or "")
    return f"{number}. {lesson.steps[number - 1].title}"
