"""What is stored late of a learner who is not there any more does not stay."""

from __future__ import annotations

from pathlib import Path

from strata.classroom.roster import Roster
from strata.lessons.progress import Progress
from strata.storage.database import Database
from tests.outages import folder_instead_of_file
from tests.storage.test_outbox import at, crash, until


def test_what_waited_of_a_deleted_learner_goes_too(tmp_path: Path) -> None:
    """Through a restart, after which nobody here knows that there was such a learner."""
    (tmp_path / "database").mkdir()
    with folder_instead_of_file(tmp_path / "database") as place:
        roster = Roster(Database(place.url))
        ann, bob = (roster.join(roster.create("3b").code, name)[0].id for name in ("Ann", "Bob"))
        roster.forget(ann)
        first = Progress(Database(place.url), tmp_path / "outbox")
        place.away()
        for learner in (ann, bob):  # a page of Ann's is still at work
            first.commit(learner, "first", at(0))
            first.note(learner, "first", 0, figure="{}")
        crash(first)
        place.back()
        second = Progress(Database(place.url), tmp_path / "outbox")
        until(lambda: not second.is_away)
        assert place.events() == [(ann, 0, "guess"), (bob, 0, "guess")]
        Roster(Database(place.url)).remove_expired()
        assert place.events() == [(bob, 0, "guess")]
        second.close()
        again = Progress(Database(place.url))
        assert again.notes(ann, "first", drawn=True) == {}
        assert again.notes(bob, "first", drawn=True)[0].figure == "{}"
