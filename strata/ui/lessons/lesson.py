"""The lesson beside the figure: a step's words, the prediction, the answer from this very run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from strata.charts.guess import Guess as Drawn
from strata.concepts.views import concepts, find_view, supplied
from strata.engine import Job
from strata.errors import StrataError
from strata.lessons import Option, Question, filled, plain
from strata.lessons.answers import curve_layers, in_words, measured, resolved, score
from strata.lessons.progress import Guess
from strata.lessons.report import quoted
from strata.ui.anatomy import ask, record, style
from strata.ui.anatomy.component import component
from strata.ui.anatomy.page import tokens_of
from strata.ui.anatomy.place import Place, go, to_list
from strata.ui.lessons.glossary import explained
from strata.ui.lessons.questions import answer_field
from strata.ui.server.learner import class_id, learner, progress
from strata.ui.server.resources import engine

_HINTS = ("A nudge", "Something concrete", "Show me")
_ICONS = {"right": "check_circle", "near": "target", "wrong": "explore", "open": "help"}


@dataclass(frozen=True)
class Run:
    """The learner's run: which model and prompt, and what a lesson needs to know of it."""

    model: str
    prompt: str
    about: dict[str, Any]
    tokens: pd.DataFrame

    @property
    def facts(self) -> dict[str, Any]:
        """What {names} in a lesson's text stand for on this run."""
        n_layers, shown = self.about["n_layers"], self.tokens["shown"]
        return {
            "model": self.about["title"],
            "L": n_layers,
            "layers": n_layers + 1,
            "D": self.about["d_model"],
            "V": f"{self.about['d_vocab']:,}",
            "T": len(self.tokens),
            "last": len(self.tokens) - 1,
            "last_token": f"“{shown.iloc[-1]}”",
            "first_token": f"“{shown.iloc[0]}”",
        }

    def in_markdown(self, text: str) -> str:
        """Lesson text as Markdown, with what this run says as text in place of {names}."""
        said = {name: quoted(str(value)) for name, value in self.facts.items()}
        return filled(explained(text), said)

    def filled(self, question: Question) -> Question:
        """The question with what this run says in place of {names}, but for what it asks."""

        def fill(thing: Question | Option, *names: str) -> dict[str, Any]:
            return {name: filled(getattr(thing, name), self.facts) for name in names}

        options = tuple(
            option.model_copy(update=fill(option, "text", "why")) for option in question.options
        )
        said = fill(question, "right", "close", "wrong")
        return question.model_copy(update={**said, "options": options})

    def job(self, question: Question) -> Job:
        """The run that a question is about."""
        params = resolved(question.params, self.about["n_layers"], len(self.tokens))
        return self._job(question.view or "run.tokens", params)

    def ask(self, view: str, **params: Any) -> pd.DataFrame:
        """A view's table for this run."""
        return ask.run(self._job(view, params))

    def _job(self, view: str, params: dict[str, Any]) -> Job:
        if "sample" in supplied(find_view(view)):  # of Strata's own passages, not of the prompt
            return Job(view=view, model=self.model, sample={}, params=params)
        return Job(view=view, model=self.model, prompt=self.prompt, params=params)


def _run(model: str, prompt: str) -> Run:
    """What a learner has chosen. StrataError where it is refused."""
    about = ask.until_ready(model)
    return Run(model, prompt, about, tokens_of(model, prompt, about))


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
            run = _run(model, prompt)
        except StrataError as error:
            trouble = str(error)
        with st.container(key="lesson_step"):
            words, asks = st.container(key="lesson_words"), st.container(key="lesson_asks")
        with words:
            st.markdown(run.in_markdown(step.text) if run else explained(step.text), True)
            ready = _set_up(place, prompt, run.about["n_layers"] if run else 1)
        waits = False
        with asks:
            if trouble:
                style.say("refusal", trouble, "lesson")
            try:  # all that needs the stored progress; without it the lesson can still be read
                if run is not None and step.question is not None:
                    waits = _question(place, run.filled(step.question), run, ready)
                _hints(place, run)
                _observation(place)
            except StrataError as error:
                style.say("refusal", str(error), "progress")
        _ways(place, run)
    if not waits:
        record.start(place, f"{model} {prompt}")
        if run is not None:
            record.keep_run(place, {"prompt": prompt, **run.facts})
    record.visit(place)
    st.session_state["readings_wait"] = waits or not step.readings
    return waits and step.hide


def _set_up(place: Place, prompt: str, n_layers: int) -> bool:
    """One click sets the step's prompt and controls; whether that was done, if only once: who then
    changes something is answered for what the page shows."""
    step = place.step
    settings = resolved(step.settings, n_layers, 1)
    done: set[tuple[str, int]] = st.session_state.setdefault("set_up_steps", set())
    wanted = {k: v for k, v in settings.items() if st.session_state.get(k) != v}
    if not (wanted or (step.prompt and step.prompt != prompt)):
        done.add((place.lesson.stem, place.number))
        if step.prompt or step.settings:
            st.caption(":material/check: The page is set up for this step.")
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


