"""Time that is given, names that are hidden or change, words that do not go on the wall."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from strata.classroom.asked import Asked
from strata.classroom.board import Board
from strata.classroom.changes import duplicate, rename
from strata.classroom.roster import Class, Roster
from strata.classroom.votes import Votes, counted, reading, words
from strata.classroom.wall import Wall, close_rounds, give_time, hide_names, numbered, wall
from strata.errors import InputError
from strata.lessons import Question
from strata.lessons.progress import Progress
from strata.storage.database import Database
from strata.storage.tables import ClassRow, VoteRow

OWN = Asked.own("Which?", ["a", "b"], right=1)
FREE = Asked(
    question=Question.model_validate({"kind": "token", "ask": "Next?", "answer": " Paris"}),
    answer=" Paris",
    n_layers=30,
)


@pytest.fixture
def group(database: Database) -> Class:
    return Roster(database).create("3b")


def later(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_a_timer_runs_and_is_stopped(database: Database, group: Class) -> None:
    board = Board(database)
    board.look()
    assert "left" not in board.screen(group.id)
    give_time(database, group.id, timedelta(minutes=2))
    assert board.look() == {group.id}
    assert 118 < board.screen(group.id)["left"] <= 120
    now = wall(database, group.id)
    assert now.left(later(60)) == pytest.approx(60, abs=2)
    assert now.left(later(150)) == 0  # it is said for a while that the time is up
    assert now.left(later(190)) is None
    give_time(database, group.id, None)
    board.look()
    assert "left" not in board.screen(group.id)
    for wrong in (timedelta(0), timedelta(hours=4)):
        with pytest.raises(InputError, match="at most 3 hours"):
            give_time(database, group.id, wrong)
    for set_it in (give_time, hide_names):
        with pytest.raises(InputError, match="not there"):
            set_it(database, "gone", None)  # type: ignore[operator]
    assert wall(database, "gone") == Wall()


def test_a_round_is_closed_when_its_time_is_up(database: Database, group: Class) -> None:
    votes, other = Votes(database), Roster(database).create("other")
    give_time(database, group.id, timedelta(seconds=30))
    vote = votes.open(group.id, OWN)
    assert wall(database, group.id).timer is None  # it was for what went before
    votes.open(other.id, OWN)
    give_time(database, group.id, timedelta(seconds=30))
    assert close_rounds(database, later(30)) == 0  # a ballot may be on its way
    assert close_rounds(database, later(32)) == 1
    assert close_rounds(database, later(32)) == 0

    def running(class_id: str) -> str:
        now = votes.running(class_id)
        assert now
        return now.phase

    assert (running(group.id), running(other.id)) == ("talk", "first")
    votes.change(vote.id, phase="second")
    assert close_rounds(database, later(3_000)) == 0  # of a round that had none
    give_time(database, group.id, timedelta(seconds=30))
    votes.change(vote.id, shown=False)
    assert close_rounds(database, later(32)) == 1
    assert running(group.id) == "done"


def test_a_board_that_is_told_of_changes_looks_when_time_is_up(
    database: Database, group: Class
) -> None:
    board = Board(database)
    vote = Votes(database).open(group.id, OWN)
    give_time(database, group.id, timedelta(seconds=0.2))
    board.look()
    assert not board.has_turned  # an answer may be on its way for a second
    for _ in range(300):
        if board.has_turned:
            break
        time.sleep(0.02)
    assert board.has_turned
    assert close_rounds(database) == 1
    board.look()
    assert not board.has_turned
    assert Votes(database).running(group.id) is not None
    with pytest.raises(InputError, match="closed"):
        board.ballot(group.id, vote.id, 1, 0)


def test_a_word_is_hidden_on_the_wall_and_in_no_row(database: Database, group: Class) -> None:
    votes, progress, board = Votes(database), Progress(database), Board(database)
    ids = [Roster(database).join(group.code, name)[0].id for name in ("Ann", "Bob", "Cid")]
    vote = votes.open(group.id, FREE)
    for who, word in zip(ids, ("Rude", "rude", "London"), strict=True):
        progress.vote(who, vote.id, 1, word, f"{who}-{word}")
    cast = votes.ballots(vote.id)[vote.id]
    assert words(vote, cast) == {"rude": 2, "london": 1}
    assert words(replace(vote, asked=OWN), cast) == {}
    votes.hide(vote.id, "rude")
    votes.hide(vote.id, "paris")
    votes.change(vote.id, phase="talk", shown=True)
    board.look()
    bars = board.screen(group.id)["vote"]["results"]
    assert [(bar["label"], bar["learners"]) for bar in bars] == [("london", [1])]
    now = votes.running(group.id)
    assert now
    assert reading(now, cast) == "3 voted."
    progress.vote(ids[0], vote.id, 2, "RUDE ", "a-second-key")  # in no round
    later_cast = votes.ballots(vote.id)[vote.id]
    assert counted(replace(now, phase="second"), later_cast)["label"].unique().tolist() == [
        "london"
    ]
    told = counted(replace(now, phase="over"), cast)  # the answer is told whatever was hidden
    assert told["label"].tolist() == ["london", "paris"]
    with database.session() as session:
        assert "rude" not in (session.scalar(select(VoteRow.hidden)) or "")
    votes.hide(vote.id, "rude", hidden=False)
    board.look()
    assert len(board.screen(group.id)["vote"]["results"]) == 2
    with pytest.raises(InputError, match="not there"):
        votes.hide("gone", "rude")


def test_names_are_numbers_while_they_are_hidden(database: Database, group: Class) -> None:
    roster = Roster(database)
    ann, bob = (roster.join(group.code, name)[0] for name in ("Ann", "Bob"))
    assert not wall(database, group.id).names_hidden
    hide_names(database, group.id, True)
    assert wall(database, group.id).names_hidden
    assert numbered(roster.members(group.id)) == {ann.id: "Learner 1", bob.id: "Learner 2"}


def test_a_learner_is_renamed_where_they_are_seated(database: Database, group: Class) -> None:
    roster, board = Roster(database), Board(database)
    ann = roster.join(group.code, "Ann")[0]
    token = roster.seat(ann.id)
    board.look()
    rename(database, ann.id, " Anna\u200b  Maria ")
    assert board.look() == {group.id}  # every server looks up anew who is in it
    seat = roster.seated(token)
    assert seat
    assert seat.member == replace(ann, name="Anna Maria")
    with pytest.raises(InputError, match="name"):
        rename(database, ann.id, "  ")
    with pytest.raises(InputError, match="not there"):
        rename(database, "gone", "Ann")


def test_a_class_is_held_once_more(database: Database) -> None:
    roster = Roster(database)
    hours = {"opens": later(-60), "closes": later(-1), "expires": later(30 * 86_400)}
    limits = {"per_minute": 3}
    old = roster.create("3b", lessons=["b", "a"], model="m", limits=limits, **hours)
    new = duplicate(database, old.id, "3b, next year")
    assert (new.lessons, new.model, new.limits) == (old.lessons, old.model, old.limits)
    assert (new.name, new.opens, new.closes) == ("3b, next year", None, None)
    assert new.expires
    assert abs(new.expires - later(30 * 86_400)) < timedelta(seconds=20)
    assert (new.id != old.id, new.code != old.code) == (True, True)
    assert roster.members(new.id) == []
    with database.session(write=True) as session:
        row = session.get(ClassRow, new.id)
        assert row
        row.expires = None
    assert duplicate(database, new.id, "for ever").expires is None
    with pytest.raises(InputError, match="not there"):
        duplicate(database, "gone", "x")
    with pytest.raises(InputError, match="name"):
        duplicate(database, old.id, "")
