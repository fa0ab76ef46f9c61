"""How many hostile cases there are, as pytest collects them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.hostile import IN_A_BROWSER, SINKS

ROOT = Path(__file__).parents[1]
AT_LEAST = 200


@pytest.fixture
def ids(request: pytest.FixtureRequest) -> list[str]:
    """The ids of all cases of all hostile suites: of this run of pytest, or collected apart where
    it was asked for some files only."""
    here = {str(file.relative_to(ROOT)) for file in ROOT.glob("tests/**/test_hostile*.py")}
    found = [item.nodeid for item in request.session.items]
    if here <= {each.split("::")[0] for each in found}:
        return [each for each in found if each.split("::")[0] in here]
    others = sorted(here - {"tests/test_hostile_count.py"})
    command = [sys.executable, "-m", "pytest", "--collect-only", *others]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stdout[-2_000:]
    return [line for line in ran.stdout.splitlines() if re.match(r"tests/\S+\.py::", line)]


def test_there_are_enough_cases_at_every_sink(ids: list[str]) -> None:
    by_file = Counter(each.split("::")[0] for each in ids)
    assert sum(by_file.values()) >= AT_LEAST
    for file, sinks in SINKS.items():
        inside = [each.split("[", 1)[-1].rstrip("]") for each in ids if each.startswith(file)]
        for sink in sinks.split():
            found = [i for i in inside if re.search(rf"(^|-){sink}(-|$)", i)]
            assert found, f"{file} has no test of {sink}"
    assert by_file["tests/browser/test_hostile_pages.py"] >= 2 * len(IN_A_BROWSER)
    assert len(IN_A_BROWSER) == len(set(IN_A_BROWSER)) == 20
