"""What a lab report is told of a step: its first figure at once, the last when it is left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from strata.charts import Chart, strip
from strata.lessons import lessons
from strata.lessons.progress import Progress
from strata.storage.database import Database
from strata.ui.anatomy import record
from strata.ui.anatomy.place import Place

LESSON = lessons()["predictions"]
# Two steps that name no figure: the first that is drawn is theirs.
HERE, NEXT = [
    Place(LESSON, number)
    for number, step in enumerate(LESSON.steps)
    if step.question is None or not step.question.figure
][:2]


@pytest.fixture
def progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Progress]:
    database = Database(tmp_path / "strata.sqlite")
    kept = Progress(database)
    monkeypatch.setattr(record, "st", SimpleNamespace(session_state={}))
    monkeypatch.setattr(record, "progress", lambda: kept)
    monkeypatch.setattr(record, "learner", lambda: "ann")
    yield kept
    database.close()


def chart(reading: str, marks: int = 1) -> Chart:
    some: Any = strip(pd.DataFrame({"value": [1.0, 2.0], "label": ["a", "b"]}), "value", "label")
    return replace(some, reading=reading, spec={"title": "", "layer": [{"mark": reading}] * marks})


def show(place: Place | None, reading: str, marks: int = 1, run: str = "m Paris") -> None:
    """One run of the script on a step's page."""
    record.begin(place)
    if place is not None:
        record.start(place, run)
        record.keep_figure(chart(reading, marks), "figure")
        record.keep_code(f"print({reading!r})")


def kept(progress: Progress, place: Place = HERE) -> tuple[str, str]:
    note = progress.notes("ann", LESSON.stem, drawn=True)[place.number]
    return json.loads(note.figure)["layer"][0]["mark"], note.code[7:-2]


def test_the_first_is_kept_at_once_and_the_last_when_the_step_is_left(progress: Progress) -> None:
    show(HERE, "first")
    assert kept(progress) == ("first", "first")
    show(HERE, "moved")
    show(HERE, "moved again")
    assert kept(progress) == ("first", "first")
    show(NEXT, "another step")
    assert kept(progress) == ("moved again", "moved again")
    assert kept(progress, NEXT) == ("another step", "another step")


@pytest.mark.parametrize("change", [{"marks": 2}, {"run": "m Rome"}])
def test_a_guess_on_it_and_another_run_are_kept_at_once(
    progress: Progress, change: dict[str, Any]
) -> None:
    show(HERE, "first")
    show(HERE, "moved")
    show(HERE, "new", **change)
    assert kept(progress)[0] == "new"
    show(None, "")
    assert kept(progress)[0] == "new", "what waited before is older"


def test_it_is_kept_once_a_minute_too(progress: Progress, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes the browser, or is brought to another page, leaves no step."""
    show(HERE, "first")
    now = time.monotonic()
    monkeypatch.setattr(record.time, "monotonic", lambda: now + 59)
    show(HERE, "moved")
    assert kept(progress) == ("first", "first")
    monkeypatch.setattr(record.time, "monotonic", lambda: now + 62)
    show(HERE, "moved again")
    assert kept(progress) == ("moved again", "moved again")
    show(HERE, "and again")
    assert kept(progress) == ("moved again", "moved again")


def test_what_was_deleted_is_kept_anew_when_it_is_seen_again(progress: Progress) -> None:
    show(HERE, "first")
    record.begin(None)
    record.forget(LESSON.stem)
    assert progress.notes("ann", LESSON.stem, drawn=True) == {}
    show(HERE, "first")
    assert kept(progress) == ("first", "first")


def test_the_list_of_lessons_finds_the_last(progress: Progress) -> None:
    show(HERE, "first")
    show(HERE, "moved")
    record.begin(None)
    assert kept(progress) == ("moved", "moved")


def test_nothing_is_told_of_a_step_without_a_change(progress: Progress) -> None:
    show(HERE, "first")
    told: list[Any] = []
    progress.note = lambda *about, **changes: told.append(about)  # type: ignore[method-assign]
    show(HERE, "first")
    show(NEXT, "first")
    record.begin(None)
    assert [about[2] for about in told] == [NEXT.number], "its figure and its code, together"
