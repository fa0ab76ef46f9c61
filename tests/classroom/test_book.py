"""The gradebook as a teacher reads it, and its files."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pandas as pd

from strata.classroom import book
from strata.display.files import as_csv
from strata.lessons import lessons

KNOWN = lessons()
(FIRST, ONE), (SECOND, OTHER) = list(KNOWN.items())[:2]
NAMES = {"b": "ann", "a": "Ann, joined later", "c": "Zoe"}


def row(**more: object) -> dict[str, object]:
    fields = {"name": "Ann", "member": "a", "lesson": FIRST, "version": ONE.version, "step": 2}
    fields |= {"first": "1", "first_grade": "right", "revision": "", "revision_grade": ""}
    return fields | {"model": "m", "answer": "1", "at": "2026-07-01T10:00:00+00:00", **more}


def kept(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


def test_lessons_steps_and_times_are_told_as_the_teacher_knows_them() -> None:
    frame = kept(
        row(lesson="vote: Which?", version="", step=0, at="2026-07-01T12:00:00+00:00"),
        row(lesson=f"vote: {FIRST}", at="2026-07-01T11:00:00+00:00"),
        row(version="an older one", step=3),
        row(),
    )
    told = book.answers(frame, {"a": "Ann"}, KNOWN, ZoneInfo("Europe/Berlin"))
    titles = [ONE.title, ONE.title, f"Vote: {ONE.title}", "Vote: Which?"]
    assert told["lesson"].tolist() == titles
    assert told["step"].tolist() == ["2", "3", "2", ""]
    step = ONE.steps[1].title
    assert told["question"].tolist() == [step, "", step, ""]
    assert told["at"].iloc[0] == pd.Timestamp("2026-07-01 12:00")


def test_everyone_is_in_it_in_an_order_that_does_not_depend_on_who_came_first() -> None:
    rows = [
        row(member="b", lesson=SECOND, version=OTHER.version),
        row(member="b", step=3),
        row(member="a"),
        row(member="b", step=2),
        row(member="gone", name="Eve"),  # deleted just now
    ]
    for order in (rows, rows[::-1]):
        told = book.answers(kept(*order), NAMES, KNOWN)
        assert told[["name", "pseudonym", "lesson", "step"]].to_numpy().tolist() == [
            ["ann", "b", ONE.title, "2"],
            ["ann", "b", ONE.title, "3"],
            ["ann", "b", OTHER.title, "2"],
            ["Ann, joined later", "a", ONE.title, "2"],
            ["Zoe", "c", "", ""],
            ["Eve", "gone", ONE.title, "2"],
        ]
        points = book.each_learner(kept(*order), NAMES)
        assert points.to_numpy().tolist() == [
            ["ann", "b", 3, 3, 3],
            ["Ann, joined later", "a", 1, 1, 1],
            ["Zoe", "c", 0, 0, 0],
        ]
    told = book.answers(kept(*rows), NAMES, book.in_lessons_order([SECOND], KNOWN))
    assert told["lesson"].tolist()[:3] == [OTHER.title, ONE.title, ONE.title]
    names = book.in_order({"1": "b", "2": "A", "3": "a"})
    assert list(names.values()) == ["A", "a", "b"]


def test_points_have_a_column_for_each_question() -> None:
    frame = kept(
        row(member="a", first_grade="near", revision_grade="right"),
        row(member="a", at="2026-07-02T10:00:00+00:00"),  # of another run
        row(member="b", step=3, version="old", first_grade="wrong"),
        row(member="b", step=4, first_grade="open"),
        row(member="c", lesson="vote: =1+1", version="", step=0),
        row(  # who came to the second vote only
            member="b",
            lesson="vote: =1+1",
            version="",
            step=0,
            first="",
            first_grade="",
            revision_grade="right",
        ),
    )
    points = book.each_question(frame, NAMES, KNOWN)
    one = f"{ONE.title}: 2. {ONE.steps[1].title}"
    columns = [one, f"{ONE.title}: 3", "Vote: =1+1"]
    assert list(points)[5:] == columns
    assert points[columns].astype(object).where(
        points[columns].notna(), ""
    ).to_numpy().tolist() == [
        ["", 0, 0],
        [0, "", ""],
        ["", "", 1],
    ]
    assert points["questions"].tolist() == [2, 1, 1]
    assert points["questions"].tolist() == points[columns].notna().sum(axis=1).tolist()
    assert points["right at first"].tolist() == points[columns].sum(axis=1).tolist()
    csv = as_csv(points).decode("utf-8-sig").splitlines()
    assert csv[1] == '"ann","b",2,0,1,"",0,0'


def test_a_class_in_which_nobody_has_answered_has_rows() -> None:
    nothing = kept(row()).iloc[:0]
    assert book.answers(nothing, NAMES, KNOWN)["name"].tolist() == list(NAMES.values())
    assert book.each_question(nothing, NAMES, KNOWN)["questions"].tolist() == [0, 0, 0]
    as_csv(book.answers(nothing, NAMES, KNOWN))
    assert book.answers(nothing, {}, KNOWN).empty
