"""Who may come in, as the teacher says on the class page, and what the wall says of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from streamlit.testing.v1 import AppTest

from strata.classroom.asked import Asked
from strata.classroom.roster import Class, Roster
from strata.classroom.votes import Votes
from strata.lessons.progress import Progress
from strata.storage.database import Database
from strata.ui.classroom import coming_in
from tests.lessons.test_progress import GUESS


def settings(class_id: str) -> None:  # run by itself, without imports above
    from strata.ui.classroom import coming_in

    group = coming_in.roster().get(class_id)
    assert group is not None
    coming_in.say_if_shut(group)
    coming_in.who_may_join(group)
    coming_in.remove_several(group)


def wall() -> None:
    from strata.ui.classroom import projector

    projector.show()


def run(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception, app.exception[0].message
    return app


@pytest.fixture
def group(teacher: Roster) -> Class:
    return teacher.create("3b")


def test_a_teacher_stops_joining_and_gives_another_code(group: Class, teacher: Roster) -> None:
    def now() -> Class:
        found = teacher.get(group.id)
        assert found
        return found

    app = run(AppTest.from_function(settings, args=(group.id,), default_timeout=60))
    assert app.button("stop_joining").label == "Stop joining"
    app.button("stop_joining").click()
    run(app)
    assert not now().joining
    assert "Nobody new can join. Who is in goes on, and comes back." in [t.value for t in app.text]
    app.button("join_again").click()
    run(app)
    assert now().joining
    assert app.button("stop_joining").label == "Stop joining"
    app.button("renew_code").click()
    run(app)
    assert now().code != group.code
    assert now().code in app.caption[0].value  # what the next one would make worthless


def test_several_learners_are_removed_with_one_question(
    group: Class, teacher: Roster, database: Database, boxes_are_open: None
) -> None:
    ann = teacher.join(group.code, "Ann")[0]
    Progress(database).commit(ann.id, "l", GUESS)
    for number in range(30):
        teacher.join(group.code, f"spam {number}")
    bob = teacher.join(teacher.create("4a").code, "Bob")[0]
    app = run(AppTest.from_function(settings, args=(group.id,), default_timeout=60))
    assert "Nobody is chosen." in [each.value for each in app.caption]
    app.segmented_control("remove_whom").set_value(coming_in._IDLE)
    run(app)
    said = next(each.value for each in app.text if each.value.startswith("spam 0, "))
    assert said.endswith("spam 19 and 10 more")
    assert app.button("remove_chosen").disabled
    assert "cannot be undone" in app.checkbox[0].label
    app.checkbox[0].check()
    run(app)
    app.segmented_control("remove_whom").set_value(coming_in._NEW)  # others are asked of anew
    run(app)
    assert app.button("remove_chosen").label == "Remove 31 learners"
    assert app.button("remove_chosen").disabled
    app.segmented_control("remove_whom").set_value(coming_in._IDLE)
    run(app)
    app.checkbox[0].check()
    run(app)
    app.button("remove_chosen").click()
    run(app)
    assert teacher.members(group.id) == [ann]
    assert teacher.members(bob.class_id) == [bob]
    app.segmented_control("remove_whom").set_value(coming_in._BY_NAME)
    run(app)
    app.multiselect[0].set_value([ann.id])
    run(app)
    app.checkbox[0].check()
    run(app)
    app.button("remove_chosen").click()
    run(app)
    assert teacher.members(group.id) == []


def test_the_wall_shows_no_code_while_nobody_can_come_in(
    group: Class, teacher: Roster, database: Database
) -> None:
    teacher.join(group.code, "Ann")
    app = AppTest.from_function(wall, default_timeout=60)
    app.query_params["of"] = group.id

    def shown() -> str:
        run(app)
        texts = [*app.title, *app.markdown, *app.text, *app.caption]
        return " ".join([*(t.value for t in texts), *(h.proto.body for h in app.get("html"))])

    assert group.code in shown()
    assert "1 has joined" in shown()
    teacher.change(group.id, joining=False)
    assert group.code not in shown()
    assert "Nobody new can join 3b just now." in shown()
    assert "1 has joined" in shown()
    Votes(database).open(group.id, Asked.own("Which?", ["a", "b"]))
    assert "To join" not in shown()
    teacher.change(group.id, joining=True)
    code = teacher.renew_code(group.id)
    assert f"To join: {code}" in shown()  # it has heard of the new one
    teacher.change(group.id, closes=datetime.now(UTC))
    closed = shown()
    assert "was closed at" in closed
    for gone in (code, "joined", "Which?", "have voted"):
        assert gone not in closed
    teacher.change(group.id, closes=None, opens=datetime.now(UTC) + timedelta(hours=1))
    assert "opens at" in shown()
    teacher.change(group.id, opens=None)
    assert f"To join: {code}" in shown()  # by itself
