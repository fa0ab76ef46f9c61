"""While the database is away nothing is lost, nothing comes twice, and the order stays."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from strata.errors import StrataError
from strata.lessons import progress as progress_module
from strata.lessons.progress import Guess, Progress
from strata.storage import database as database_module
from strata.storage import outbox as outbox_module
from strata.storage.database import Database
from strata.storage.outbox import Outbox
from tests.databases import KINDS, Server, own_server
from tests.lessons.test_progress import GUESS
from tests.outages import WAYS, Place, folder_instead_of_file, stopped_server

PAUSE = database_module.PAUSE


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for another writer, or long for a database; look things up each time."""
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 1)
    monkeypatch.setattr(database_module, "PAUSE", 0.1)
    monkeypatch.setattr(outbox_module, "PAUSE", 0.1)
    monkeypatch.setattr(progress_module, "FRESH", 0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    folder = tmp_path / "database"
    folder.mkdir()
    with WAYS[request.param](folder, lambda: request.getfixturevalue("server")) as place:
        yield place


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Progress]]:
    """`opened(url)`: the progress that a process of its own would have."""
    made: list[Progress] = []

    def open_(url: str, folder: Path = tmp_path / "outbox") -> Progress:
        made.append(Progress(Database(url), folder))
        return made[-1]

    yield open_
    for each in made:
        each.close()
        each._database.close()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this did not come true"
        time.sleep(0.05)


def at(step: int) -> Guess:
    return replace(GUESS, step=step)


def crash(progress: Progress) -> None:
    """End as a killed process would: nothing more is sent, its lock is free."""
    assert progress._outbox is not None
    progress._outbox._closed.set()
    progress._outbox._wake.set()
    with progress._outbox._lock:
        if progress._outbox._held is not None:
            progress._outbox._held.release()


def test_a_lesson_goes_on_and_all_is_stored(
    way: Place, opened: Callable[..., Progress], tmp_path: Path
) -> None:
    progress = opened(way.url)
    progress.commit("ann", "first", at(0))
    assert progress.guesses("ann", "first") == [at(0)]
    assert not progress.is_away
    way.away()
    for step in range(1, 4):
        progress.note("ann", "first", step)
        progress.commit("ann", "first", at(step))
        progress.commit("ann", "first", replace(at(step), guess="another"))
        assert progress.guesses("ann", "first") == [at(n) for n in range(step + 1)]
    progress.note("ann", "first", 3, hints=1, observation="It bends. \0\ud83d")
    progress.note("ann", "first", 3, run={"L": 1}, code="old")
    progress.note("ann", "first", 3, run={"L": 2})
    progress.note("bob", "first", 0)
    assert progress.is_away
    assert progress.is_durable
    assert progress.waiting("bob") == 1
    assert progress.waiting() == progress.waiting("ann") + 1
    note = progress.notes("ann", "first", drawn=True)[3]
    assert (note.hints, note.observation, note.run) == (1, "It bends. \0\ud83d", {"L": 2})
    way.back()
    until(lambda: not progress.is_away)
    for reader in (progress, opened(way.url, tmp_path / "elsewhere")):
        assert reader.guesses("ann", "first") == [at(n) for n in range(4)]
        assert reader.notes("ann", "first", drawn=True)[3] == replace(note, code="old")
    told = [("ann", 0, "guess")]
    for step in range(1, 4):
        told += [("ann", step, "visit"), ("ann", step, "guess")]
    told += [("ann", 3, "hint"), ("ann", 3, "observation"), ("bob", 0, "visit")]
    assert way.events() == told
    progress.commit("ann", "first", at(4))
    assert way.events() == [*told, ("ann", 4, "guess")]
    until(lambda: not list((tmp_path / "outbox").glob("*.jsonl")))


def test_a_restart_replays_what_waited(
    way: Place, opened: Callable[..., Progress], tmp_path: Path
) -> None:
    first = opened(way.url)
    first.commit("ann", "first", at(0))
    way.away()
    for step in (1, 2):
        first.commit("ann", "first", at(step))
    crash(first)
    with next((tmp_path / "outbox").glob("*.jsonl")).open("ab") as file:
        file.write(b'{"learner": "ann", "tab')  # killed in the middle of a line
    second = opened(way.url)
    assert second.waiting("ann") == 2
    assert second.guesses("ann", "first")[-2:] == [at(1), at(2)]
    second.commit("ann", "first", at(3))
    way.back()
    until(lambda: not second.is_away)
    assert [step for _, step, _ in way.events()] == [0, 1, 2, 3]
    until(lambda: not list((tmp_path / "outbox").glob("*.jsonl")))


