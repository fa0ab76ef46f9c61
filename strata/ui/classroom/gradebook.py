"""The gradebook of a class: points of each learner, every answer, and both as files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from strata.classroom import book, watch
from strata.classroom.roster import Class
from strata.classroom.wall import numbered, wall
from strata.display.files import as_csv, as_parquet
from strata.lessons import lessons
from strata.ui.classroom.class_settings import told_apart
from strata.ui.classroom.vote_tab import votes
from strata.ui.server.learner import database, roster, time_zone

_WIDE = 280  # pixels: a name, and when who has the same as another one joined
_UNREAD = ["pseudonym", "version"]  # in the files only


def gradebook(group: Class) -> None:
    """Draw it, with times of the teacher's zone."""
    members = roster().members(group.id)
    if not members:
        st.caption("Nobody has joined yet.")
        return
    kept = watch.gradebook(watch.events(database(), group.id))
    kept = pd.concat([kept, votes().gradebook(group.id)], ignore_index=True)
    known = book.in_lessons_order(group.lessons, lessons())
    apart = book.in_order(told_apart(members))
    shown = numbered(members) if wall(database(), group.id).names_hidden else apart
    points = book.each_learner(kept, shown)
    st.markdown("**Each learner**, of the questions whose answer is known. Click on one.")
    chosen = st.dataframe(
        points.drop(columns="pseudonym"),
        hide_index=True,
        width="content",
        column_config={"name": st.column_config.TextColumn(width=_WIDE)},
        on_select="rerun",
        selection_mode="single-cell",
        key=f"points_{group.id}",
    )
    cells = chosen["selection"]["cells"]
    answers = book.answers(kept, shown, known, time_zone())
    if cells and cells[0][0] < len(points):
        row = points.iloc[cells[0][0]]
        with st.container(key="answers_of"):
            st.text(f"Answers of {row['name']}: the first one counts")
        answers = answers[answers["pseudonym"] == row["pseudonym"]].drop(columns="name")
    else:
        st.markdown("**Each answer**: the first one counts, the revision stands beside it")
    st.dataframe(answers.drop(columns=_UNREAD), hide_index=True)
    files = {
        "Answers": partial(book.answers, kept, apart, known),
        "Points": partial(book.each_question, kept, apart, known),
    }
    with st.container(horizontal=True):
        save = partial(st.download_button, on_click="ignore")
        for name, table in files.items():
            stem = name.lower()
            save(f"{name} as CSV", partial(_file, as_csv, table), f"{stem}.csv", "text/csv")
            save(f"{name} as Parquet", partial(_file, as_parquet, table), f"{stem}.parquet")
    st.caption(
        "Points have a column for each question: 1 where the first answer was right, 0 where it "
        "was not. The files also hold each learner's pseudonym, the answers each lesson's version, "
        "and times are in UTC. In the CSV, text that a spreadsheet would take for a formula begins "
        "with an apostrophe."
    )


def _file(form: Callable[[pd.DataFrame], bytes], table: Callable[[], pd.DataFrame]) -> bytes:
    return form(table())
