"""What a class sees on the wall: how to come in, the question of a vote, its results once shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from strata.classroom.asked import LETTERS
from strata.classroom.roster import Class, Member
from strata.classroom.votes import Vote
from strata.classroom.wall import Wall, wall
from strata.errors import InputError, StrataError
from strata.ui.anatomy import style
from strata.ui.anatomy.component import component
from strata.ui.anatomy.page import draw
from strata.ui.classroom.entrance import clock, entrance
from strata.ui.classroom.vote_tab import results, votes
from strata.ui.server.learner import database, roster, seat, time_zone

_EVERY = 5  # seconds between two looks, for who joins and what is told to other servers
_WALL = (Path(__file__).parent / "wall.css").read_text("utf-8")
_NAMED = 60  # learners


def show() -> None:
    """Draw the page, for the teacher only."""
    here = seat()
    if here is None or not here.is_teacher:
        raise StrataError("This page is the teacher's.")
    group = roster().get(st.query_params.get("of", ""))
    if group is None:
        raise InputError("Open the projector from the page of a class, which says whose it is.")
    st.html(f"<style>{_WALL}</style>")
    st.fragment(_wall, run_every=_EVERY)(group)


def _wall(asked: Class) -> None:
    with st.container(key="wall_ear"):
        ear = component("strata_wall", __file__, ("wall.js",))
        ear(key="ear", data={"of": asked.id}, on_heard_change=lambda: None)
    try:
        group = roster().get(asked.id)  # anew: it may be closed by now, or have another code
        if group is None:
            raise InputError("This class was deleted.")
        vote = votes().running(group.id)
        cast = votes().ballots(vote.id)[vote.id] if vote else {1: {}, 2: {}}
        members = roster().members(group.id)
        n_members, now = len(members), wall(database(), group.id)
    except StrataError as error:
        style.say("refusal", str(error), "wall")
        return
    with st.container(key="wall_clock"):
        clock(now.left())
    shut = group.shut(time_zone())
    if vote is None or group.closed():
        st.title(group.name, anchor=False)
        if shut:
            with st.container(key="wall_shut"):
                st.text(shut)
        else:
            entrance(group)
        if not group.closed():
            _who_is_there(members, now)
        return
    with st.container(key="wall"):
        if vote.asked.prompt:
            st.text(f"“{vote.asked.prompt}”")
        with st.container(key="wall_ask"):
            st.text(vote.asked.question.ask)
        if vote.shown:
            draw(results(vote, cast, wall=True), f"wall_{vote.phase}")
        else:
            _open_or_closed(vote, len(cast[vote.held(cast)[-1]]), n_members)
        if not shut:
            st.caption(f"To join: {group.code}")


def _open_or_closed(vote: Vote, n_cast: int, n_members: int) -> None:
    """What can be answered, and how many have; never what they have."""
    for letter, option in zip(LETTERS, vote.asked.question.options, strict=False):
        st.text(f"{letter}   {option.text}")
    words = {
        "first": f"{n_cast} of {n_members} have voted",
        "talk": f"{n_cast} have voted. Talk it over with somebody who answered differently",
        "second": f"Vote again: {n_cast} of {n_members} have",
        "done": f"The vote is over: {n_cast} have voted",
    }
    st.markdown(f"### {words[vote.phase]}")


def _who_is_there(members: Sequence[Member], now: Wall) -> None:
    """How many have joined, and their names, the latest first, unless these are hidden."""
    st.markdown(f"### {len(members)} {'has' if len(members) == 1 else 'have'} joined")
    if members and not now.names_hidden:
        names = [member.name for member in reversed(members)]
        more = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
        with st.container(key="wall_names"):
            st.text("   ".join([*names[:_NAMED], *more]))
