"""A full disk: what waits goes into room that was taken beforehand; then it is said, not lost."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from strata.lessons.progress import Progress
from strata.storage import lines
from strata.storage import outbox as outbox_module
from strata.storage.database import Database
from tests.outages import Place, folder_instead_of_file
from tests.storage.test_outbox import at, crash, hasty, until  # noqa: F401

ROOM = 20_000


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A disk that gives no file more room while it is full."""
    state = {"full": False}

    def put(file: int, content: bytes, kept: Callable[..., None] = lines._put) -> None:
        end = os.lseek(file, 0, os.SEEK_CUR) + len(content)
        if state["full"] and end > os.fstat(file).st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept(file, content)

    def reserve(path: Path, room: int, kept: Callable[..., bool] = lines.reserve) -> bool:
        return not state["full"] and kept(path, room)

    monkeypatch.setattr(lines, "_put", put)
    monkeypatch.setattr(lines, "reserve", reserve)
    monkeypatch.setattr(outbox_module, "_ROOM", ROOM)
    return state


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "database").mkdir()
    with folder_instead_of_file(tmp_path / "database") as found:
        yield found


@pytest.fixture
def opened(place: Place, tmp_path: Path) -> Iterator[Callable[[], Progress]]:
    made: list[Progress] = []

    def open_() -> Progress:
        made.append(Progress(Database(place.url), tmp_path / "outbox"))
        return made[-1]

    yield open_
    for each in made:
        each.close()
        each._database.close()


def steps(progress: Progress) -> list[int]:
    return [guess.step for guess in progress.guesses("ann", "first")]


def test_what_waits_goes_into_the_room_that_was_taken(
    disk: dict[str, bool], opened: Callable[[], Progress], place: Place, tmp_path: Path
) -> None:
    progress = opened()
    progress.commit("ann", "first", at(0))
    (room,) = (tmp_path / "outbox").glob("*.room")
    assert room.read_bytes() == bytes(ROOM)
    place.away()
    disk["full"] = True
    for step in range(1, 9):
        progress.commit("ann", "first", at(step))
        assert progress.is_durable
    (file,) = (tmp_path / "outbox").glob("*.jsonl")
    assert file.stat().st_size == ROOM
    assert len(lines.read(file)) == 8
    crash(progress)
    place.back()
    after = opened()
    until(lambda: after.waiting() == 0)
    assert steps(after) == list(range(9))
    assert not file.exists()


def test_the_room_is_there_again_when_all_is_stored(
    disk: dict[str, bool], opened: Callable[[], Progress], place: Place, tmp_path: Path
) -> None:
    progress = opened()
    for round_ in range(3):
        place.away()
        disk["full"] = True
        for step in range(3 - round_):  # fewer than before: no old line may follow a new one
            progress.commit("ann", "first", at(10 * round_ + step))
        assert progress.is_durable
        (file,) = (tmp_path / "outbox").glob("*.jsonl")
        assert len(lines.read(file)) == 3 - round_
        place.back()
        until(lambda: any((tmp_path / "outbox").glob("*.room")))
        (room,) = (tmp_path / "outbox").glob("*.room")
        assert room.read_bytes() == bytes(ROOM)
        shutil.rmtree(tmp_path / "database" / "aside")
    assert steps(progress) == [0, 1, 2, 10, 11, 20]


def test_that_nothing_takes_what_is_done_is_said_once_and_it_is_tried_again(
    disk: dict[str, bool],
    opened: Callable[[], Progress],
    place: Place,
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress = opened()
    progress.commit("ann", "first", at(0))
    place.away()
    disk["full"] = True
    n_kept = 0
    while progress.is_durable:
        n_kept += 1
        assert n_kept < 100
        progress.commit("ann", "first", at(n_kept))
    progress.commit("ann", "first", at(n_kept + 1))
    said = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert len(said) == 1
    assert "lost if this process ends now" in said[0]
    disk["full"] = False
    until(lambda: "kept on the disk again" in caplog.text)
    assert progress.is_durable
    crash(progress)
    place.back()
    after = opened()
    until(lambda: after.waiting() == 0)
    assert steps(after) == list(range(n_kept + 2))


@pytest.mark.parametrize("room_again", [True, False])
def test_at_the_end_it_is_tried_once_more_and_what_is_lost_is_counted(
    room_again: bool,
    disk: dict[str, bool],
    opened: Callable[[], Progress],
    place: Place,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "PAUSE", 60)  # nothing is tried between
    disk["full"] = True
    progress = opened()
    progress.note("ann", "first", 0)
    place.away()
    for step in range(20):
        progress.commit("ann", "first", at(step))
    assert not progress.is_durable
    disk["full"] = not room_again
    progress.close()
    assert ("lost with this process: 20" in caplog.text) is not room_again
    place.back()
    assert steps(opened()) == (list(range(20)) if room_again else [])


def test_room_that_a_killed_process_had_is_given_back(
    opened: Callable[[], Progress], tmp_path: Path
) -> None:
    first = opened()
    (room,) = (tmp_path / "outbox").glob("*.room")
    opened().close()
    assert room.exists()  # its process lives
    crash(first)
    opened().close()
    assert not room.exists()


def test_a_line_that_was_cut_off_spoils_no_other(
    disk: dict[str, bool], opened: Callable[[], Progress], place: Place, tmp_path: Path
) -> None:
    """The next process goes on in the same file, since there is no room for another."""
    first = opened()
    first.note("ann", "first", 0)
    place.away()
    first.commit("ann", "first", at(1))
    (file,) = (tmp_path / "outbox").glob("*.jsonl")
    whole = len(file.read_bytes().rstrip(b"\0"))
    assert lines.write(file, b'{"learner": "ann", "rows', whole)
    crash(first)
    disk["full"] = True
    second = opened()
    assert second.waiting() == 1
    second.commit("ann", "first", at(2))
    assert second.is_durable
    crash(second)
    place.back()
    third = opened()
    until(lambda: third.waiting() == 0)
    assert steps(third) == [1, 2]


def test_more_than_the_room_is_not_written_anew_with_each_change(
    disk: dict[str, bool],
    opened: Callable[[], Progress],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progress = opened()
    progress.note("ann", "first", 0)
    outbox, anew = progress._outbox, []
    assert outbox
    written = outbox._written_anew
    monkeypatch.setattr(outbox, "_written_anew", lambda: (anew.append(1), written())[1])
    place.away()
    for step in range(1, 100):
        progress.note("ann", "first", step, observation="x" * 1_000)
    assert progress.is_durable
    assert outbox._grown > 4 * ROOM
    assert len(anew) < 10


def test_what_has_no_room_leaves_the_room_that_is_there(
    tmp_path: Path, disk: dict[str, bool]
) -> None:
    """And nothing of itself."""
    file = tmp_path / "x"
    assert lines.reserve(file, 1_000)
    assert lines.write(file, b"one\n", 0)
    disk["full"] = True
    assert not lines.write(file, b"x" * 2_000, 4)
    assert file.read_bytes() == b"one\n" + bytes(996)
    assert lines.write(file, b"two\n", 4)
    assert lines.read(file) == [b"one", b"two"]
