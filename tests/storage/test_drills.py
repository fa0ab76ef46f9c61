"""The drills would see a loss: what was told and is not stored, and what is stored twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from strata.classroom.roster import Roster
from strata.lessons.answers import Verdict
from strata.lessons.progress import Guess, Progress
from strata.storage.database import Database
from tests.drills.__main__ import Outcome
from tests.drills.faults import FAULTS
from tests.drills.kept import compared
from tests.drills.learners import Told
from tests.drills.school import new_class


def test_what_is_lost_and_what_is_there_twice_is_found(tmp_path: Path) -> None:
    place = str(tmp_path / "strata.sqlite")
    group, vote, (ann, ben) = new_class(place, 2)
    database = Database(place)
    progress, roster = Progress(database), Roster(database)
    guess = Guess(1, 0, "v", "model", "job", 1, 1, Verdict("right", "Yes."))
    progress.vote(ann.member, vote, 1, "a-1", "key-of-a-1")
    progress.commit(ann.member, "predictions", guess)
    joined, code = roster.join(group.code, "Newcomer")
    told = Told()
    told.ballots.add((ann.member, "key-of-a-1", "a-1"))
    told.answers.add((ann.name, "predictions_1"))
    told.joins[joined.name] = code
    well = compared(place, told, vote)
    assert (well.ballots, well.answers, well.joins) == (1, 1, 1)
    assert (well.lost, well.twice, well.unsaid) == ([], [], 0)
    assert Outcome(FAULTS[0], "sqlite", told, well).ok
    for none in ("ballots", "answers", "joins"):  # that none was lost says nothing then
        assert not Outcome(FAULTS[0], "sqlite", told, replace(well, **{none: 0})).ok

    told.ballots.add((ben.member, "key-of-b-1", "b-1"))
    told.answers.add((ben.name, "predictions_1"))
    told.joins["Nobody"] = code
    assert len(compared(place, told, vote).lost) == 3

    progress.vote(ann.member, vote, 1, "a-1", "another-key")
    roster.join(group.code, "Newcomer")
    assert compared(place, told, vote).twice == ["ballot a-1", "join Newcomer"]
    database.close()
