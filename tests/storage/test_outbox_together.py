"""Changes that come at once share a transaction, and each is told its own fate."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest
from sqlalchemy.orm import Session

from strata.storage.database import AwayError, Database
from strata.storage.outbox import Letter, Outbox

PATIENCE = 10  # seconds until a test that hangs is called a failure


class Store:
    """Notes what is stored by which transaction; the first one waits until it is let go."""

    def __init__(self, fails: Callable[[int], None] = lambda number: None) -> None:
        self.fails = fails
        self.sessions: list[Session] = []
        self.stored: list[tuple[int, int]] = []  # transaction, letter
        self.begun, self.go = Event(), Event()

    def __call__(self, session: Session, letter: Letter) -> None:
        if session not in self.sessions:
            self.sessions.append(session)
        self.begun.set()
        assert self.go.wait(PATIENCE)
        self.fails(letter["number"])
        self.stored.append((self.sessions.index(session), letter["number"]))


def written(outbox: Outbox, store: Store, n: int) -> dict[int, Exception | None]:
    """What `n` threads hear that write at once, while the change of another is being made."""
    heard: dict[int, Exception | None] = {}

    def write(number: int) -> None:
        try:
            outbox.write({"learner": f"{number}", "number": number})
            heard[number] = None
        except Exception as error:
            heard[number] = error

    threads = [Thread(target=write, args=(number,)) for number in range(n)]
    threads[0].start()
    assert store.begun.wait(PATIENCE)
    for each in threads[1:]:
        each.start()
    while len(outbox._asked) < n - 1:
        assert threads[0].is_alive()
    store.go.set()
    for each in threads:
        each.join(PATIENCE)
    assert len(heard) == n, "nobody waits for ever"
    return heard


@pytest.fixture
def database(tmp_path: Path) -> Database:
    opened = Database(tmp_path / "a.sqlite")
    with opened.session(write=True):
        pass  # its tables are made before anything is timed
    return opened


def test_a_class_that_answers_at_once_is_stored_in_a_few_transactions(
    database: Database, tmp_path: Path
) -> None:
    store = Store()
    outbox = Outbox(database, tmp_path / "outbox", store)
    assert set(written(outbox, store, 150).values()) == {None}
    assert sorted(number for _, number in store.stored) == list(range(150))
    assert {transaction for transaction, _ in store.stored} == {0, 1, 2}  # 1, then 100 and 49
    outbox.close()


def test_one_that_is_refused_is_told_so_and_no_other(database: Database, tmp_path: Path) -> None:
    def fails(number: int) -> None:
        if number in (0, 7):
            raise ValueError(f"not {number}")

    store = Store(fails)
    outbox = Outbox(database, tmp_path / "outbox", store)
    heard = written(outbox, store, 20)
    assert {n: str(error) for n, error in heard.items() if error} == {0: "not 0", 7: "not 7"}
    assert {number for _, number in store.stored} == set(range(20)) - {0, 7}
    assert outbox.waiting() == 0
    outbox.close()


def test_what_cannot_be_stored_now_is_kept_by_each(database: Database, tmp_path: Path) -> None:
    def fails(number: int) -> None:
        raise AwayError("away")

    store = Store(fails)
    outbox = Outbox(database, tmp_path / "outbox", store)
    assert set(written(outbox, store, 20).values()) == {None}
    assert outbox.waiting() == 20
    assert all(outbox.waiting(f"{number}") == 1 for number in range(20))
    assert outbox.is_durable
    store.fails = lambda number: None
    until = time.monotonic() + PATIENCE
    while outbox.waiting():
        assert time.monotonic() < until
        outbox.flush()
        time.sleep(0.05)
    outbox.close()
    assert {number for _, number in store.stored} == set(range(20))
