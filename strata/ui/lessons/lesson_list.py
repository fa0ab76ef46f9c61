"""The page of all lessons: what there is, how far one is, the lab report, the resume code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from strata.classroom.codes import read_code
from strata.lessons import Lesson, lessons, problems
from strata.lessons.report import as_html, as_notebook, drawn, quoted
from strata.ui.anatomy import record, style
from strata.ui.anatomy.place import go
from strata.ui.server.learner import is_local, learner, progress, seat

_REPORTS: dict[str, tuple[Callable[..., str], str, Any]] = {
    "HTML": (as_html, "html", "text/html"),
    "Notebook": (as_notebook, "ipynb", "application/x-ipynb+json"),
}


def show() -> None:
    """Draw the page."""
    st.title("Lessons", anchor=False)
    with st.container(key="question"):
        st.markdown("Predict first, then look: a figure means more when you have guessed it wrong.")
    here = seat()
    if here is None and not is_local():
        _resume()
    for sentence in problems():
        style.say("warning", sentence, sentence[:40])
    found = lessons()
    if here is not None and here.group is not None and here.group.lessons:
        found = {stem: found[stem] for stem in here.group.lessons if stem in found}
    for number, lesson in enumerate(found.values(), 1):
        _lesson(number, lesson, found)


def _lesson(number: int, lesson: Lesson, found: dict[str, Lesson]) -> None:
    guesses = progress().guesses(learner(), lesson.stem)
    notes = progress().notes(learner(), lesson.stem)
    seen = {step for step in notes if step < len(lesson.steps)}
    asked = sum(step.question is not None for step in lesson.steps)
    answered = {guess.step for guess in guesses}
    right = {guess.step for guess in guesses if guess.verdict.grade == "right"}
    latest = list(notes)[-1] if notes else 0
    with st.container(border=True, key=f"lesson_{lesson.stem}"):
        words, way = st.columns([5, 1], vertical_alignment="center")
        with words:
            st.markdown(f"## {number}\\. {quoted(lesson.title)}")
            st.markdown(quoted(lesson.summary))
            told = [f"{lesson.minutes} minutes", f"{len(lesson.steps)} steps"]
            before = [found[stem].title for stem in lesson.prerequisites if stem in found]
            told += [f"best after “{title}”" for title in before]
            if notes:
                told.append(
                    f"{len(seen)} steps seen, {len(answered)} of {asked} questions answered, "
                    f"{len(right)} right"
                )
            st.caption(" · ".join(told))
            if notes:
                st.progress(len(seen) / len(lesson.steps))
        done = len(seen) == len(lesson.steps)
        label = "Again" if done else "Continue" if notes else "Start"
        way.button(
            label,
            type="secondary" if done else "primary",
            on_click=partial(go, lesson.stem, 0 if done else min(latest, len(lesson.steps) - 1)),
            key=f"open_{lesson.stem}",
            width="stretch",
        )
        if notes:
            with way.popover("Report", width="stretch"):
                st.caption("Your lab report: steps, predictions, answers, figures, your words.")
                for kind, (write, ending, mime) in _REPORTS.items():
                    made = partial(_report, learner(), lesson, write)
                    name = f"{lesson.stem}.{ending}"
                    st.download_button(kind, made, name, mime, on_click="ignore")
                sure = st.checkbox(
                    "My answers to this lesson may be deleted", key=f"sure_{lesson.stem}"
                )
                st.button(
                    "Delete my answers",
                    on_click=partial(record.forget, lesson.stem),
                    disabled=not sure,
                    key=f"forget_{lesson.stem}",
                )


def _report(who: str, lesson: Lesson, write: Callable[..., str]) -> bytes:
    """Made when it is asked for: its figures take a second or two."""
    notes = drawn(progress().notes(who, lesson.stem, drawn=True))
    return write(lesson, progress().guesses(who, lesson.stem), notes).encode("utf-8")


def _resume() -> None:
    """The code with which to come back, and a field for one."""
    code, field = st.columns([2, 1], vertical_alignment="bottom")
    code.markdown(f"Your resume code is `{learner()}`: write it down, and type it to come back.")
    typed = field.text_input("I have a resume code", key="typed_code")
    if not typed:
        return
    known = read_code(typed)
    if known is None:
        style.say("refusal", "A resume code has twelve letters and digits; look again.", "code")
    elif known != st.session_state.get("resume_code"):
        st.session_state["resume_code"] = known
        st.rerun()
