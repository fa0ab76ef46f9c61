"""What a vote on a lesson's question says to the teacher of those who have answered it there."""

from __future__ import annotations

from datetime import datetime

import streamlit as st

from strata.classroom import watch
from strata.classroom.asked import Asked
from strata.classroom.board import figures_tell
from strata.classroom.roster import Class
from strata.ui.server.learner import database, roster


def say_how_many(group: Class, asked: Asked, until: datetime | None = None) -> None:
    """How many of a class have answered a lesson's question in the lesson, before a time; nothing
    where nobody has."""
    done = watch.events(database(), group.id)
    known = watch.answered(done, asked.lesson, asked.number, until)
    if not known:
        return
    covered = "Their verdicts and all figures are" if figures_tell(asked) else "Their verdicts are"
    st.caption(
        f":material/visibility_off: {known} of {len(roster().members(group.id))} have answered "
        f"this question in the lesson, or looked at its answer. {covered} covered until the vote "
        "is over."
    )
