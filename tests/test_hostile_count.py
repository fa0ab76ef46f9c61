"""How many hostile cases there are, as pytest collects them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile import IN_A_BROWSER, SINKS

ROOT = Path(__file__).parents[1]
AT_LEAST = 12_000


@pytest.fixture
def tests(request: pytest.FixtureRequest) -> list[pytest.Function]:
    """Those of all hostile suites, also of files that this run of pytest was not asked for."""
    found = []
    for file in sorted(ROOT.glob("tests/**/test_hostile*.py")):
        module = pytest.Module.from_parent(request.session, path=file)
        found += [test for test in module.collect() if isinstance(test, pytest.Function)]
    return found


def cases(test: pytest.Function) -> int:
    """How many a test tries: those that `each_sink` gave it, else one."""
    return len(test.callspec.params.get("cases", "1")) if hasattr(test, "callspec") else 1


def test_there_are_enough_cases_at_every_sink(tests: list[pytest.Function]) -> None:
    by_file: Counter[str] = Counter()
    by_sink: Counter[tuple[str, str]] = Counter()
    for test in tests:
        file, _, name = test.nodeid.partition("::")
        by_file[file] += cases(test)
        for part in set(re.split(r"[\[\]-]", name)):
            by_sink[file, part] += cases(test)
    assert sum(by_file.values()) >= AT_LEAST
    for file, sinks in SINKS.items():
        for sink in sinks.split():
            assert by_sink[file, sink], f"{file} has no test of {sink}"
    assert by_file["tests/browser/test_hostile_pages.py"] >= 2 * len(IN_A_BROWSER)
    assert len(IN_A_BROWSER) == len(set(IN_A_BROWSER)) == 20
