"""The prediction: what a learner commits to, the second try that a wrong one leaves, what the run
says then, and the guess on the figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from strata.charts.guess import Guess as Drawn
from strata.charts.guess import GuessedToken
from strata.errors import StrataError
from strata.lessons import Question, plain
from strata.lessons.answers import (
    answer_in_words,
    curve_layers,
    guess_in_words,
    has_second_try,
    measured,
    resolved,
    score,
    told,
)
from strata.lessons.progress import At, Guess, is_over
from strata.ui.anatomy import style
from strata.ui.anatomy.component import component
from strata.ui.anatomy.place import Place
from strata.ui.lessons.questions import answer_field
from strata.ui.lessons.run import Run
from strata.ui.server.learner import learner, progress

_ICONS = {"right": "check_circle", "near": "target", "wrong": "explore", "open": "help"}
# Of which view a guessed token's rank and probability are read, by the view that is asked about.
_RATED = {"predictions.next_token": "predictions.chances", "logit_lens.lens": "logit_lens.followed"}


def predict(
    place: Place, question: Question, run: Run, ready: bool, hints: Callable[[], None]
) -> bool:
    """The prediction and what the run says of it; whether the answer is still to be told. Until
    then `hints` draws hints above the field."""
    at = where(place, question, run)
    mine, looked = told_before(place, at)
    st.markdown(f"**{run.in_markdown(question.ask)}**", unsafe_allow_html=True)
    for guess in mine:
        # Of two what only the second is told, but for what the first is told of itself.
        again = guess is not mine[-1] and question.kind != "choice"
        _told(question, guess, run, not again or question.wrong not in mine[-1].verdict.words)
    if is_over(mine, looked):
        if mine:
            _draw_on_figure(question, mine[-1], run)
        else:
            _told_without(question, run)
        component("strata_to_figure", __file__, ("to_figure.js",), "to_figure.css")(
            key="to_figure",
            data={"figure": question.figure, "drawn": "drawn_guess" in st.session_state},
        )
        return False
    hints()
    _field(place, question, run, at, mine, ready)
    shows = "Show me the answer" if mine or not place.step.hide else "Look without a prediction"
    st.button(shows, on_click=partial(_look, place, at), type="tertiary", key="look")
    return True


def where(place: Place, question: Question, run: Run) -> At:
    """The step on this very run."""
    return place.number, run.job(question).key, place.lesson.version


def told_before(place: Place, at: At) -> tuple[list[Guess], bool]:
    """What the learner has guessed of a step's run, and whether they had the answer shown."""
    stem = place.lesson.stem
    mine = [guess for guess in progress().guesses(learner(), stem) if guess.at == at]
    return mine, at in progress().looked(learner(), stem)


def _look(place: Place, at: At) -> None:
    try:
        progress().look(learner(), place.lesson.stem, at)
    except StrataError as error:
        st.toast(str(error))


def _field(
    place: Place, question: Question, run: Run, at: At, mine: Sequence[Guess], ready: bool
) -> None:
    lesson, n_layers, attempt = place.lesson, run.about["n_layers"], len(mine)
    name = f"guess_{lesson.stem}_{place.number}_{attempt}"
    typed = question.kind == "token"
    # A form is sent by Enter too, and with it comes what is being typed.
    with st.form(f"typed_{name}", border=False) if typed else st.container():
        guess = answer_field(question, name, n_layers, run.shown)
        press = st.form_submit_button if typed else st.button
        pressed = press(
            "Commit my second try" if mine else "Commit my prediction",
            type="primary" if ready else "secondary",
            disabled=not ready or (guess is None and not typed),
            key=f"commit_{attempt}",
            width="stretch",
        )
    if not ready:
        st.caption("Set up the page first: the answer is measured on its run.")
    if pressed and guess is None:
        style.say("note", "Type a word first.", "word")
    if not pressed or guess is None:
        return
    if any(guess == before.guess for before in mine):
        style.say("note", "That was your first guess: choose another one.", "again")
        return
    try:
        answer = measured(question, run.ask, n_layers, len(run.tokens))
    except StrataError as error:
        style.say("refusal", str(error), "measure")
        return
    shown = run.shown
    verdict = score(question, guess, answer, curve_layers(question, n_layers), shown)
    number, job, version = at
    said = guess_in_words(question, guess, shown), answer_in_words(question, answer, shown)
    kept = Guess(number, attempt, version, run.model, job, guess, answer, verdict, *said)
    progress().commit(learner(), lesson.stem, kept)
    # After it: of a guess that could not be kept the answer is not told.
    if verdict.grade == "wrong" and not has_second_try(question, n_layers, len(shown)):
        _look(place, at)
    st.rerun()


