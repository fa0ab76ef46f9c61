"""The teacher's page: the classes of this server, who is where in one, and its gradebook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import pandas as pd
import segno
import streamlit as st

from strata.catalogue import menu_title
from strata.charts import funnel
from strata.classroom import watch
from strata.classroom.backup import kept_of
from strata.classroom.roster import Class
from strata.errors import StrataError
from strata.export import as_csv, as_json, as_parquet
from strata.lessons import Lesson, lessons
from strata.ui import style
from strata.ui.learner import database, roster, seat
from strata.ui.page import draw
from strata.ui.place import whole_number
from strata.ui.resources import models

_EVERY = 3  # seconds between two looks at the class
_FREE = "Learners choose"
_KEPT = {"a week": 7, "a month": 30, "half a year": 183}


def show() -> None:
    """Draw the page, for the teacher only."""
    here = seat()
    if here is None or not here.is_teacher:
        raise StrataError("This page is the teacher's.")
    st.title("Class", anchor=False)
    known = roster().classes()
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    key = f"new_class_{len(known)}"  # another one once the class is made: closed
    with right.popover("New class", icon=":material/add:", width="stretch", key=key):
        _new()
    if not known:
        left.markdown("There is no class yet: make one, and give its code to your learners.")
        return
    by_id = {each.id: each for each in known}
    # The newest is chosen; with a class more the box is another one, since a browser that has not
    # heard of it still sends what was chosen before.
    key, name = f"class_{len(known)}", lambda class_id: by_id[class_id].name
    chosen = left.selectbox("Class", list(by_id), format_func=name, key=key)
    group = by_id[chosen]
    _entrance(group)
    live, book, rules = st.tabs(["Who is where", "Gradebook", "Settings"])
    with live:
        st.fragment(_live, run_every=_EVERY)(group)
    with book:
        _gradebook(group)
    with rules:
        _settings(group)


def _new() -> None:
    with st.form("new_class", border=False):
        name = st.text_input("Name of the class", max_chars=40)
        stems = _choose_lessons(())
        model = _choose_model("")
        kept = st.radio("Keep its data for", list(_KEPT), index=1, horizontal=True)
        if not st.form_submit_button("Make it", type="primary"):
            return
    try:
        over = datetime.now(UTC) + timedelta(days=_KEPT[kept])
        roster().create(name, lessons=stems, model=model, expires=over)
    except StrataError as error:
        style.say("refusal", str(error), "new_class")
        return
    st.rerun()


def _choose_lessons(chosen: tuple[str, ...]) -> list[str]:
    titles = {stem: lesson.title for stem, lesson in lessons().items()}
    return st.multiselect(
        "Lessons, in order (none: all of them)",
        list(titles),
        [stem for stem in chosen if stem in titles],
        format_func=titles.__getitem__,
    )


def _choose_model(chosen: str) -> str:
    names = ["", *models()]
    return st.selectbox(
        "Model",
        names,
        names.index(chosen) if chosen in names else 0,
        format_func=lambda name: menu_title(models()[name]) if name else _FREE,
    )


def _entrance(group: Class) -> None:
    """How learners come in: the code, large enough for a projector, and a link that holds it."""
    where = urlsplit(st.context.url or "")
    link = f"{where.scheme}://{where.netloc}/join?code={group.code}"
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="entrance"):
        st.html(f'<span class="class-code">{group.code}</span>', width="content")
        with st.container():
            st.caption("Class code. Or by link:")
            st.code(link, language=None)
        picture = segno.make(link, error="m").svg_data_uri(scale=4, border=2, light="#fff")
        st.html(f'<img class="class-qr" alt="The link as a QR code" src="{picture}">', width=150)
    if reason := group.closed():
        style.say("warning", f"{reason} Nobody else can come in or go on.", "closed")


def _live(group: Class) -> None:
    """Who is where, how far a lesson has got, what went wrong: looked at every few seconds."""
    try:
        done = watch.events(database(), group.id)
    except StrataError as error:
        style.say("refusal", f"{error} What is shown may be old.", "watch")
        return
    people = watch.people(done)
    active = int((people["minutes"] < 5).sum())
    st.markdown(f"**{len(people)} learners**, {active} of them active in the last five minutes")
    if people.empty:
        return
    titles = {stem: lesson.title for stem, lesson in lessons().items()}
    begun = [stem for stem in titles if stem in set(done["lesson"])]
    if begun:
        stem = st.selectbox("Lesson", begun, format_func=titles.__getitem__, key="watched_lesson")
        _lesson(done, lessons()[stem])
    st.markdown("**Everyone**")
    people["lesson"] = people["lesson"].map(lambda stem: titles.get(stem, "not begun yet"))
    st.dataframe(people.round({"minutes": 1}), hide_index=True, height=300)


def _lesson(done: pd.DataFrame, lesson: Lesson) -> None:
    reached = watch.funnel(done, lesson.stem, len(lesson.steps))
    names = [f"{n}. {step.title}" for n, step in enumerate(lesson.steps, 1)]
    left, right = st.columns([3, 2], gap="large")
    with left:
        last = int(reached["reached"].iloc[-1])
        reading = f"{last} of {int(reached['reached'].iloc[0])} have reached the last step."
        title = f"How far the class is in “{lesson.title}”"
        draw(funnel(reached.assign(title=names), title, reading), "funnel", read=False)
    with right:
        wrong = watch.answers(done[done["lesson"] == lesson.stem])
        st.markdown("**First answers**, most missed questions first")
        shown = wrong.assign(guess=[_answer(lesson, row) for row in wrong.itertuples()])
        st.dataframe(shown[["step", "guess", "grade", "learners"]], hide_index=True, height=240)
        hints = reached[reached["hints"] > 0]
        if not hints.empty:
            told = ", ".join(f"step {row.step}: {row.hints}" for row in hints.itertuples())
            st.caption(f"Learners who took a hint: {told}")
    said = watch.observations(done[done["lesson"] == lesson.stem])
    if not said.empty:
        with st.expander(f"What they saw ({len(said)})"):
            st.dataframe(said[["step", "name", "text"]], hide_index=True)


def _answer(lesson: Lesson, row: object) -> str:
    """An answer in words: of a choice, the option, unless the lesson has changed since."""
    guess, step = str(row.guess), int(row.step)  # type: ignore[attr-defined]
    question = lesson.steps[step - 1].question if step <= len(lesson.steps) else None
    option = whole_number(guess)
    if question is None or question.kind != "choice" or option is None:
        return guess
    return question.options[option].text if option < len(question.options) else guess


def _gradebook(group: Class) -> None:
    book = watch.gradebook(watch.events(database(), group.id))
    if book.empty:
        st.caption("Nobody has answered a question yet.")
        return
    st.dataframe(book.drop(columns="member"), hide_index=True)
    with st.container(horizontal=True):
        save = partial(st.download_button, on_click="ignore")
        save("CSV", partial(as_csv, book), "gradebook.csv", "text/csv")
        save("Parquet", partial(as_parquet, book), "gradebook.parquet")
    st.caption(
        "One row for each learner and question: the first answer counts, the revision stands "
        "beside it. In the CSV, text that a spreadsheet would take for a formula begins with an "
        "apostrophe."
    )


def _settings(group: Class) -> None:
    with st.form("class_settings"):
        stems = _choose_lessons(group.lessons)
        model = _choose_model(group.model)
        opened = st.toggle("Open: learners may come in and work", not group.closed())
        if st.form_submit_button("Save"):
            closes = None if opened else datetime.now(UTC)
            chosen = {"lessons": stems, "model": model, "closes": closes}
            chosen |= {"opens": None} if opened else {}
            roster().change(group.id, **chosen)
            st.rerun()
    if group.expires:
        st.caption(f"All data of this class are deleted on {group.expires:%d %B %Y}.")
    members = roster().members(group.id)
    names = {member.id: member.name for member in members}
    one = st.selectbox("A learner", ["", *names], format_func=lambda i: names.get(i, "everyone"))
    ids = [one] if one else list(names)
    with st.container(horizontal=True):
        st.download_button(
            "Export all that is kept",
            lambda: as_json({"class": group.name, **kept_of(database(), ids)}),
            "class.json",
            "application/json",
            on_click="ignore",
        )
        if one:
            renew = st.button("New resume code")
            if renew:
                st.code(roster().renew(one), language=None)
        with st.popover("Delete"):
            st.markdown(
                f"Delete **{'this learner' if one else 'the class'}** with all answers and prompts?"
            )
            forget = partial(roster().forget, one) if one else partial(roster().remove, group.id)
            st.button("Delete for good", on_click=forget, type="primary", key="delete_for_good")
