"""The page of all lessons: what there is, how far one is, the lab report, the resume code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from strata.classroom.codes import read_code
from strata.display.tokens import listed
from strata.lessons import Lesson, lessons, problems
from strata.lessons.outcome import outcome
from strata.lessons.report import as_html, as_notebook, drawn, quoted
from strata.ui.anatomy import record, style
from strata.ui.lessons.lesson import begin
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
    finished = found.get(st.session_state.get("finished", ""))
    if finished is not None:
        _finished(finished, found)
    for number, lesson in enumerate(found.values(), 1):
        _lesson(number, lesson, found)


def _finished(lesson: Lesson, found: dict[str, Lesson]) -> None:
    """How the lesson that was just finished went, what to look at again, and what comes next."""
    who = learner(), lesson.stem
    how = outcome(lesson, progress().guesses(*who), progress().notes(*who))
    with st.container(border=True, key="finished"):
        st.markdown(f"#### You have finished “{quoted(lesson.title)}”")
        st.text(how.in_words)
        if how.again:
            st.markdown("**Look at these again:**")
            with st.container(horizontal=True):
                for step in how.again:
                    st.button(
                        f"{step + 1}\\. {quoted(lesson.steps[step].title)}",
                        on_click=partial(begin, lesson.stem, step),
                        key=f"again_{step}",
                    )
        after = _next(lesson, found)
        if after is None:
            st.text("These were all lessons. Now try your own texts on any page.")
            return
        st.button(
            f"Next lesson: {quoted(after.title)}",
            on_click=partial(begin, after.stem),
            type="primary",
            icon=":material/arrow_forward:",
            key="next_lesson",
        )


def _next(lesson: Lesson, found: dict[str, Lesson]) -> Lesson | None:
    """The lesson to go on with: the next one, or the first before it, that was not seen to its
    end."""
    stems = list(found)
    here = stems.index(lesson.stem)
    for stem in [*stems[here + 1 :], *stems[:here]]:
        if len(progress().notes(learner(), stem)) < len(found[stem].steps):
            return found[stem]
    return None


def _lesson(number: int, lesson: Lesson, found: dict[str, Lesson]) -> None:
    guesses = progress().guesses(learner(), lesson.stem)
    notes = progress().notes(learner(), lesson.stem)
    seen = {step for step in notes if step < len(lesson.steps)}
    how = outcome(lesson, guesses, notes)
    latest = list(notes)[-1] if notes else 0
    with st.container(border=True, key=f"lesson_{lesson.stem}"):
        words, way = st.columns([5, 1], vertical_alignment="center")
        with words:
            st.markdown(f"## {number}\\. {quoted(lesson.title)}")
            st.markdown(quoted(lesson.summary))
            told = [f"{lesson.minutes} minutes", f"{len(lesson.steps)} steps"]
            before = [found[stem].title for stem in lesson.prerequisites if stem in found]
            if before:
                told.append("best after " + listed([f"“{title}”" for title in before]))
            if notes:
                told.append(
                    f"{len(seen)} step{'s' * (len(seen) != 1)} seen, {len(how.answered)} of "
                    f"{len(how.asked)} questions answered, {len(how.right) + len(how.second)} right"
                )
            st.caption(" · ".join(told))
            if notes:
                st.progress(len(seen) / len(lesson.steps))
            done = len(seen) == len(lesson.steps)
            if done:
                st.caption(
                    "*Again* keeps your answers and shows them at their steps. To predict anew, "
                    "delete them under *Report*."
                )
        label = "Again" if done else "Continue" if notes else "Start"
        way.button(
            label,
            type="secondary" if done else "primary",
            on_click=partial(begin, lesson.stem, 0 if done else min(latest, len(lesson.steps) - 1)),
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
