"""What the teacher's page shows of a gradebook: titles, times of the clock here, people apart."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from strata.lessons import lessons
from strata.ui.classroom import gradebook

STEM, LESSON = next(iter(lessons().items()))


def row(**more: object) -> dict[str, object]:
    fields = {"name": "Ann", "member": "a", "lesson": STEM, "version": LESSON.version, "step": 2}
    fields |= {"first": "1", "first_grade": "right", "revision": "", "revision_grade": ""}
    return fields | {"model": "m", "answer": "1", "at": "2026-07-01T10:00:00+00:00", **more}


def test_lessons_steps_and_times_are_shown_as_the_teacher_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradebook, "time_zone", lambda: ZoneInfo("Europe/Berlin"))
    rows = [
        row(),
        row(version="an older one"),
        row(lesson=f"vote: {STEM}"),
        row(lesson="vote: Which?", version="", step=0),
    ]
    book = pd.DataFrame(rows).drop(columns="member")
    shown = gradebook._readable(book)
    titles = [LESSON.title, LESSON.title, f"Vote: {LESSON.title}", "vote: Which?"]
    assert shown["lesson"].tolist() == titles
    step = f"2. {LESSON.steps[1].title}"
    assert shown["step"].tolist() == [step, "2", step, ""]
    assert shown["at"].tolist() == [pd.Timestamp("2026-07-01 12:00")] * 4
    assert "version" not in shown


def test_learners_are_shown_by_the_names_that_tell_them_apart() -> None:
    book = pd.DataFrame([row(), row(member="b"), row(member="gone", name="Eve")])
    named = gradebook._named(book, {"a": "Ann, joined first", "b": "Ann, joined later"})
    assert named["name"].tolist() == ["Ann, joined first", "Ann, joined later", "Eve"]
    assert "member" not in named