def _apply(place: Place, n_layers: int, prompt: str) -> None:
    """Set a step's prompt and controls, `prompt` being what the page has; before it is drawn."""
    step = place.step
    settings = resolved(step.settings, n_layers, 1)
    st.session_state.update(settings)
    if "at" in settings:  # chosen for this prompt, see `position_slider`
        st.session_state["at_of"] = step.prompt or prompt, place.page, settings["at"]
    if step.prompt:
        from strata.ui.anatomy.sidebar import take_prompt

        take_prompt(step.prompt)


def come_to(place: Place) -> None:
    """Set the page up for the step to which the browser's history has led, before it is drawn."""
    model = st.session_state.get("model")
    if model and engine().status(model).state == "ready":
        _apply(place, engine().describe(model)["n_layers"], st.session_state.get("text", ""))


def _question(place: Place, question: Question, run: Run, ready: bool) -> bool:
    """The prediction and what the run says of it; whether there is none yet."""
    key = run.job(question).key
    mine, looked = _told_before(place, key)
    st.markdown(f"**{run.in_markdown(question.ask)}**", unsafe_allow_html=True)
    for guess in mine:
        _told(question, guess)
    if len(mine) < 2:
        label = "Commit my prediction" if not mine else "Keep this second try"
        _field(place, question, run, key, label, len(mine), ready)
    if mine:
        _draw_on_figure(question, mine[-1], run)
    elif not looked:
        seen = st.session_state["looked"]
        st.button(
            "Look without a prediction",
            on_click=partial(seen.add, (place.lesson.stem, place.number, key)),
            type="tertiary",
            key="look",
        )
    return not mine and not looked


def _told_before(place: Place, key: str) -> tuple[list[Guess], bool]:
    """What the learner has guessed of a step's run, and whether they looked without a guess."""
    lesson = place.lesson
    mine = [
        guess
        for guess in progress().guesses(learner(), lesson.stem)
        if (guess.step, guess.job, guess.version) == (place.number, key, lesson.version)
    ]
    seen: set[tuple[str, int, str]] = st.session_state.setdefault("looked", set())
    return mine, (lesson.stem, place.number, key) in seen


def _field(
    place: Place,
    question: Question,
    run: Run,
    key: str,
    label: str,
    attempt: int,
    ready: bool,
) -> None:
    lesson, n_layers = place.lesson, run.about["n_layers"]
    name = f"guess_{lesson.stem}_{place.number}_{attempt}"
    where = st.container() if attempt == 0 else st.expander("Try once more")
    with where:
        guess = answer_field(question, name, n_layers, list(run.tokens["shown"]))
        pressed = st.button(
            label,
            type="primary" if ready else "secondary",
            # What is being typed comes with the press itself.
            disabled=not ready or (guess is None and question.kind != "token"),
            key=f"commit_{attempt}",
            width="stretch",
        )
        if not ready:
            st.caption("Set up the page first: the answer is measured on its run.")
    if pressed and guess is None:
        style.say("note", "Type a word first.", "word")
    if not pressed or guess is None:
        return
    try:
        answer = measured(question, run.ask, n_layers, len(run.tokens))
    except StrataError as error:
        style.say("refusal", str(error), "measure")
        return
    layers = curve_layers(question, n_layers)
    verdict = score(question, guess, answer, layers)
    progress().commit(
        learner(),
        lesson.stem,
        Guess(place.number, attempt, lesson.version, run.model, key, guess, answer, verdict),
    )
    st.rerun()


def _told(question: Question, guess: Guess) -> None:
    """A committed guess and what the run said of it."""
    first = "You said" if guess.attempt == 0 else "Your second try"
    said = guess.guess
    words = question.options[said].text if question.kind == "choice" else in_words(question, said)
    with st.container(key=f"verdict_{guess.verdict.grade}_{guess.attempt}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/{_ICONS[guess.verdict.grade]}:", width="content")
            st.text(f"{first}: {words if question.kind != 'token' else said}")
        st.text(plain(guess.verdict.words))


def _draw_on_figure(question: Question, guess: Guess, run: Run) -> None:
    """Leave the guess for the page to draw on its figure."""
    if not question.figure:
        return
    values = guess.guess if isinstance(guess.guess, list) else [guess.guess]
    points: tuple[tuple[int, float], ...] = ()
    if question.kind == "curve":
        layers = curve_layers(question, run.about["n_layers"])
        points, values = tuple(zip(layers, values, strict=False)), []
    if all(isinstance(value, int | float) for value in values):
        drawn = Drawn(question.figure, question.axis, tuple(map(float, values)), points)
        st.session_state["drawn_guess"] = drawn


def _hints(place: Place, run: Run | None) -> None:
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

    st.text_area(
        step.observe,
        key=key,
        on_change=keep,
        max_chars=4_000,
        help="Kept for you and your teacher." if class_id() else "Kept for you alone.",
        height=90,
    )


def _ways(place: Place, run: Run | None) -> None:
    """Back, on and out. The page is set up for the step that they lead to."""

    def to(other: int) -> None:
        go(stem, other)
        if run is not None:
            _apply(Place(place.lesson, other), run.about["n_layers"], run.prompt)

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
            st.button("Finish", on_click=to_list, type="primary", key="step_on", width="stretch")
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
        guesses, looked = _told_before(place, _run(model, prompt).job(question).key)
    except StrataError:  # the page says why, and shows nothing of the run
        return False
    return not guesses and not looked