def _told(question: Question, guess: Guess, run: Run, in_full: bool) -> None:
    """A committed guess and what the run said of it."""
    first = "You said" if guess.attempt == 0 else "Your second try"
    words = guess_in_words(question, guess.guess, run.shown)
    said = [f"{first}: {words}", *([plain(guess.verdict.words)] if in_full else [])]
    _say(f"{guess.verdict.grade}_{guess.attempt}", guess.verdict.grade, said)


def _told_without(question: Question, run: Run) -> None:
    """The answer for who looked without a prediction."""
    try:
        answer = measured(question, run.ask, run.about["n_layers"], len(run.tokens))
    except StrataError as error:
        style.say("refusal", str(error), "measure")
        return
    first = "You looked first. Predict at the next step, or with a prompt of your own."
    words = told(question, answer, run.shown)
    _say("open_0", "open", [first, plain(words)])


def _say(key: str, grade: str, said: Sequence[str]) -> None:
    with st.container(key=f"verdict_{key}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f":material/{_ICONS[grade]}:", width="content")
            st.text(said[0])
        for words in said[1:]:
            st.text(words)


def _draw_on_figure(question: Question, guess: Guess, run: Run) -> None:
    """Leave the guess for the page to draw on its figure, if the figure is of what was asked. A
    choice among sentences and an order of things have no place on an axis."""
    in_words = question.kind in ("choice", "ordering") or not question.figure
    if in_words or not _is_shown(question, run):
        return
    values = guess.guess if isinstance(guess.guess, list) else [guess.guess]
    points: tuple[tuple[int, float], ...] = ()
    token = position = None
    if question.kind == "position":
        position, values = int(guess.guess), []
    elif question.kind == "curve":
        layers = curve_layers(question, run.about["n_layers"])
        points, values = tuple(zip(layers, values, strict=False)), []
    elif question.kind == "token":
        token, values = _token(question, str(guess.guess), run), []
        if token is None:
            return
    if all(isinstance(value, int | float) for value in values):
        at, numbers = _asked_at(question, run).get("position"), tuple(map(float, values))
        drawn = Drawn(question.figure, question.axis, numbers, points, token, position, at)
        st.session_state["drawn_guess"] = drawn


def _asked_at(question: Question, run: Run) -> dict[str, Any]:
    """The position and the layer that a question is about, where it names them."""
    both = {**question.given, **question.params}
    named: dict[str, Any] = {n: both[n] for n in ("position", "layer") if n in both}
    return resolved(named, run.about["n_layers"], len(run.tokens))


def _is_shown(question: Question, run: Run) -> bool:
    """Whether the sliders of the page, which is drawn next, stand where the question asks."""
    state, asked, last = st.session_state, _asked_at(question, run), len(run.tokens) - 1
    prompt = state.get("at_of", (run.prompt,))[0]
    position = state.get("at", last) if prompt == run.prompt else last
    layer = state.get("layer", run.about["n_layers"])
    shows_all = question.kind == "position" or question.figure == "norms"  # of the tokens
    # The figures whose layer is a slider's.
    of_one_layer = question.figure.startswith(("cell", "matrix"))
    return (shows_all or position == asked.get("position", position)) and (
        not of_one_layer or layer == asked.get("layer", layer)
    )


def _token(question: Question, word: str, run: Run) -> GuessedToken | None:
    view, asked = _RATED.get(question.view), _asked_at(question, run)
    if view is None or "position" not in asked:
        return None
    return run.rated(word, asked["position"], view, asked.get("layer"))
