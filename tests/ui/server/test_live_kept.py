"""A ballot while the database is away, the server begins, or an answer is lost: what its browser is
told, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from strata.classroom.board import Board
from strata.classroom.roster import Class, Roster
from strata.classroom.votes import Votes
from strata.classroom.wall import hide_names
from strata.errors import StrataError
from strata.lessons.progress import Progress
from strata.storage.database import AwayError, Database
from strata.ui.server import door, live
from tests.ui.server.test_live import OWN, ballot, client, group, seated

__all__ = ["client", "group"]


def test_who_comes_back_is_shown_a_ballot_that_waits(
    client: TestClient,
    group: Class,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it looks lost, on another computer, and is given once more."""
    assert live.desk
    ann, _ = seated(client, group, "Ann")
    vote = Votes(database).open(group.id, OWN)
    progress = Progress(database, tmp_path / "outbox")
    monkeypatch.setattr(live.desk, "progress", progress)
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass
    assert client.post("/live/vote", content=ballot(vote.id, guess=0), headers=ann).is_success

    def away(*_: object) -> Any:
        raise AwayError("It is away.")

    with monkeypatch.context() as patch:
        assert progress._outbox
        patch.setattr(progress._outbox, "_send", away)
        changed = ballot(vote.id, guess=1, key="another-key")
        assert client.post("/live/vote", content=changed, headers=ann).is_success
        assert progress.waiting() == 1
        with client.websocket_connect("/live", headers=ann) as socket:
            assert socket.receive_json()["mine"] == {"1": 1}
        patch.setattr(progress, "ballots", away)
        with client.websocket_connect("/live", headers=ann) as socket:
            assert "mine" not in socket.receive_json()
    progress.close()


