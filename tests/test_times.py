"""Who takes which file of tests: browsers are in no more processes than there are cores."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests import times
from tests.times import FewBrowsers

FILES = (
    "tests/browser/a.py",
    "tests/browser/b.py",
    "tests/c.py",
    "tests/browser/d.py",
    "tests/e.py",
)


class Worker:
    """One that does at once what it is handed."""

    def __init__(self, number: int) -> None:
        self.gateway = SimpleNamespace(id=f"gw{number}")
        self.shutting_down = False
        self.files: list[str] = []

    def send_runtest_some(self, numbers: list[int]) -> None:
        self.files += [FILES[number // 3] for number in numbers[::3]]

    def shutdown(self) -> None:
        self.shutting_down = True


def test_a_worker_more_than_cores_has_what_needs_no_browser(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(times, "cores", lambda: 2)
    option = SimpleNamespace(loadscopereorder=False, tx=["popen"] * 3)
    config: Any = SimpleNamespace(option=option, getvalue=lambda name: getattr(option, name))
    workers: list[Any] = [Worker(number) for number in range(3)]
    shares = FewBrowsers(config)
    tests = [f"{file}::test_{number}" for file in FILES for number in range(3)]
    for worker in workers:
        shares.add_node(worker)
    for worker in workers:
        shares.add_node_collection(worker, tests)
    shares.schedule()
    for worker in (workers[2], workers[0], workers[1]) * 9:  # each ends a test, the third first
        left = shares.assigned_work[worker].values()
        if ended := next((n for file in left for n, done in file.items() if not done), None):
            shares.mark_test_complete(worker, tests.index(ended))
    assert shares.tests_finished
    assert sorted(file for worker in workers for file in worker.files) == sorted(FILES)
    assert workers[2].files == ["tests/c.py", "tests/e.py"]
    assert all(worker.shutting_down for worker in workers)
