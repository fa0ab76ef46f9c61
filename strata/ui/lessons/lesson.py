"""The lesson beside the figure: a step's words, the prediction, the answer from this very run."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import streamlit as st

from strata.concepts.views import concepts
from strata.display.tokens import display_text
from strata.engine import Job
from strata.errors import StrataError
from strata.lessons import plain
from strata.lessons.answers import lacking, resolved
from strata.lessons.progress import is_over
from strata.lessons.report import quoted
from strata.ui.anatomy import ask, record, style
from strata.ui.anatomy.address import led_back, put
from strata.ui.anatomy.component import component
from strata.ui.anatomy.controls import follow_the_answer, forget_moves, move
from strata.ui.anatomy.place import Place, current, go, to_list
from strata.ui.lessons.glossary import explained
from strata.ui.lessons.prediction import predict, told_before, where
from strata.ui.lessons.run import Run, run_of
from strata.ui.server.learner import class_id, learner, progress
from strata.ui.server.resources import engine

_UNREADY = "to_set_up"  # lesson and step that were come to before the model was ready
_HINTS = ("A nudge", "Something concrete", "Show me")


def panel(place: Place, model: str, prompt: str) -> bool:
    """Draw the step; whether the page should wait for the learner's prediction."""
    lesson, step = place.lesson, place.step
    with st.container(key="lesson_panel", border=True):
        at = (place.number + 1) / len(lesson.steps)
        st.progress(at, f"{quoted(lesson.title)} · step {place.number + 1} of {len(lesson.steps)}")
        label = "Find the mistake: " if step.trap else "Open challenge: " if step.challenge else ""
        st.subheader(f"{label}{quoted(step.title)}", anchor=False)
        run, trouble = None, ""
        try:
            run = run_of(model, prompt)
        except StrataError as error:
            trouble = str(error)
        if run is not None and st.session_state.pop(_UNREADY, None) == (lesson.stem, place.number):
            _apply(place, run.about["n_layers"], prompt)
            st.rerun()
        with st.container(key="lesson_step"):
            words, asks = st.container(key="lesson_words"), st.container(key="lesson_asks")
        with words:
            st.markdown(run.in_markdown(step.text) if run else explained(step.text), True)
            ready = _set_up(place, prompt, run.about["n_layers"] if run else 0)
        waits = lacks = False
        with asks:
            if trouble:
                style.say("refusal", trouble, "lesson")
            try:  # all that needs the stored progress; without it the lesson can still be read
                question = run.filled(step.question) if run and step.question else None
                if question is None or run is None:
                    _hints(place, run)
                elif lacks := lacking(question, run.ask):
                    style.say("note", question.lacks, "lacks")
                else:
                    hints = partial(_hints, place, run)
                    waits = predict(place, question, run, ready, hints)
                if not (lacks or (waits and step.hide)):  # it is of what was seen
                    _observation(place)
            except StrataError as error:
                style.say("refusal", str(error), "progress")
        _ways(place, run)
    if not waits:
        record.start(place, f"{model} {prompt}")
        if run is not None:
            record.keep_run(place, {"prompt": prompt, **run.facts})
    record.visit(place, lacks=lacks)
    st.session_state.pop("finished", None)
    st.session_state["asked_figure"] = step.question.figure if step.question else ""
    st.session_state["readings_wait"] = waits or not step.readings
    return waits and step.hide


def _set_up(place: Place, prompt: str, n_layers: int) -> bool:
    """One click sets the step's prompt and controls; whether that was done, if only once: who then
    changes something is answered for what the page shows."""
    step = place.step
    settings = _settings(place, prompt, n_layers)
    done: set[tuple[str, int]] = st.session_state.setdefault("set_up_steps", set())
    wanted = [key for key, value in settings.items() if not _stands(place, prompt, key, value)]
    if not (wanted or (step.prompt and step.prompt != prompt)):
        done.add((place.lesson.stem, place.number))
        if step.prompt or step.settings:
            text = f" Its text: “{quoted(display_text(prompt, 120))}”" if step.prompt else ""
            st.caption(f":material/check: The page is set up for this step.{text}")
        return True
    again = (place.lesson.stem, place.number) in done
    words = f"Set up the page: “{step.prompt}”" if step.prompt else "Set up the page for this step"
    st.button(
        "Back to this step's prompt and settings" if again else words,
        icon=":material/undo:" if again else ":material/play_arrow:",
        on_click=partial(_apply, place, n_layers, prompt),
        key="set_up",
        width="stretch",
        type="tertiary" if again else "primary",
    )
    return again


def _stands(place: Place, prompt: str, key: str, value: Any) -> bool:
    """Whether a control stands at a value. One that this session has not drawn yet, as after a
    reload, stands where the address says, which is silent of most; then it is put there. On the
    way back the address decides."""
    asked = st.query_params.get(key)
    for name in (key, f"{key}_put"):  # the latter while it waits with its figure, see `move`
        if name in st.session_state and not (asked and led_back()):
            return bool(st.session_state[name] == value)
    if asked is not None:
        return asked.lower() == f"{value}".lower()
    st.session_state[key] = value
    if key == "at":
        _of_prompt(place, prompt, value)
    return True


def _of_prompt(place: Place, prompt: str, position: int) -> None:
    """The position is one of the step's prompt, see `position_slider`."""
    st.session_state["at_of"] = place.step.prompt or prompt, place.page, position