def test_a_database_that_is_away_asks_for_another_try(
    client: TestClient, group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, _ = seated(client, group, "Ann")
    vote = Votes(database).open(group.id, OWN)
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass
        assert live.desk is not None

        def away(*_: object) -> None:
            raise StrataError("It is away.")

        monkeypatch.setattr(live.desk.progress, "vote", away)
        sent = client.post("/live/vote", content=ballot(vote.id), headers=ann)
        assert sent.status_code == 503
        assert "Not kept yet" in sent.json()["wrong"]


def test_a_server_that_does_not_know_yet_asks_for_another_try(
    client: TestClient, group: Class, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart, say: a browser that is told no gives its ballot up."""
    ann, ann_id = seated(client, group, "Ann")
    vote = Votes(database).open(group.id, OWN)
    here = live.desk
    assert here
    monkeypatch.setattr(live, "desk", None)
    assert client.post("/live/vote", content=ballot(vote.id), headers=ann).status_code == 503
    monkeypatch.setattr(live, "desk", live.Desk(Board(database), *_others(here)))
    assert client.post("/live/vote", content=ballot(vote.id), headers=ann).status_code == 503
    assert live.desk
    live.desk.board.look()
    assert client.post("/live/vote", content=ballot(vote.id), headers=ann).status_code == 200
    assert Votes(database).ballots(vote.id)[vote.id][1] == {ann_id: 1}

    def away(*_: object) -> None:
        raise AwayError("It is away.")

    monkeypatch.setattr(door.Reception, "seated", away)
    with pytest.raises(AwayError):
        door.reception.seated("x")  # type: ignore[union-attr]
    assert client.post("/live/vote", content=ballot(vote.id), headers=ann).status_code == 503


def _others(here: live.Desk) -> tuple[Votes, Progress, Roster]:
    return here.votes, here.progress, here.roster


@pytest.mark.parametrize("waits", [False, True])
def test_a_ballot_that_was_kept_is_not_called_closed_when_it_is_sent_again(
    client: TestClient,
    group: Class,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waits: bool,
) -> None:
    """The answer was lost on its way, and the teacher has closed the vote meanwhile."""
    assert live.desk
    ann, _ = seated(client, group, "Ann")
    bob, _ = seated(client, group, "Bob")
    votes = Votes(database)
    vote = votes.open(group.id, OWN)
    progress = Progress(database, tmp_path / "outbox")
    monkeypatch.setattr(live.desk, "progress", progress)
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass

        def away(letters: object) -> None:
            raise AwayError("It is away.")

        with monkeypatch.context() as patch:
            assert progress._outbox
            if waits:
                patch.setattr(progress._outbox, "_send", away)
            assert (
                client.post("/live/vote", content=ballot(vote.id), headers=ann).status_code == 200
            )
            assert progress.waiting() == waits
            votes.change(vote.id, phase="talk")
            while socket.receive_json()["vote"]["phase"] != "talk":
                pass
            again = client.post("/live/vote", content=ballot(vote.id), headers=ann)
            assert (again.status_code, again.json()) == (200, {"kept": True})
            for late in (ballot(vote.id, key="another-key"), ballot(vote.id, round_=2)):
                assert client.post("/live/vote", content=late, headers=ann).status_code == 409
            assert (
                client.post("/live/vote", content=ballot(vote.id), headers=bob).status_code == 409
            )
    progress.close()
    assert [len(cast) for cast in votes.ballots(vote.id)[vote.id].values()] == [1, 0]


def test_a_ballot_in_memory_only_is_not_called_kept_and_waits_once(
    client: TestClient,
    group: Class,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the database nor the disk can be written: the browser goes on trying."""
    assert live.desk
    (tmp_path / "outbox").write_text("in the way")
    progress = Progress(database, tmp_path / "outbox")
    monkeypatch.setattr(live.desk, "progress", progress)
    assert progress._outbox
    ann, _ = seated(client, group, "Ann")
    vote = Votes(database).open(group.id, OWN)
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass

        def away(letters: object) -> None:
            raise AwayError("It is away.")

        monkeypatch.setattr(progress._outbox, "_send", away)
        for _ in range(3):
            sent = client.post("/live/vote", content=ballot(vote.id), headers=ann)
            assert sent.status_code == 503
            assert "Not kept yet" in sent.json()["wrong"]
        assert progress.waiting() == 1
        monkeypatch.undo()
        (tmp_path / "outbox").unlink()
    progress.close()
    assert progress.waiting() == 0


def test_a_ballot_of_the_one_before_is_not_the_next_ones(
    client: TestClient, group: Class, database: Database
) -> None:
    """On a shared computer a page of Ann's may still be open when Ben sits down there."""
    vote = Votes(database).open(group.id, OWN)
    ann, ann_id = seated(client, group, "Ann")
    ben, _ = seated(client, group, "Ben")
    with client.websocket_connect("/live", headers=ann) as socket:
        while "vote" not in socket.receive_json():
            pass
    anns = json.dumps({**json.loads(ballot(vote.id)), "who": ann_id})
    refused = client.post("/live/vote", content=anns, headers=ben)
    assert (refused.status_code, "reload" in refused.text) == (409, True)
    assert client.post("/live/vote", content=anns, headers=ann).status_code == 200
    assert Votes(database).ballots(vote.id)[vote.id] == {1: {ann_id: 1}, 2: {}}


def test_a_ballot_from_a_page_of_another_site_is_refused(
    client: TestClient, group: Class, database: Database
) -> None:
    vote = Votes(database).open(group.id, OWN)
    ann, _ = seated(client, group, "Ann")
    for origin in ("https://evil.example", "null"):
        sent = client.post("/live/vote", content=ballot(vote.id), headers={**ann, "origin": origin})
        assert sent.status_code == 403
    assert Votes(database).ballots(vote.id)[vote.id][1] == {}


def test_who_is_numbered_on_the_wall_is_told_the_number(
    client: TestClient, group: Class, database: Database
) -> None:
    """And the new one when somebody before them is deleted."""
    _, ann_id = seated(client, group, "Ann")
    ben, _ = seated(client, group, "Ben")
    with client.websocket_connect("/live", headers=ben) as socket:
        for act, called in (
            (lambda: hide_names(database, group.id, True), "Learner 2"),
            (lambda: Roster(database).forget(ann_id), "Learner 1"),
            (lambda: hide_names(database, group.id, False), None),
        ):
            act()
            while (heard := socket.receive_json().get("called")) != called:
                pass
            assert heard == called