@pytest.fixture(params=KINDS)
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """One way for each kind of database."""
    way = stopped_server if request.param == "postgresql" else folder_instead_of_file
    folder = tmp_path / "database"
    folder.mkdir()
    with way(folder, lambda: request.getfixturevalue("server")) as place:
        yield place


def test_processes_share_a_folder_without_clash(
    shared: Place,
    opened: Callable[..., Progress],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox_module, "_IDLE", 0.2)
    one, two = opened(shared.url), opened(shared.url)
    one.note("ann", "first", 0)
    shared.away()
    one.commit("ann", "first", at(1))
    two.commit("bob", "first", at(1))
    assert len(list((tmp_path / "outbox").glob("*.jsonl"))) == 2
    assert (one.waiting(), two.waiting()) == (1, 1), "each leaves alone what the other holds"
    crash(two)
    until(lambda: one.waiting() == 2)  # and takes it once the other is gone
    shared.back()
    until(lambda: not one.is_away)
    assert sorted(shared.events()) == [
        ("ann", 0, "visit"),
        ("ann", 1, "guess"),
        ("bob", 1, "guess"),
    ]


def test_another_databases_outbox_is_left_alone(
    opened: Callable[..., Progress], tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with folder_instead_of_file(tmp_path / "one") as place:
        first = opened(place.url)
        first.note("ann", "first", 0)
        place.away()
        first.note("ann", "first", 1)
        crash(first)
        other = opened(str(tmp_path / "two" / "strata.sqlite"))
        assert other.waiting() == 0


def test_a_killed_process_leaves_its_answers(tmp_path: Path) -> None:
    """A real process, killed while the database is away."""
    file = tmp_path / "strata.sqlite"
    file.mkdir()
    program = f"""
from pathlib import Path
from strata.storage.database import Database
from strata.lessons.progress import Progress
progress = Progress(Database({str(file)!r}), Path({str(tmp_path / "outbox")!r}))
for step in range(3):
    progress.note("ann", "first", step)
print("kept", flush=True)
input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    assert process.stdout.readline() == "kept\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    file.rmdir()
    progress = Progress(Database(file), tmp_path / "outbox")
    until(lambda: progress.waiting() == 0)
    assert list(progress.notes("ann", "first")) == [0, 1, 2]
    progress.close()


def test_what_is_deleted_stays_deleted(shared: Place, opened: Callable[..., Progress]) -> None:
    progress = opened(shared.url)
    for lesson in ("first", "second"):
        progress.commit("ann", lesson, at(0))
    shared.away()
    progress.commit("ann", "first", at(1))
    progress.forget("ann", "first")
    assert progress.guesses("ann", "first") == []
    progress.commit("ann", "first", at(2))
    assert progress.guesses("ann", "first") == [at(2)]
    shared.back()
    until(lambda: not progress.is_away)
    assert progress.guesses("ann", "first") == [at(2)]
    assert shared.events() == [("ann", 0, "guess"), ("ann", 2, "guess")]


def test_without_a_disk_it_is_memory_and_said(
    shared: Place, opened: Callable[..., Progress], tmp_path: Path
) -> None:
    folder = tmp_path / "outbox"
    folder.write_text("in the way")
    progress = opened(shared.url)
    progress.note("ann", "first", 0)
    shared.away()
    progress.commit("ann", "first", at(1))
    assert progress.guesses("ann", "first") == [at(1)]
    assert not progress.is_durable
    folder.unlink()
    until(lambda: progress.is_durable)
    crash(progress)
    shared.back()
    after = opened(shared.url)
    until(lambda: after.waiting() == 0)
    assert after.guesses("ann", "first") == [at(1)]


def test_one_that_is_refused_does_not_stop_the_others(
    shared: Place, opened: Callable[..., Progress], tmp_path: Path
) -> None:
    progress = opened(shared.url)
    progress.note("ann", "first", 0)
    shared.away()
    progress.note("ann", "first", 1)
    outbox = progress._outbox
    assert isinstance(outbox, Outbox)
    outbox.write({"learner": "ann", "table": "nowhere", "rows": [], "changed": []})
    progress.note("ann", "first", 2)
    shared.back()
    until(lambda: not progress.is_away)
    assert [step for _, step, _ in shared.events()] == [0, 1, 2]
    (aside,) = (tmp_path / "outbox").glob("*-refused.txt")
    assert "nowhere" in aside.read_text()


def test_only_the_last_of_what_is_replaced_waits(
    shared: Place, opened: Callable[..., Progress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_ROOM", 20_000)
    progress = opened(shared.url)
    progress.note("ann", "first", 0)
    shared.away()
    for number in range(50):
        progress.note("ann", "first", 0, figure=f"{number:5}" + "x" * 1_000)
    assert progress.waiting() == 1
    (file,) = (tmp_path / "outbox").glob("*.jsonl")
    assert file.stat().st_size < 25_000
    shared.back()
    until(lambda: not progress.is_away)
    assert progress.notes("ann", "first", drawn=True)[0].figure.startswith("   49")


def test_a_bug_is_not_taken_for_an_outage(database: Database, tmp_path: Path) -> None:
    progress = Progress(database, tmp_path / "outbox")
    progress.note("ann", "first", 0)
    assert progress._outbox is not None
    row = {"key": "k", "learner": "ann", "lesson": "first", "step": None, "kind": "k", "data": "{}"}
    letter = {"learner": "ann", "table": "events", "rows": [row], "changed": []}
    with pytest.raises(StrataError) as caught:
        progress._outbox.write(letter)
    assert not isinstance(caught.value, database_module.AwayError)
    assert progress.waiting() == 0
    assert not progress.is_away
    progress.close()


def test_a_file_that_was_deleted_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "strata.sqlite"
    progress = Progress(Database(file), tmp_path / "outbox")
    progress.note("ann", "first", 0)
    for each in tmp_path.glob("strata.sqlite*"):
        each.unlink()
    progress.note("ann", "first", 1)
    until(lambda: not progress.is_away)
    assert Progress(Database(file)).notes("ann", "first").keys() == {1}
    progress.close()


def test_a_server_that_does_not_answer_is_an_error_soon(
    opened: Callable[..., Progress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address at which packets vanish; after the first caller nobody waits for it."""
    import socket

    for module in (database_module, outbox_module):
        monkeypatch.setattr(module, "PAUSE", PAUSE)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(1)  # takes connections and says nothing
        port = silent.getsockname()[1]
        progress = opened(f"postgresql://strata@127.0.0.1:{port}/postgres")
        begun = time.monotonic()
        progress.note("ann", "first", 0)
        assert time.monotonic() - begun < database_module.LOST_SECONDS + 2
        begun = time.monotonic()
        for step in range(1, 20):
            progress.note("ann", "first", step)
        assert time.monotonic() - begun < 2
        assert progress.waiting("ann") == 20


def test_memory_heals_from_what_another_process_did(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "FRESH", 0.3)
    here, there = Progress(database), Progress(database)
    here.commit("ann", "first", at(0))
    assert here.guesses("ann", "first") == there.guesses("ann", "first") == [at(0)]
    there.commit("ann", "first", at(1))
    assert there.guesses("ann", "first") == [at(0), at(1)]
    until(lambda: here.guesses("ann", "first") == [at(0), at(1)], 3)
    there.forget("ann", "first")
    until(lambda: here.guesses("ann", "first") == [], 3)


def test_one_look_at_the_database_for_many_readings(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "FRESH", 60.0)
    progress, looks = Progress(database), []
    progress.commit("ann", "first", at(0))
    session = database.session

    def counted(write: bool = False):  # type: ignore[no-untyped-def]
        looks.append(write)
        return session(write)

    monkeypatch.setattr(database, "session", counted)
    for lesson in ("first", "second", "first"):
        progress.guesses("ann", lesson)
        progress.notes("ann", lesson)
    assert looks == [False]
    progress.commit("ann", "second", at(0))
    assert progress.guesses("ann", "second") == [at(0)]
    assert looks == [False, True]
