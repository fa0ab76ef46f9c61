"""The first page: guess the next word of a line, see what the model expected, then three doors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from strata import charts
from strata.charts.guess import Guess, GuessedToken, with_guess
from strata.charts.subject import Subject
from strata.display.tokens import display_candidate, display_percent, distinct
from strata.errors import StrataError
from strata.lessons import lessons
from strata.lessons.report import quoted
from strata.ui.anatomy import place, sidebar, style
from strata.ui.anatomy.model_map import draw_whole
from strata.ui.anatomy.page import draw, reading
from strata.ui.lessons import lesson
from strata.ui.lessons.run import run_of
from strata.ui.server.first_page import ASK, LABEL, LINE, MOST, REVEAL, TITLE, WHAT
from strata.ui.server.learner import is_local, seat

WRITTEN = "passed"  # after LINE
_BARS = 8


def show() -> None:
    """Draw the page. No model is asked before the guess has been given."""
    st.title(TITLE, anchor=False)
    with st.container(key="question"):
        st.markdown(WHAT)
    with st.container(border=True, key="first_guess"):
        _guess()
    if (at := place.current()) is not None:
        here = partial(place.go, at.lesson.stem, at.number)
        st.button("Back to the lesson", on_click=here, key="back_to_lesson")
    with st.container(horizontal=True, key="doors"):
        _doors()


def _guess() -> None:
    st.markdown(f"**{ASK}**")
    st.text(f"{LINE} …")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        # Streamlit forgets the field's text on other pages, from which the way back leads here.
        state = st.session_state
        state.setdefault("first_word", state.get("guessed_word", ""))
        word = st.text_input(LABEL, key="first_word", max_chars=MOST, width=260).strip()
        if st.button(REVEAL, type="primary", key="reveal"):
            state["revealed"] = True
        state["guessed_word"] = word
    if not (word or state.get("revealed")):
        return
    try:
        _told(word)
    except StrataError as error:
        style.say("refusal", str(error), "first")
        return
    _own_sentence()


def _told(word: str) -> None:
    """The model's next words for the line, and where the learner's is among them."""
    sidebar.restore()
    run = run_of(st.session_state.get("model") or sidebar.offered()[0], LINE)
    last = len(run.tokens) - 1
    top = run.ask("predictions.next_token", position=last, k=min(_BARS, run.about["d_vocab"]))
    frame = top.assign(
        label=distinct(map(display_candidate, top["predicted"])),
        order=range(len(top)),
        value=top["prob"],
        chosen=top["predicted"].str.strip() == WRITTEN,
    )
    guessed = run.rated(word, last) if word else None
    sentence = said(top, guessed)
    n_tokens, n_layers = len(run.tokens), run.about["n_layers"]
    chart = charts.bars(frame, f"What {run.about['title']} expects next", sentence)
    if guessed is not None:
        chart = with_guess(chart, Guess("first", "x", token=guessed))
    of = Subject((LINE,), str(run.about["title"]))
    draw(chart, "first", read=False, of=of)
    reading(sentence, "_first")
    st.markdown(passed(n_tokens, n_layers))
    draw_whole(n_tokens, n_layers, lambda: sidebar.take_prompt(LINE))


def passed(n_tokens: int, n_layers: int) -> str:
    """What the model did with the line, in a sentence above its picture."""
    blocks = "one block" if n_layers == 1 else f"{n_layers} blocks"
    return (
        f"For this the line was cut into {n_tokens} tokens, each went through {blocks}, and the "
        "state of the last became the bars. Click a part to look inside:"
    )


def said(top: pd.DataFrame, guessed: GuessedToken | None) -> str:
    """What the model put first, where the guess is among it, and how the text really goes on."""
    best = top.iloc[0]
    words = [f"The model's first is “{display_candidate(best['predicted'])}”"]
    words[0] += f", with {display_percent(best['prob'])}"
    if guessed is None:
        words[0] += "."
    elif guessed.rank == 0:
        words[0] += (
            f", with which your “{guessed.begins}” begins."
            if guessed.begins
            else (", as you guessed.")
        )
    else:
        before = "one token" if guessed.rank == 1 else f"{guessed.rank:,} tokens"
        chance = display_percent(guessed.prob, 2)
        yours = f"of your “{guessed.begins}” the first token" if guessed.begins else "yours"
        words[0] += f"; {yours}, “{guessed.label}”, comes after {before}, with {chance}."
    words.append(f"The writer went on with “{WRITTEN}”")
    among = top["predicted"].str.strip().eq(WRITTEN).any()
    words[1] += ", the bar in orange." if among else ", which is not among these."
    return " ".join(words)


def _own_sentence() -> None:
    """On with the learner's own text, to the page that shows all of this."""

    def look() -> None:
        if text := st.session_state["first_own"].strip():
            sidebar.restore()
            sidebar.take_prompt(text)
            place.to("predictions")

    st.text_area(
        "Now a sentence of your own, without its last word",
        key="first_own",
        height=80,
        placeholder="The best thing about winter is the",
    )
    st.button("Look inside", on_click=look, type="primary", key="first_look")


def _doors() -> None:
    here, first = seat(), next(iter(lessons().values()), None)
    if first is not None:
        what = f"{first.title} {first.minutes} minutes: predict, then look."
        _door("Lesson 1", what, "Begin", partial(lesson.begin, first.stem))
    what = "A page a concept: what it expects, carries, compares, and what an edit does."
    _door("Look around", what, "Open", partial(place.to, "predictions"))
    if here is not None and here.is_teacher:
        what = "Codes, votes, who is where, what went wrong."
        _door("Teach a class", what, "Open", partial(place.to, "class"))
    elif here is None and is_local():
        _door("Teach a class", "One server for 30 to 300, with votes and a gradebook.", "How", None)


def _door(name: str, what: str, label: str, go: Callable[[], None] | None) -> None:
    with st.container(border=True, key=f"door_{name.replace(' ', '_').lower()}"):
        st.markdown(f"**{name}**\n\n{quoted(what)}")  # one: each takes a browser's time
        if go is not None:
            st.button(label, on_click=go, key=f"{label} {name}")
            return
        with st.popover(label):
            st.markdown("Start Strata with a secret of yours; the teacher then enters at `/teach`.")
            st.code(
                'STRATA_MODE=class STRATA_TEACHER_SECRET="…" streamlit run app.py',
                language=None,
                wrap_lines=True,  # what would have to be scrolled cannot be, by keys
            )
