"""Two pages run at once; who waits for something lets others go on; nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from strata.ui import turns

LONG = 10.0  # seconds until a test that hangs is called a failure


@pytest.fixture(autouse=True)
def _new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_turns", threading.Semaphore(turns._AT_ONCE))
    monkeypatch.setattr(turns, "_PATIENCE", LONG)


@pytest.fixture
def run() -> Iterator[Callable[..., object]]:
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


def left() -> int:
    """How many turns could be had now."""
    return turns._turns._value


def test_two_run_at_once_and_the_next_when_one_is_done(run: Callable[..., object]) -> None:
    inside, go_on = threading.Semaphore(0), threading.Semaphore(0)

    def page() -> None:
        with turns.turn():
            inside.release()
            assert go_on.acquire(timeout=LONG)

    for _ in range(4):
        run(page)
    assert all(inside.acquire(timeout=LONG) for _ in range(2))
    assert not inside.acquire(timeout=0.1)
    go_on.release()
    assert inside.acquire(timeout=LONG)
    assert not inside.acquire(timeout=0.1)
    go_on.release(3)
    assert inside.acquire(timeout=LONG)


def test_who_waits_for_the_model_lets_others_run(run: Callable[..., object]) -> None:
    ran, answered = threading.Event(), threading.Semaphore(0)

    def waits() -> None:
        with turns.turn(), turns.let_others():
            assert answered.acquire(timeout=LONG)

    def page() -> None:
        with turns.turn():
            ran.set()

    waiting = [run(waits) for _ in range(2 * turns._AT_ONCE)]
    run(page)
    assert ran.wait(LONG)
    answered.release(len(waiting))
    assert [each.result(LONG) for each in waiting] == [None] * len(waiting)  # type: ignore[attr-defined]
    assert left() == turns._AT_ONCE


def test_a_page_that_ends_in_an_error_gives_its_turn_back() -> None:
    for _ in range(2 * turns._AT_ONCE):
        with pytest.raises(KeyError), turns.turn(), turns.let_others():
            raise KeyError
    assert left() == turns._AT_ONCE


def test_a_turn_inside_of_a_turn_is_the_same() -> None:
    with turns.turn():
        with turns.turn():
            assert left() == turns._AT_ONCE - 1
        assert left() == turns._AT_ONCE - 1
        with turns.let_others():
            assert left() == turns._AT_ONCE
    assert left() == turns._AT_ONCE


def test_outside_of_a_server_there_are_no_turns() -> None:
    with turns.let_others():
        assert left() == turns._AT_ONCE
    assert left() == turns._AT_ONCE


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.01)
    for _ in range(turns._AT_ONCE):
        turns._turns.acquire()  # by pages that hang
    with turns.turn(), turns.let_others():
        pass
    assert left() == 0  # what was not had is not given back
