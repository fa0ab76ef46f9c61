"""The teacher's tables, against counts by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from strata.classroom import watch
from strata.classroom.roster import Roster
from strata.lessons.answers import Verdict
from strata.lessons.progress import Progress
from strata.storage.database import Database
from tests.lessons.test_progress import GUESS


@pytest.fixture
def done(database: Database) -> pd.DataFrame:
    """Ann finished, Bob is at step 2, Cid has only joined; Eve is of another class."""
    roster, progress = Roster(database), Progress(database)
    group, other = roster.create("3b"), roster.create("other")
    ids = {name: roster.join(group.code, name)[0].id for name in ("Ann", "Bob", "Cid")}
    eve = roster.join(other.code, "Eve")[0].id

    def answer(who: str, step: int, guess: object, grade: str, attempt: int = 0) -> None:
        said = Verdict(grade, "so")  # type: ignore[arg-type]
        progress.commit(
            who, "l", replace(GUESS, step=step, attempt=attempt, guess=guess, verdict=said)
        )

    for step in range(3):
        progress.note(ids["Ann"], "l", step)
    answer(ids["Ann"], 0, 1, "wrong")
    answer(ids["Ann"], 0, 0, "right", attempt=1)
    answer(ids["Ann"], 2, [3, 4], "right")
    progress.note(ids["Bob"], "l", 1, hints=1)
    progress.note(ids["Bob"], "l", 1, hints=2)
    answer(ids["Bob"], 0, 1, "wrong")
    progress.note(ids["Bob"], "l", 1, observation="=1+1")
    progress.note(ids["Bob"], "l", 1, observation="It bends.")
    progress.note(ids["Ann"], "l", 1, observation="  ")
    answer(eve, 0, 2, "wrong")
    return watch.events(database, group.id)


def test_everyone_is_somewhere(done: pd.DataFrame) -> None:
    assert list(done) == watch.EVENTS
    later = datetime.now(UTC) + timedelta(minutes=10)
    people = watch.people(done, later).set_index("name")
    assert set(people.index) == {"Ann", "Bob", "Cid"}
    assert people.loc["Bob", ["lesson", "step", "answers", "hints"]].tolist() == ["l", 2, 1, 2]
    assert people.loc["Ann", ["lesson", "step", "answers", "hints"]].tolist() == ["l", 2, 2, 0]
    assert people.loc["Cid", ["lesson", "step", "answers", "hints"]].tolist() == ["", 0, 0, 0]
    assert people["minutes"].between(9.5, 10.5).all()


def test_the_funnel_counts_learners(done: pd.DataFrame) -> None:
    funnel = watch.funnel(done, "l", 4)
    assert funnel["step"].tolist() == [1, 2, 3, 4]
    assert funnel["reached"].tolist() == [2, 2, 1, 0]
    assert funnel["answered"].tolist() == [2, 0, 1, 0]
    assert funnel["hints"].tolist() == [0, 1, 0, 0]
    assert watch.funnel(done, "another", 2)["reached"].tolist() == [0, 0]


def test_who_knows_an_answer_is_counted_once(database: Database) -> None:
    """Who answered, in however many tries, and who looked; of this class, step and lesson only."""
    roster, progress = Roster(database), Progress(database)
    group, other = roster.create("3b"), roster.create("other")
    ids = [roster.join(group.code, name)[0].id for name in ("Ann", "Bob", "Cid", "Dan")]
    ids.append(roster.join(other.code, "Eve")[0].id)
    for who in (ids[0], ids[4]):
        for attempt in (0, 1):
            progress.commit(who, "l", replace(GUESS, step=1, attempt=attempt))
    progress.look(ids[1], "l", (1, "job", "version"))
    progress.note(ids[2], "l", 1, hints=1)
    progress.commit(ids[3], "another", replace(GUESS, step=1))
    progress.commit(ids[3], "l", replace(GUESS, step=0))
    done = watch.events(database, group.id)
    assert watch.answered(done, "l", 2) == 2
    assert watch.answered(done, "l", 2, done["at"].max() + timedelta(seconds=1)) == 2
    assert watch.answered(done, "l", 2, done["at"].min()) == 0


def test_the_gradebook_keeps_first_answer_and_revision(done: pd.DataFrame) -> None:
    book = watch.gradebook(done)
    rows = book[["name", "step", "first", "first_grade", "revision", "revision_grade"]]
    assert rows.to_numpy().tolist() == [
        ["Ann", 1, "1", "wrong", "0", "right"],
        ["Ann", 3, "[3, 4]", "right", "", ""],
        ["Bob", 1, "1", "wrong", "", ""],
    ]
    assert set(book["version"]) == {GUESS.version}
    assert pd.to_datetime(book["at"]).notna().all()


def test_guesses_and_answers_are_kept_in_words(database: Database) -> None:
    """A position by its token, as its run had it; the teacher has the answer before the learner."""
    roster, progress = Roster(database), Progress(database)
    group = roster.create("3b")
    ann = roster.join(group.code, "Ann")[0].id
    wrong = Verdict("wrong", "No.")
    said = replace(GUESS, guess=0, answer=2, verdict=wrong, said="“The” (position 0)")
    progress.commit(ann, "l", replace(said, told="“␣of” (position 2)"))
    done = watch.events(database, group.id)
    [row] = watch.gradebook(done).to_dict("records")
    assert (row["first"], row["answer"]) == ("“The” (position 0)", "“␣of” (position 2)")
    [group_of] = watch.answers(done).to_dict("records")
    assert (group_of["guess"], group_of["said"]) == ("0", "“The” (position 0)")


def test_points_are_of_questions_that_were_graded(done: pd.DataFrame) -> None:
    book = watch.gradebook(done)
    opinion = book.iloc[[2]].assign(step=4, first_grade="open")
    late = book.iloc[[2]].assign(step=5, first="", first_grade="", revision_grade="right")
    again = book.iloc[[2]].assign(first_grade="right", at="9999")  # of another run, known by then
    points = watch.points(pd.concat([again, book, opinion, late], ignore_index=True))
    wanted = {"name": ["Ann", "Bob"], "questions": [2, 2]}
    wanted |= {"right at first": [1, 0], "right in the end": [2, 1]}
    assert points.drop(columns="member").to_dict("list") == wanted


def test_learners_of_one_name_have_points_of_their_own(done: pd.DataFrame) -> None:
    book = watch.gradebook(done).assign(name="Ann")
    assert watch.points(book)["questions"].tolist() in ([2, 1], [1, 2])


def test_answers_are_grouped_and_the_most_missed_come_first(done: pd.DataFrame) -> None:
    answers = watch.answers(done)
    assert answers[["step", "guess", "grade", "learners", "wrong"]].to_numpy().tolist() == [
        [1, "1", "wrong", 2, 2],
        [3, "[3, 4]", "right", 1, 0],
    ]


def test_the_latest_words_of_each_are_shown(done: pd.DataFrame) -> None:
    said = watch.observations(done)
    assert said[["name", "step", "text"]].to_numpy().tolist() == [["Bob", 2, "It bends."]]


def test_a_class_without_members_has_empty_tables(database: Database) -> None:
    done = watch.events(database, Roster(database).create("3b").id)
    assert watch.people(done).empty
    assert watch.gradebook(done).empty
    assert watch.answers(done).empty
    assert watch.observations(done).empty
    assert watch.funnel(done, "l", 2)["reached"].tolist() == [0, 0]
