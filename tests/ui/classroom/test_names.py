"""A class under another name, and once more for other learners."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from strata.classroom.codes import LONGEST_NAME
from strata.classroom.roster import Class, Roster


@pytest.fixture
def group(teacher: Roster) -> Class:
    return teacher.create("3b", lessons=["predictions"], model="")


def settings() -> None:  # run by itself, without imports above
    from strata.ui.classroom import names

    names.class_names(names.roster().classes()[-1])


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def take(app: AppTest, field: str, name: str) -> None:
    """Type a name into the field of this label, and press its button."""
    number = [each.label for each in app.text_input].index(field)
    app.text_input[number].input(name)
    app.button[number].click()
    run(app)


def test_a_class_is_renamed_and_held_once_more(teacher: Roster, group: Class) -> None:
    teacher.join(group.code, "Ann")
    app = run(AppTest.from_function(settings, default_timeout=60))
    take(app, "New name of the class", "4b")
    assert [each.name for each in teacher.classes()] == ["4b"]
    take(app, "Name of the new class", "4b, next year")
    old, new = sorted(teacher.classes(), key=lambda each: each.name)
    assert (new.name, new.lessons, new.model) == ("4b, next year", old.lessons, old.model)
    assert new.code != old.code
    assert [len(teacher.members(each.id)) for each in (old, new)] == [1, 0]


def test_a_name_that_is_none_is_refused_where_it_was_typed(teacher: Roster, group: Class) -> None:
    app = run(AppTest.from_function(settings, default_timeout=60))
    take(app, "New name of the class", " ")
    assert [each.name for each in teacher.classes()] == ["3b"]
    assert len(app.text[-1].value) > LONGEST_NAME / 2  # a sentence
