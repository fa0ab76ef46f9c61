"""Two pages run at once; who waits for something lets others go on; nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Queue

import pytest

from strata.ui.server import turns

LONG = 10.0  # seconds until a test that hangs is called a failure


@pytest.fixture(autouse=True)
def _new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_line", turns.Line(turns._AT_ONCE))
    monkeypatch.setattr(turns, "_PATIENCE", LONG)


@pytest.fixture
def run() -> Iterator[Callable[..., Future[None]]]:
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit


@contextmanager
def turn() -> Iterator[None]:
    turns.take()
    try:
        yield
    finally:
        turns.give_back()


def left() -> int:
    """How many turns could be had now."""
    return turns._line.free


def here() -> int:
    """How many hold a turn or wait for one."""
    return turns._AT_ONCE - left() + len(turns._line._waiting)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_two_run_at_once_and_the_others_in_the_order_in_which_they_came(
    run: Callable[..., Future[None]],
) -> None:
    inside, go_on = Queue[int](), threading.Semaphore(0)

    def page(number: int) -> None:
        with turn():
            inside.put(number)
            assert go_on.acquire(timeout=LONG)

    done = []
    for number in range(6):
        done.append(run(page, number))
        until(lambda n=number + 1: here() == n)  # type: ignore[misc]
    assert {inside.get(timeout=LONG) for _ in range(2)} == {0, 1}
    with pytest.raises(Empty):
        inside.get(timeout=0.1)
    for number in range(2, 6):
        go_on.release()
        assert inside.get(timeout=LONG) == number
    go_on.release(2)
    for each in done:
        each.result(LONG)
    assert left() == turns._AT_ONCE


def test_who_waits_for_the_model_lets_others_run(run: Callable[..., Future[None]]) -> None:
    ran, answered = threading.Event(), threading.Semaphore(0)

    def waits() -> None:
        with turn(), turns.let_others():
            assert answered.acquire(timeout=LONG)

    def page() -> None:
        with turn():
            ran.set()

    waiting = [run(waits) for _ in range(2 * turns._AT_ONCE)]
    run(page)
    assert ran.wait(LONG)
    answered.release(len(waiting))
    for each in waiting:
        each.result(LONG)
    assert left() == turns._AT_ONCE


def test_a_wait_that_ends_in_an_error_does_not_wait_for_a_turn() -> None:
    with turn():
        with pytest.raises(KeyError), turns.let_others():
            raise KeyError
        assert left() == turns._AT_ONCE
    assert left() == turns._AT_ONCE


def test_a_turn_inside_of_a_turn_is_the_same() -> None:
    with turn():
        turns.take()
        assert left() == turns._AT_ONCE - 1
        with turns.let_others():
            assert left() == turns._AT_ONCE
        assert left() == turns._AT_ONCE - 1
    assert left() == turns._AT_ONCE


def test_outside_of_a_server_there_are_no_turns() -> None:
    with turns.let_others():
        assert left() == turns._AT_ONCE
    assert left() == turns._AT_ONCE


def test_nobody_waits_for_pages_that_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 0.01)
    for _ in range(turns._AT_ONCE):
        assert turns._line.take()
    with turn(), turns.let_others():
        pass
    assert left() == 0  # what was not had is not given back
    assert not turns._line._waiting


def test_who_waits_in_a_line_that_moves_stays_in_it(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Future[bool]]
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 1.0)
    for _ in range(turns._AT_ONCE):
        assert turns._line.take()
    waiting = [run(turns._line.take) for _ in range(6)]
    for n in range(6):
        until(lambda n=n: sum(each.done() for each in waiting) == n)  # type: ignore[misc]
        time.sleep(0.3)  # six of these are longer than the patience, one is not
        turns._line.give_back()
    assert [each.result(LONG) for each in waiting] == [True] * 6
