"""Two pages run at once; who waits for something lets others go on; nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, Queue
from types import SimpleNamespace
from typing import Any

import pytest

from strata.engine import Job
from strata.ui.anatomy import ask, made
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
    for whose in range(turns._AT_ONCE):
        assert turns._line.take(str(whose))
    with turn(), turns.let_others():
        pass
    assert left() == 0  # what was not had is not given back
    assert not turns._line._waiting


def test_who_waits_in_a_line_that_moves_stays_in_it(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Future[Any]]
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE", 1.0)
    held = [turns._line.take(f"first {n}") for n in range(turns._AT_ONCE)]
    waiting = [run(turns._line.take, str(n)) for n in range(6)]
    for n in range(6):
        until(lambda n=n: sum(each.done() for each in waiting) == n)  # type: ignore[misc]
        time.sleep(0.3)  # six of these are longer than the patience, one is not
        turn = held.pop(0)
        assert turn
        turns._line.give_back(turn)
        held.append(waiting[n].result(LONG))
    assert all(each.result(LONG) for each in waiting)


def test_a_learner_with_many_tabs_has_one_turn(run: Callable[..., Future[Any]]) -> None:
    """Of all of Eve's pages one runs, and Ann's goes at once."""
    line = turns._line
    eves = [run(line.take, "Eve") for _ in range(6)]
    until(lambda: here() == 6)
    assert sum(each.done() for each in eves) == 1
    assert run(line.take, "Ann").result(LONG)
    while eves:
        until(lambda: any(each.done() for each in eves))
        done = next(each for each in eves if each.done())
        eves.remove(done)
        line.give_back(done.result())


def test_next_is_who_has_had_least_lately(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Future[Any]]
) -> None:
    line = turns._line
    line._had = {"Eve": (1.5, time.monotonic()), "Ben": (0.2, time.monotonic())}
    held = [line.take("Tom"), line.take("Uma")]
    eve = run(line.take, "Eve")
    until(lambda: here() == 3)
    ben = run(line.take, "Ben")
    until(lambda: here() == 4)
    line.give_back(held[0])
    assert ben.result(LONG), "though Eve came before"
    assert not eve.done()
    line.give_back(held[1])
    assert eve.result(LONG)


def test_who_has_had_much_stands_back_while_others_run(
    monkeypatch: pytest.MonkeyPatch, run: Callable[..., Future[Any]]
) -> None:
    """Also in the middle of a page, between two of its elements."""
    line, drawn, go_on = turns._line, Queue[int](), threading.Semaphore(0)
    line._had = {"Eve": (turns._MUCH + 1, time.monotonic())}

    def page() -> None:
        turns.take("Eve")
        for number in range(3):
            assert go_on.acquire(timeout=LONG)
            turns.stand_back()
            drawn.put(number)
        turns.give_back()

    eve = run(page)
    go_on.release()
    assert drawn.get(timeout=LONG) == 0, "nobody else wants it"
    anns = line.take("Ann")
    assert anns
    go_on.release()
    until(lambda: bool(line._waiting))
    assert drawn.empty()
    line.give_back(anns)
    assert drawn.get(timeout=LONG) == 1
    go_on.release()
    eve.result(LONG)
    assert left() == turns._AT_ONCE


def test_what_takes_long_on_a_page_is_begun_by_who_may(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()
    monkeypatch.setattr(turns, "stand_back", lambda: said.append("stands back"))
    monkeypatch.setattr(ask, "learner", lambda: "ann")
    desk = SimpleNamespace(submit=lambda job, **more: said.append("asks"))
    monkeypatch.setattr(ask, "engine", lambda: desk)
    ask._submitted(Job(view="run.tokens", model="m", prompt="p"))
    for _ in range(2):
        made.made(("of", "this test"), lambda: said.append("makes") or 1)  # type: ignore[func-returns-value]
    assert said == ["stands back", "asks", "stands back", "makes"]


def test_what_one_of_many_had_all_have_had(run: Callable[..., Future[Any]]) -> None:
    """Names cost nothing: twelve of them together have the turns of one."""
    line, now = turns._line, time.monotonic()
    eves = [f"eve{n}" for n in range(3)]
    for each in eves:
        turns.count_as_one(each, "new")
    line._had = {"new": (turns._MUCH + 1, now), "eve0": (0.1, now), "eve1": (1.0, now)}
    held = [line.take("eve2"), line.take("Ann")]
    waiting = {}
    for n, whose in enumerate(("eve1", "eve0", "Ben"), 1):
        waiting[whose] = run(line.take, whose)
        until(lambda n=n: here() == 2 + n)  # type: ignore[misc]
    assert held[0]
    assert line.is_in_the_way(held[0]), "Ann's page runs"
    assert held[1]
    assert not line.is_in_the_way(held[1])
    line.give_back(held[0])
    ben = waiting.pop("Ben").result(LONG)
    assert not any(each.done() for each in waiting.values())
    line.give_back(held[1])
    line.give_back(ben)
    mine = waiting["eve0"].result(LONG)  # of them who has had least
    assert not line.is_in_the_way(mine)
    line.give_back(mine)
    line.give_back(waiting["eve1"].result(LONG))

    turns.count_as_one("eve0", "eve0")
    alone = line.take("eve0")
    assert alone
    assert alone.counts_as == "eve0"
    line.give_back(alone)


def test_what_somebody_had_is_forgotten() -> None:
    line, now = turns._line, time.monotonic()
    line._had = {"Eve": (8.0, now)}
    assert line._lately("Eve", now + 2 * turns._LATELY) < turns._MUCH
    line._had = {str(n): (1.0, now - 100 * turns._LATELY) for n in range(turns._KNOWN + 1)}
    turn = line.take("Ann")
    assert turn
    line.give_back(turn)
    assert set(line._had) == {"Ann"}
