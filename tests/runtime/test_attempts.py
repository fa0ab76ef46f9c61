"""What may be tried comes back with time."""

from __future__ import annotations

import pytest

from strata.runtime.attempts import Attempts


def test_attempts_come_back_with_time_and_are_counted_apart() -> None:
    now = 100.0
    attempts = Attempts(3, 10.0, lambda: now)
    for _ in range(3):
        assert attempts.wait("ann") == 0
        attempts.take("ann")
    assert attempts.wait("ann") == pytest.approx(10)
    assert attempts.wait("bob") == 0
    attempts.give_back("ann")
    assert attempts.wait("ann") == 0
    attempts.take("ann")
    assert attempts.wait("ann") == pytest.approx(10)
    attempts.give_back("bob")  # who has taken none
    assert attempts.wait("bob") == 0
    attempts.take("ann")  # one too many costs no more than all of them
    now += 10.1
    assert attempts.wait("ann") == 0
    attempts.take("ann")
    assert attempts.wait("ann") > 0
    now += 1_000
    for _ in range(3):
        assert attempts.wait("ann") == 0
        attempts.take("ann")
    assert attempts.wait("ann") == pytest.approx(10)
