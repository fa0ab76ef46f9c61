"""The teacher is with one class on all pages, and only that one is brought anywhere."""

from __future__ import annotations

import re
from functools import partial

import pytest
from streamlit.testing.v1 import AppTest

from strata.classroom.roster import Class, Roster
from strata.classroom.wall import hide_names
from strata.storage.database import Database
from strata.ui.classroom import bring, this_class


@pytest.fixture
def groups(teacher: Roster) -> tuple[Class, Class]:
    """Two classes, the newer one last."""
    return teacher.create("3b"), teacher.create("4a")


def pages() -> None:  # run by itself, without imports above
    import streamlit as st

    from strata.ui.classroom import bring, class_page, this_class

    this_class.begin()
    if "late" in st.session_state:  # the browser tells of a box that is no more
        st.session_state["class_2"] = st.session_state.pop("late")
        this_class._chosen_in("class_2")
    if st.session_state.get("elsewhere"):
        st.query_params.clear()  # as Streamlit does between two pages
        this_class.keep_in_address()
        bring.offer("scaling", "Scaling")
    else:
        class_page.show()


def opened(of: str = "") -> AppTest:
    app = AppTest.from_function(pages, default_timeout=60)
    if of:
        app.query_params["of"] = of
    return run(app)


def address(app: AppTest) -> str:
    """Whose class the address names."""
    found = app.query_params["of"]
    return found if isinstance(found, str) else found[-1]


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def test_the_class_page_comes_back_to_the_class_it_was_at(groups: tuple[Class, Class]) -> None:
    older, newer = groups
    app = opened()
    box = app.selectbox("class_2")
    assert (box.value, address(app)) == (newer.id, newer.id)
    box.set_value(older.id)
    run(app)
    assert any(older.code in each.proto.body for each in app.get("html"))
    assert address(app) == older.id
    app.session_state["elsewhere"] = True
    assert address(run(app)) == older.id
    assert not app.selectbox
    app.session_state["elsewhere"] = False
    assert run(app).selectbox("class_2").value == older.id
    # A reload is a new session; so is a link to a class that was deleted.
    assert opened(older.id).selectbox("class_2").value == older.id
    assert opened("gone").selectbox("class_2").value == newer.id


def test_a_class_more_is_chosen_and_stays_so(groups: tuple[Class, Class], teacher: Roster) -> None:
    app = opened(groups[0].id)
    third = teacher.create("3b")  # as an older one is called
    app.session_state["this_class"] = third.id
    box = run(app).selectbox("class_3")
    assert box.value == third.id
    assert box.options == [f"3b ({third.code})", "4a", f"3b ({groups[0].code})"]
    app.session_state["late"] = groups[0].id
    assert run(app).selectbox("class_3").value == third.id
    app.selectbox("class_3").set_value(groups[0].id)
    assert run(app).selectbox("class_3").value == groups[0].id
    assert address(app) == groups[0].id


def test_a_class_that_is_renamed_is_another_choice(
    groups: tuple[Class, Class], teacher: Roster
) -> None:
    """A browser says by its words which is chosen, and shows the old ones for as long as the box is
    the same."""
    older, newer = groups
    app = opened(older.id)
    assert app.selectbox("class_2").options == ["4a", "3b"]
    teacher.change(older.id, name="3c")
    box = run(app).selectbox("class_2_1")
    assert box.options == ["4a", "3c"]
    assert box.value == older.id
    box.set_value(newer.id)
    assert run(app).selectbox("class_2_1").value == newer.id
    assert address(app) == newer.id


def said(app: AppTest) -> list[str]:
    """The captions, as they are read."""
    return [each.value.replace("\\", "") for each in app.caption]


def test_only_this_class_is_brought_and_it_can_be_undone_there(
    groups: tuple[Class, Class],
    teacher: Roster,
    database: Database,
    boxes_are_open: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    older, newer, roster = *groups, teacher
    for group, name in ((older, "Ann"), (older, "Bob"), (newer, "Eve")):
        roster.join(group.code, name)

    monkeypatch.setattr(bring, "_refuse_if_too_long", lambda *_: None)
    asked: list[dict[str, str]] = []
    call = partial(bring.call)
    monkeypatch.setattr(bring, "call", lambda *told: (asked.append(told[2]), call(*told)))
    app = opened(older.id)
    app.session_state["elsewhere"] = True
    run(app)
    assert [each.value for each in app.text] == ["3b: 2 learners"]
    assert "Ann, Bob" in said(app)
    hide_names(database, older.id, True)  # where this screen is the wall
    assert "Learner 1, Learner 2" in said(run(app))
    assert not [words for words in said(app) if "Ann" in words]
    hide_names(database, older.id, False)
    also, _ = roster.join(older.code, "Ann")
    two = next(words for words in said(run(app)) if "Ann" in words)
    assert re.fullmatch("Ann, joined (.+), Bob, Ann, joined (.+)", two)
    roster.forget(also.id)
    run(app)
    app.button(f"bring_{older.id}").click()
    run(app)
    assert (roster.called(older.id), roster.called(newer.id)) == ("Scaling", "")
    assert asked[0]["query"] == ""  # the teacher's class is nobody else's
    app.button(f"undo_bring_{older.id}").click()
    run(app)
    assert roster.called(older.id) == ""
    assert not [each for each in app.button if each.label == "Undo"]
    # A session that came from no class page asks which class, and brings nobody before.
    app = AppTest.from_function(pages, default_timeout=60)
    app.session_state["elsewhere"] = True
    run(app)
    assert not app.button
    app.selectbox("class_2").set_value(newer.id)
    assert [each.label for each in run(app).button] == ["Bring 1 learner here"]
    assert this_class._KEY in app.session_state