def _apply(place: Place, n_layers: int, prompt: str) -> None:
    """Set a step's prompt and controls, `prompt` being what the page has; before it is drawn."""
    step = place.step
    settings = _settings(place, prompt, n_layers)
    if "view" in settings and led_back():  # a tab is a stop of the way back itself
        settings["view"] = st.query_params.get("view", settings["view"])
    put(settings)
    forget_moves()  # of the step before
    for key, value in settings.items():
        move(key, value, "this step of the lesson sets it")
    if "at" in settings:
        _of_prompt(place, prompt, settings["at"])
    if step.settings:
        follow_the_answer()
    if step.prompt:
        from strata.ui.anatomy.sidebar import take_prompt

        take_prompt(step.prompt)


def _settings(place: Place, prompt: str, n_layers: int) -> dict[str, Any]:
    """A step's settings; a position told from the end is one of the step's own prompt. `n_layers`:
    0 while that is not known."""
    settings, n_tokens = place.step.settings, 1
    if n_layers and any(str(each).startswith("$last") for each in settings.values()):
        model, text = st.session_state.get("model", ""), place.step.prompt or prompt
        with suppress(StrataError):  # which the page says of the prompt itself
            n_tokens = len(ask.run(Job(view="run.tokens", model=model, prompt=text)))
    return resolved(settings, n_layers or 1, n_tokens)


def begin(stem: str, number: int = 0) -> None:
    """Go to a step of a lesson from elsewhere, with its page set up as the ways on set it up."""
    go(stem, number)
    if (place := current()) is not None:
        come_to(place)


def come_to(place: Place) -> None:
    """Set the page up for a step that the panel's own ways have not led to, before it is drawn, or
    as soon as its model is ready."""
    from strata.ui.anatomy.sidebar import offered

    model = st.session_state.get("model") or next(iter(offered()), None)
    if model and engine().status(model).state == "ready":
        _apply(place, engine().describe(model)["n_layers"], st.session_state.get("text", ""))
    else:
        st.session_state[_UNREADY] = place.lesson.stem, place.number


def _hints(place: Place, run: Run | None) -> None:
    """The hints that were taken, and a button for the next."""
    step, lesson = place.step, place.lesson
    if not step.hints:
        return
    note = progress().notes(learner(), lesson.stem).get(place.number)
    taken = note.hints if note else 0
    for hint, title in zip(step.hints[:taken], _HINTS, strict=False):
        said = run.in_markdown(hint) if run else explained(hint)
        st.markdown(f":material/lightbulb: **{title}.** {said}", unsafe_allow_html=True)
    if taken < len(step.hints):
        keep = partial(progress().note, learner(), lesson.stem, place.number, hints=taken + 1)
        st.button(
            f"Hint {taken + 1} of {len(step.hints)}: {_HINTS[taken].lower()}",
            on_click=keep,
            type="tertiary",
            icon=":material/lightbulb:",
            key="hint",
        )


def _observation(place: Place) -> None:
    step, lesson = place.step, place.lesson
    if not step.observe:
        return
    key = f"observation_{lesson.stem}_{place.number}"
    if key not in st.session_state:
        note = progress().notes(learner(), lesson.stem).get(place.number)
        st.session_state[key] = note.observation if note else ""

    def keep() -> None:
        try:
            written = st.session_state[key]
            progress().note(learner(), lesson.stem, place.number, observation=written)
        except StrataError as error:
            st.toast(str(error))

    # Apart from its field, whose label is Markdown, and is read aloud with the signs of it.
    said = plain(step.observe)
    st.text(said, help="Kept for you and your teacher." if class_id() else "Kept for you alone.")
    st.text_area(
        said,
        key=key,
        on_change=keep,
        max_chars=4_000,
        height=90,
        label_visibility="collapsed",
    )


def _ways(place: Place, run: Run | None) -> None:
    """Back, on and out. The page is set up for the step that they lead to."""

    def to(other: int) -> None:
        go(stem, other)
        if run is not None:
            _apply(Place(place.lesson, other), run.about["n_layers"], run.prompt)

    def finish() -> None:
        st.session_state["finished"] = stem  # which the list sums up
        to_list()

    stem, number = place.lesson.stem, place.number
    with st.container(horizontal=True, gap="small"):
        st.button(
            "Back",
            on_click=partial(to, number - 1),
            disabled=number == 0,
            key="step_back",
            width="stretch",
        )
        if place.last:
            st.button("Finish", on_click=finish, type="primary", key="step_on", width="stretch")
        else:
            st.button("Next", on_click=partial(to, number + 1), key="step_on", width="stretch")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Explore freely",
            on_click=partial(go, ""),
            type="tertiary",
            key="explore",
            icon=":material/close:",
            help="Leaves the lesson; your answers are kept, the page of lessons takes you back.",
        )
        component("strata_panel", __file__, ("panel.js",), "panel.css")(key="panel")


def elsewhere(place: Place, model: str, prompt: str) -> bool:
    """A line on a page that the learner's step is not about; whether this page waits as well,
    since it may tell what the step asks."""
    title = concepts()[place.page].CONCEPT.title
    with st.container(horizontal=True, vertical_alignment="center", key="lesson_elsewhere"):
        st.caption(f"{quoted(place.lesson.title)}: step {place.number + 1} is on the page {title}.")
        here = partial(go, place.lesson.stem, place.number)
        st.button("Back to the lesson", on_click=here, key="back_to_lesson")
        st.button("Explore freely", on_click=partial(go, ""), type="tertiary", key="explore")
    question = place.step.question
    if question is None or not place.step.hide:
        return False
    try:
        run = run_of(model, prompt)
        if lacking(question, run.ask):
            return False
        return not is_over(*told_before(place, where(place, question, run)))
    except StrataError:  # the page says why, and shows nothing of the run
        return False
