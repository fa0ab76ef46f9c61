"""Votes: what can be asked and answered, who is counted where, and that classes stay apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strata.charts import tally
from strata.classroom import watch
from strata.classroom.asked import Asked
from strata.classroom.backup import kept_of
from strata.classroom.board import Board
from strata.classroom.roster import Roster
from strata.classroom.votes import Ballots, Phase, Vote, Votes, call, counted, reading
from strata.errors import InputError
from strata.lessons import Question, lessons
from strata.lessons.progress import Progress
from strata.storage.database import Database

OWN = Asked.own("Which?", ["a", "b", "c"], right=1)


def asked(kind: str, **more: Any) -> Asked:
    """A question of a kind whose answer is known."""
    more = {"ask": "How much?", "answer": 3, **more}
    question = Question.model_validate({"kind": kind, **more})
    return Asked(question=question, answer=more["answer"], n_layers=30)


def test_a_question_of_ones_own_needs_words_and_two_answers() -> None:
    assert [option.text for option in OWN.question.options] == ["a", "b", "c"]
    assert (OWN.right, OWN.grade(1), OWN.grade(0), OWN.in_words(2)) == (1, "right", "wrong", "c")
    unknown = Asked.own("Which?", ["a ", "", " b"])
    assert (unknown.right, unknown.grade(0)) == (None, "open")
    with pytest.raises(InputError, match="no answer number 3"):
        Asked.own("Which?", ["a", "b"], right=2)
    many = [str(number) for number in range(21)]
    assert len(Asked.own("Which?", many[:20]).question.options) == 20
    for ask, options in (("", many[:2]), ("Which?", ["a"]), ("Which?", ["a", "a "]), ("W?", many)):
        with pytest.raises(InputError):
            Asked.own(ask, options)


@pytest.mark.parametrize(
    ("question", "guess", "kept"),
    [
        (OWN, 2, 2),
        (asked("number", low=0, high=1, answer=0.5), 1, 1.0),
        (asked("layer"), 30, 30),
        (asked("block"), 29, 29),
        (asked("token", answer=" Paris"), " Paris\ud83d ", "Paris"),
        (asked("token", answer=" Paris"), "␣Paris", "Paris"),
        (asked("token", answer=" ·"), "·", "·"),
    ],
)
def test_a_ballot_is_kept_in_its_form(question: Asked, guess: Any, kept: Any) -> None:
    assert question.ballot(guess) == kept
    assert type(question.ballot(guess)) is type(kept)


@pytest.mark.parametrize(
    ("question", "guess"),
    [
        *((OWN, g) for g in (3, -1, "0", 1.0, True, None, [0], {"a": 1}, 10**400)),
        *((asked("layer"), g) for g in (31, -1, float("nan"), float("inf"), "3", None, True)),
        (asked("block"), 30),
        *((asked("token", answer="x"), g) for g in ("", "  ", "x" * 61, "\ud83d", 3, None)),
    ],
)
def test_what_is_no_answer_is_refused(question: Asked, guess: Any) -> None:
    with pytest.raises(InputError, match="no answer"):
        question.ballot(guess)


def test_a_tally_has_a_bar_for_every_answer() -> None:
    frame = OWN.tally([1, 1, 0])
    assert frame.to_dict("list") == {
        "label": ["A  a", "B  b", "C  c"],
        "learners": [1, 2, 0],
        "right": [False, True, False],
    }
    few = asked("number", low=1, high=4, step=1, answer=3).tally([1.0, 3.0, 3.0, 4.0])
    assert few["label"].tolist() == ["1", "2", "3", "4"]
    assert few["learners"].tolist() == [1, 0, 2, 1]
    assert few["right"].tolist() == [False, False, True, False]
    shares = asked("number", unit="%", answer=0.77).tally([0.0, 0.099, 0.1, 1.0])
    assert shares["label"].iloc[[0, 9]].tolist() == ["0 to 10%", "90 to 100%"]
    assert shares["learners"].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert shares["right"].tolist().index(True) == 7
    layers = asked("layer").tally(range(31))
    assert layers["label"].iloc[[0, -1]].tolist() == ["0 to 3", "28 to 30"]
    assert layers["learners"].sum() == 31
    assert layers["learners"].max() == 4
    assert asked("number", unit="%", answer=0.77).counted_as(0.25) == "20 to 30%"
    assert OWN.counted_as(2) == "c"
    words = asked("token", answer=" Paris").tally(["paris", "Paris ", "London"])
    assert words.to_dict("list") == {
        "label": ["paris", "london"],
        "learners": [2, 1],
        "right": [True, False],
    }
    hidden = asked("token", answer=" Paris").tally(["London"], solved=False)
    assert hidden["label"].tolist() == ["london"]  # no empty bar that would tell the answer
    assert not hidden["right"].any()


def test_each_round_is_counted_in_the_bars_of_all() -> None:
    words = asked("token", answer=" Paris")
    first = {str(n): f"word{n}" for n in range(10)} | {"x": "late"}
    cast = {1: first, 2: {str(n): "late" for n in range(3)}}
    vote = Vote("v", "c", words, "done", shown=True, created=datetime.now(UTC))
    frame = counted(vote, cast)
    late = frame[frame["label"] == "late"]
    assert late[["round", "learners"]].to_numpy().tolist() == [[1, 1], [2, 3]]


@pytest.mark.parametrize(
    ("phase", "second", "held"),
    [
        ("first", {}, [1]),
        ("talk", {}, [1]),
        ("second", {}, [1, 2]),
        ("done", {"Ann": 1}, [1, 2]),
        ("done", {}, [1]),
        ("over", {}, [1]),
        ("over", {"Ann": 1}, [1, 2]),
    ],
)
def test_a_vote_may_end_without_a_second_round(
    phase: Phase, second: dict[str, Any], held: list[int]
) -> None:
    vote = Vote("v", "c", OWN, phase, shown=True, created=datetime.now(UTC))
    cast = {1: {"Ann": 0}, 2: second}
    assert vote.held(cast) == held
    assert counted(vote, cast)["round"].unique().tolist() == held


def test_a_word_that_nobody_gave_has_no_bar_before_the_answer_is_told() -> None:
    words = asked("token", answer=" Paris")
    vote = Vote("v", "c", words, "talk", shown=True, created=datetime.now(UTC))
    nobody: Ballots = {1: {}, 2: {}}
    assert counted(vote, nobody).empty
    drawn = tally(counted(vote, nobody).assign(vote="first"), "Votes", reading(vote, nobody))
    assert drawn.reading == "Nobody has voted."
    assert counted(replace(vote, phase="done"), nobody)["label"].tolist() == ["paris"]


@pytest.fixture
def desk(database: Database) -> tuple[Database, Votes, str, dict[str, str]]:
    roster = Roster(database)
    group = roster.create("3b")
    ids = {name: roster.join(group.code, name)[0].id for name in ("Ann", "Bob", "Cid")}
    return database, Votes(database), group.id, ids


def test_vote_talk_and_vote_again(desk: tuple[Database, Votes, str, dict[str, str]]) -> None:
    database, votes, group, ids = desk
    progress = Progress(database)
    vote = votes.open(group, OWN)
    assert (vote.phase, vote.round, vote.shown) == ("first", 1, False)
    for name, guess in (("Ann", 0), ("Bob", 1), ("Cid", 0)):
        progress.vote(ids[name], vote.id, 1, guess, "once")
        progress.vote(ids[name], vote.id, 1, guess, "once")  # told twice
    progress.vote(ids["Cid"], vote.id, 1, 2, "changed")
    votes.change(vote.id, phase="talk")
    votes.change(vote.id, shown=True)
    cast = votes.ballots(vote.id)[vote.id]
    assert cast == {1: {ids["Ann"]: 0, ids["Bob"]: 1, ids["Cid"]: 2}, 2: {}}
    now = votes.running(group)
    assert now is not None
    assert (now.phase, now.round, now.shown) == ("talk", 0, True)
    assert reading(now, cast) == "3 voted."  # what is right is not told before the second vote
    assert not counted(now, cast)["right"].any()
    assert reading(replace(now, phase="done"), cast) == "1 of 3 answered right."
    assert counted(replace(now, phase="done"), cast).query("right")["learners"].tolist() == [1]

    votes.change(vote.id, phase="second")
    again = votes.running(group)
    assert again is not None
    assert again.shown is False  # a new round hides what the first one showed
    with pytest.raises(InputError, match="open"):
        votes.change(vote.id, shown=True)
    progress.vote(ids["Ann"], vote.id, 2, 1, "twice")
    progress.vote(ids["Bob"], vote.id, 2, 1, "twice")
    votes.change(vote.id, phase="done")
    cast = votes.ballots(vote.id)[vote.id]
    with pytest.raises(InputError, match="gone on"):
        votes.change(vote.id, phase="second")  # from a window that has not heard of it
    frame = counted(replace(vote, phase="done"), cast)
    assert frame.query("round == 1")["learners"].tolist() == [1, 1, 1]
    assert frame.query("round == 2")["learners"].tolist() == [0, 2, 0]
    said = reading(replace(vote, phase="done"), cast)
    assert said == "1 of 3 and then 2 of 2 answered right; 1 of 2 changed their answer."

    book = votes.gradebook(group).set_index("name")
    assert book.loc["Ann", ["first", "first_grade"]].tolist() == ["a", "wrong"]
    assert book.loc["Ann", ["revision", "revision_grade"]].tolist() == ["b", "right"]
    assert book.loc["Cid", ["first", "revision"]].tolist() == ["c", ""]
    assert book.loc["Ann", ["lesson", "answer"]].tolist() == ["vote: Which?", "b"]
    assert book["at"].min() >= vote.created.isoformat(timespec="seconds")
    assert set(votes.gradebook(group)) == set(watch.gradebook(watch.events(database, group)))
    # Ballots are nobody's place in a lesson, and go with their learner.
    assert (watch.people(watch.events(database, group))["lesson"] == "").all()
    assert len(kept_of(database, [ids["Ann"]])["events"]) == 2
    Roster(database).forget(ids["Ann"])
    assert ids["Ann"] not in votes.ballots(vote.id)[vote.id][1]
    Roster(database).remove(group)
    assert votes.all(group) == []


def test_one_vote_runs_in_a_class_and_none_in_another(
    desk: tuple[Database, Votes, str, dict[str, str]],
) -> None:
    database, votes, group, _ = desk
    other = Roster(database).create("other").id
    first = votes.open(group, OWN)
    second = votes.open(group, asked("layer"))
    running = votes.running(group)
    assert running is not None
    assert running.id == second.id
    assert running.asked == second.asked
    assert [vote.id for vote in votes.all(group)] == [second.id, first.id]
    assert votes.running(other) is None
    assert votes.all(other) == []
    with pytest.raises(InputError):
        votes.change("nobody", phase="over")


def test_a_board_shows_each_class_its_own(
    desk: tuple[Database, Votes, str, dict[str, str]],
) -> None:
    database, votes, group, ids = desk
    other = Roster(database).create("other").id
    board = Board(database)
    assert board.look() == {group, other}
    assert board.look() == set()
    vote = votes.open(group, OWN)
    assert board.look() == {group}
    screen = board.screen(group)["vote"]
    assert (screen["ask"], screen["options"], screen["round"]) == ("Which?", ["a", "b", "c"], 1)
    assert "results" not in screen
    assert "right" not in str(screen)  # nor anything else that would tell the answer
    assert "vote" not in board.screen(other)
    assert board.ballot(group, vote.id, 1, 2) == 2
    for class_id, vote_id, round_ in ((other, vote.id, 1), (group, "x", 1), (group, vote.id, 2)):
        with pytest.raises(InputError, match="closed"):
            board.ballot(class_id, vote_id, round_, 2)
    Progress(database).vote(ids["Ann"], vote.id, 1, 1, "key")
    votes.change(vote.id, phase="talk", shown=True)
    board.look()
    assert board.screen(group)["vote"]["results"] == [
        {"label": "A  a", "right": False, "learners": [0]},
        {"label": "B  b", "right": False, "learners": [1]},
        {"label": "C  c", "right": False, "learners": [0]},
    ]
    votes.change(vote.id, phase="done")  # without a second vote
    board.look()
    bars = board.screen(group)["vote"]["results"]
    assert [bar["right"] for bar in bars] == [False, True, False]
    with pytest.raises(InputError, match="closed"):
        board.ballot(group, vote.id, 1, 2)
    votes.change(vote.id, phase="over")
    board.look()
    assert "vote" not in board.screen(group)


def test_figures_are_covered_where_they_would_tell_what_is_voted_on(
    desk: tuple[Database, Votes, str, dict[str, str]],
) -> None:
    database, votes, group, _ = desk
    board = Board(database)
    steps = [
        (lesson.stem, number, step)
        for lesson in lessons().values()
        for number, step in enumerate(lesson.steps, 1)
        if step.question
    ]
    hidden = next(each for each in steps if each[2].hide)
    seen = next(each for each in steps if not each[2].hide)
    for (stem, number, step), covers in ((hidden, True), (seen, False)):
        asked = Asked(question=step.question, lesson=stem, number=number)
        votes.open(group, asked)
        board.look()
        assert board.screen(group)["vote"]["covers"] is covers
        votes.open(group, asked.model_copy(update={"number": 99}))  # the lesson was made shorter
        board.look()
        assert board.screen(group)["vote"]["covers"] is True
    votes.open(group, OWN)
    board.look()
    assert board.screen(group)["vote"]["covers"] is False


def test_a_call_is_seen_for_a_while_and_can_be_taken_back(
    desk: tuple[Database, Votes, str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database, _, group, _ = desk
    board = Board(database)
    board.look()
    where = {"path": "/scaling", "query": "k=5", "title": "Scaling", "prompt": "<b>"}
    call(database, group, where)
    assert board.look() == {group}
    assert where.items() <= board.screen(group)["call"].items()
    assert Roster(database).called(group) == "Scaling"
    followed = board.screen(group)["call"]["id"]
    for _ in range(2):  # once more is nothing new
        call(database, group, None)
        board.look()
        told = board.screen(group)["call"]
        assert (told["undone"], "title" in told) == (followed, False)
        assert Roster(database).called(group) == ""
    call(database, group, where)
    board.look()
    assert Roster(database).called(group) == "Scaling"
    monkeypatch.setattr("strata.classroom.roster._CALL_LASTS", timedelta(seconds=-1))
    assert "call" not in board.screen(group)
    assert Roster(database).called(group) == ""


def test_closing_and_deleting_a_class_reach_its_screens(
    desk: tuple[Database, Votes, str, dict[str, str]],
) -> None:
    database, _, group, _ = desk
    board, roster = Board(database), Roster(database)
    board.look()
    assert board.screen(group)["closed"] == ""
    roster.change(group, closes=datetime.now(UTC))
    assert board.look() == {group}
    assert "was closed" in board.screen(group)["closed"]
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    roster.change(group, closes=soon)
    assert board.look() == {group}
    assert board.screen(group)["closed"] == ""
    while datetime.now(UTC) < soon:
        assert board.look() in (set(), {group})
    board.look()
    assert "was closed" in board.screen(group)["closed"]  # by the clock
    roster.remove(group)
    assert board.look() == {group}
    assert "deleted" in board.screen(group)["closed"]
    assert board.look() == set()
