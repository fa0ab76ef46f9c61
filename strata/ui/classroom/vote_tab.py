"""The teacher's side of a vote: ask, close, show, ask again."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts import Chart, tally
from strata.classroom.asked import KINDS, Asked
from strata.classroom.roster import Class
from strata.classroom.votes import Ballots, Phase, Vote, Votes, counted, reading
from strata.corpus.examples import DEFAULT
from strata.engine import Job
from strata.errors import StrataError
from strata.lessons import Lesson, Question, filled, lessons, plain
from strata.lessons.answers import measured
from strata.ui.anatomy import ask, style
from strata.ui.anatomy.controls import pressed
from strata.ui.anatomy.page import draw
from strata.ui.classroom.answered_before import say_how_many
from strata.ui.classroom.entrance import names_of
from strata.ui.classroom.vote_words import hide_words, not_yet, question
from strata.ui.lessons.run import Run
from strata.ui.server.learner import database, roster
from strata.ui.server.resources import models
from strata.weights.fitting import menu_title

EVERY = 2  # seconds between two looks at the ballots
_SHOW = 240  # pixels: as wide whatever it says, so that the next button stays where it is
_OWN = "A question of your own"
_OF_LESSON = "A question of a lesson"
_TITLES: dict[Phase, str] = {
    "first": "The vote is open",
    "talk": "The vote is closed: let them talk it over",
    "second": "The second vote is open",
    "done": "The vote is over",
}


@cache
def votes() -> Votes:
    """The votes of all classes of this server."""
    return Votes(database())


def vote_tab(group: Class) -> None:
    """The vote that runs, or a form to open one; and those before."""
    vote = votes().running(group.id)
    if vote is None:
        kind = st.segmented_control(
            "Ask", [_OF_LESSON, _OWN], default=_OF_LESSON, key="vote_kind", required=True
        )
        asked = _own(group) if kind == _OWN else _of_lesson(group)
        if asked is not None:
            votes().open(group.id, asked)
            st.rerun()
    else:
        st.fragment(_running, run_every=EVERY)(group, vote.id)
    _before(group)


def _of_lesson(group: Class) -> Asked | None:
    found = {
        stem: each for stem, each in lessons().items() if not group.lessons or stem in group.lessons
    }
    found = {stem: lesson for stem, lesson in found.items() if _questions(lesson)}
    stem = st.selectbox(
        "Lesson", list(found), format_func=lambda s: found[s].title, key="vote_lesson"
    )
    if stem is None:
        st.caption("None of the class's lessons has a question to vote on.")
        return None
    lesson, of = found[stem], _questions(found[stem])
    number = st.selectbox(
        "Question",
        list(of),
        format_func=lambda n: f"{n + 1}. {plain(of[n].ask)}",
        key=f"vote_step_{stem}",
    )
    names = [group.model] if group.model in models() else list(models())
    name = names[0]
    if len(names) > 1:
        name = st.selectbox(
            "Model", names, format_func=lambda n: menu_title(models()[n]), key="vote_model"
        )
    for option in of[number].options:
        st.text(f"○  {option.text}")
    say_how_many(group, Asked(question=of[number], lesson=lesson.stem, number=number + 1))
    if not pressed(st.button, "Open the vote", f"open_vote_{group.id}"):
        return None
    try:
        return _measured(lesson, number, name)
    except StrataError as error:
        style.say("refusal", str(error), "vote")
        return None


def _questions(lesson: Lesson) -> dict[int, Question]:
    """The questions that can be voted on, by the number of their step, 0 the first."""
    asked = {n: step.question for n, step in enumerate(lesson.steps)}
    return {n: q for n, q in asked.items() if q is not None and q.kind in KINDS}


def _measured(lesson: Lesson, number: int, model: str) -> Asked:
    """The question on the prompt of its step, with the answer of this very run."""
    so_far = [step.prompt for step in lesson.steps[: number + 1] if step.prompt]
    prompt = so_far[-1] if so_far else DEFAULT.prompt
    about = ask.until_ready(model)
    tokens = ask.run(Job(view="run.tokens", model=model, prompt=prompt))
    run = Run(model, prompt, about, tokens)
    asked = lesson.steps[number].question
    assert asked is not None
    question = run.filled(asked)
    question = question.model_copy(update={"ask": filled(plain(question.ask), run.facts)})
    answer = measured(question, run.ask, about["n_layers"], len(tokens))
    return Asked(
        question=question,
        answer=answer,
        n_layers=about["n_layers"],
        prompt=prompt,
        lesson=lesson.stem,
        number=number + 1,
        version=lesson.version,
        model=model,
    )


def _own(group: Class) -> Asked | None:
    with st.form(f"own_question_{group.id}"):
        words = st.text_area("Your question, at most 1,000 characters", max_chars=1_000, height=80)
        typed = st.text_area("Answers to choose from, one on each line", max_chars=3_000)
        right = st.number_input("Number of the right one, if there is one", 0, 20, 0)
        if not pressed(st.form_submit_button, "Open the vote", f"open_own_{group.id}"):
            return None
    try:
        return Asked.own(words, typed.splitlines(), int(right) - 1 if right else None)
    except StrataError as error:
        style.say("refusal", str(error), "own_question")
        return None


def _running(group: Class, vote_id: str) -> None:
    """A vote as it goes; looked at every few seconds."""
    try:
        vote = votes().running(group.id)
        cast = votes().ballots(vote_id)[vote_id]
        names = names_of(group, roster().members(group.id))
    except StrataError as error:
        style.say("refusal", f"{error} What is shown may be old.", "vote")
        return
    if vote is None or vote.id != vote_id:  # ended, or another one opened, elsewhere
        st.rerun(scope="app")
    latest = cast[vote.held(cast)[-1]]
    with st.container(key="vote_phase"):
        st.markdown(f"## {_TITLES[vote.phase]}")
        st.markdown(f"**{len(latest)} of {len(names)}** have voted.")
        if vote.asked.lesson:
            say_how_many(group, vote.asked, vote.created)
    peeks = _steps(vote)
    if vote.round:
        not_yet(vote, cast, names)
    else:
        hide_words(votes(), vote, cast)
    if latest and peeks:
        draw(results(replace(vote, phase="done"), cast), f"peeked_{vote.phase}")
    elif vote.shown:
        draw(results(vote, cast), f"tally_{vote.phase}")
    question(vote)


def _steps(vote: Vote) -> bool:
    """What can be done now; whether the results are to be shown here only. Nothing that cannot be
    taken back stands where a second press of the button before would meet it."""

    def go(**changes: Any) -> None:
        try:
            votes().change(vote.id, **changes)
        except StrataError as error:
            st.toast(str(error))

    way, peeks = partial(st.button, on_click=go), False
    with st.container(horizontal=True, vertical_alignment="center"):
        if vote.phase == "first":
            way("Close the vote", type="primary", kwargs={"phase": "talk"})
        elif vote.phase == "second":
            way("Close the second vote", type="primary", kwargs={"phase": "done"})
        else:
            peeks = st.toggle("Show the results here only", key=f"peek_{vote.id}")
            show = "Hide the results" if vote.shown else "Show everyone the results"
            way(show, kwargs={"shown": not vote.shown}, width=_SHOW)
            if vote.phase == "talk":
                way("Open the second vote", type="primary", kwargs={"phase": "second"})
                if vote.asked.right is not None:
                    told = {"phase": "done", "shown": True}
                    way("No second vote: show the answer", kwargs=told)
        with st.popover("End"):
            st.caption("Puts the vote away on all screens; what was voted is kept.")
            way("End the vote", kwargs={"phase": "over"})
    return peeks


def results(vote: Vote, cast: Ballots, *, wall: bool = False) -> Chart:
    """The histogram of a vote, both rounds side by side once there were two."""
    frame = counted(vote, cast)
    frame = frame.assign(vote=frame["round"].map({1: "first", 2: "second"}))
    return tally(frame, "How the class voted", reading(vote, cast), wall=wall)


def _before(group: Class) -> None:
    past = [vote for vote in votes().all(group.id) if vote.phase == "over"]
    if not past:
        return
    cast = votes().ballots(*(vote.id for vote in past))
    with st.expander(f"Votes before ({len(past)})"):
        rows = []
        for vote in past:
            rounds = cast[vote.id]
            said = reading(vote, rounds)
            asked = vote.asked.question.ask
            rows.append((vote.created, asked, len(rounds[1]), len(rounds[2]), said))
        columns = ["opened", "question", "first vote", "second vote", "result"]
        st.dataframe(pd.DataFrame(rows, columns=columns), hide_index=True)
