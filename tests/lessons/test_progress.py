"""What a learner has done is kept, tied to the run it was given for, and seen by nobody else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from strata.errors import InputError, StrataError
from strata.lessons import progress as progress_module
from strata.lessons.answers import Grade, Verdict
from strata.lessons.progress import LONGEST, NOT_YET, Guess, Progress, is_over
from strata.storage.database import AwayError, Database

GUESS = Guess(1, 0, "v1", "model", "job", [1, 0.5], {"a": 1}, Verdict("near", "Close: 日本 <b>."))


def test_a_guess_comes_back_as_it_was(database: Database) -> None:
    Progress(database).commit("ann", "first", GUESS)
    assert Progress(database).guesses("ann", "first") == [GUESS]
    assert Progress(database).guesses("bob", "first") == []
    assert Progress(database).guesses("ann", "second") == []


def test_the_first_of_two_equal_commits_counts(database: Database) -> None:
    store = Progress(database)
    store.commit("ann", "first", GUESS)
    store.commit("ann", "first", replace(GUESS, guess="changed my mind"))
    assert store.guesses("ann", "first") == [GUESS]
    second, other = replace(GUESS, attempt=1), replace(GUESS, job="another run")
    store.commit("ann", "first", second)
    store.commit("ann", "first", other)
    assert store.guesses("ann", "first") == [GUESS, second, other]


def test_a_wrong_first_guess_keeps_the_answer_back_until_the_second_or_a_look(
    database: Database,
) -> None:
    """From all that its learner reads, the report too; the teacher's tables have it at once."""
    store, wrong = Progress(database), Verdict("wrong", "It is 3.")
    first = replace(GUESS, answer=3, verdict=wrong, said="one", told="three")
    held = replace(first, answer=None, told="", verdict=Verdict("wrong", NOT_YET))
    for who in ("ann", "bob"):
        store.commit(who, "first", first)
        assert store.guesses(who, "first") == [held]
        assert not is_over(store.guesses(who, "first"), looked=False)
    elsewhere = replace(first, job="another run", attempt=0)
    store.commit("ann", "first", elsewhere)
    second = replace(first, attempt=1, verdict=Verdict("wrong", "No."))
    store.commit("ann", "first", second)
    told = [first, replace(held, job="another run"), second]
    assert store.guesses("ann", "first") == told, "each run by itself"
    store.look("bob", "first", first.at)
    store.look("bob", "first", first.at)
    for each in (store, Progress(database)):
        assert each.guesses("bob", "first") == [first]
        assert each.looked("bob", "first") == {first.at}
        assert each.looked("ann", "first") == set()
    assert first.at == (1, "job", "v1")


@pytest.mark.parametrize("grade", ["right", "near", "open"])
def test_any_other_first_guess_is_answered(database: Database, grade: Grade) -> None:
    store, given = Progress(database), replace(GUESS, verdict=Verdict(grade, "It is 3."))
    store.commit("ann", "first", given)
    assert store.guesses("ann", "first") == [given]
    assert is_over([given], looked=False)
    assert is_over([], looked=True)
    assert not is_over([], looked=False)


def test_a_lesson_that_has_changed_asks_anew(database: Database) -> None:
    store, later = Progress(database), replace(GUESS, version="v2")
    store.commit("ann", "first", GUESS)
    store.commit("ann", "first", later)
    assert store.guesses("ann", "first") == [GUESS, later]


def test_notes_change_one_by_one(database: Database) -> None:
    store = Progress(database)
    store.note("ann", "first", 2, hints=1)
    store.note("ann", "first", 2, hints=1)
    store.note("ann", "first", 0, observation="I saw <i>this</i>.")
    store.note("ann", "first", 0, observation="I saw <i>this</i>.\0")
    store.note("ann", "first", 2)
    store.note("ann", "first", 2, figure="<svg/>", code="print()")
    store.note("ann", "first", 2, figure="<svg/>\ud83d")
    notes = store.notes("ann", "first", drawn=True)
    assert list(notes) == [0, 2], "the latest visited is last"
    assert (notes[2].hints, notes[2].figure, notes[2].code) == (1, "<svg/>\ud83d", "print()")
    assert notes[0].observation == "I saw <i>this</i>.\0"
    assert store.notes("bob", "first") == {}
    store.note("ann", "first", 2, lacked=True)
    assert store.notes("ann", "first")[2] == replace(notes[2], figure="", code="", lacked=True)
    store.note("ann", "first", 2, hints=2)
    assert store.notes("ann", "first")[2].lacked
    store.note("ann", "first", 2)  # with another model
    assert not store.notes("ann", "first")[2].lacked


def test_a_long_observation_is_refused(database: Database) -> None:
    with pytest.raises(InputError, match="at most 4,000"):
        Progress(database).note("ann", "first", 0, observation="x" * (LONGEST + 1))


@pytest.mark.parametrize("away", [False, True])
def test_forgetting_does_not_go_by_a_clock_that_was_set_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool
) -> None:
    """Answers that wait, too; what is answered after it, by whatever clock, stays."""
    now = datetime.now(UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(now.timestamp(), zone)

    monkeypatch.setattr(progress_module, "datetime", Clock)
    store = Progress(database, tmp_path / "outbox")
    assert store._outbox

    def fails(letters: object) -> None:
        raise AwayError("It is away.")

    with monkeypatch.context() as patch:
        if away:
            patch.setattr(store._outbox, "_send", fails)
        store.commit("ann", "first", GUESS)
        now -= timedelta(hours=1)
        store.forget("ann", "first")
        assert store.guesses("ann", "first") == []
        again = replace(GUESS, guess=7)
        store.commit("ann", "first", again)
    store.close()
    assert Progress(database).guesses("ann", "first") == [again]


def test_forgetting_is_of_one_learner_and_lesson(database: Database) -> None:
    store = Progress(database)
    for name, lesson in (("ann", "first"), ("ann", "second"), ("bob", "first")):
        store.commit(name, lesson, GUESS)
        store.note(name, lesson, 0)
    store.forget("ann", "first")
    assert store.guesses("ann", "first") == []
    assert store.notes("ann", "first") == {}
    assert store.guesses("ann", "second") == store.guesses("bob", "first") == [GUESS]


def test_marks_of_a_set_are_kept_once_and_of_one_learner(database: Database) -> None:
    store = Progress(database)
    store.mark("ann", "a set", "seen", "0123abcd")
    store.mark("ann", "a set", "seen", "89abcdef")
    store.mark("ann", "another", "seen")
    for each in (store, Progress(database)):
        assert each.marks("ann", "a set") == {"seen", "0123abcd", "89abcdef"}
        assert each.marks("bob", "a set") == set()
    assert len(store._events("ann", "set a set")) == 3


def test_many_at_once(database: Database) -> None:
    store = Progress(database)

    def learn(number: int) -> None:
        store.commit(f"learner {number}", "first", GUESS)
        store.note(f"learner {number}", "first", 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(learn, range(40)))
    assert all(store.guesses(f"learner {number}", "first") == [GUESS] for number in range(40))


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StrataError, match=r"What learners store in .* cannot be used"):
        Progress(Database(tmp_path / "file" / "lessons.sqlite")).guesses("ann", "first")
