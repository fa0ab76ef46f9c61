"""Tests that are too long for every commit: `python -m tests.thorough`.

They are marked `thorough`. Plain `pytest` leaves them out, `pytest --thorough` runs them and no
other, and where a file is named all of it runs. The command writes its result to docs/thorough.md.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
WRITTEN = ROOT / "docs" / "thorough.md"
OPENING = """# The long tests

Tests that are marked `thorough` are too long for every commit. `python -m tests.thorough` runs
them, on two workers, and writes its result here: run it after a change of what they are about, and
before a release. What is tested otherwise is tested on every commit.

"""


def chosen(items: list[pytest.Item], config: pytest.Config) -> None:
    """Leave the marked out, or all others; nothing where files are named."""
    asked = config.getoption("--thorough")
    if not asked and any(Path(named.split("::")[0]).is_file() for named in config.args):
        return
    left = {item for item in items if bool(item.get_closest_marker("thorough")) != asked}
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def told(report: Path, took: float) -> str:
    """The outcome of a run with `--junitxml` as Markdown."""
    tests: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        file = case.attrib["classname"].removeprefix("tests.").replace(".", "/") + ".py"
        tests[file] += 1
        seconds[file] += float(case.attrib["time"])
        failed[file] += any(case.find(kind) is not None for kind in ("failure", "error"))
    rows = [
        f"| `{file}` | {tests[file]} | {failed[file] or ''} | {took_by:.0f} |"
        for file, took_by in seconds.most_common()
    ]
    last = (
        f"Last run: {datetime.now(UTC):%Y-%m-%d}, {tests.total()} tests, "
        f"{failed.total()} failed, {took:.0f} s.\n\n"
    )
    return OPENING + last + "\n".join(["| file | tests | failed | s |", "|---|---|---|---|", *rows])


def main(arguments: Sequence[str]) -> int:
    """Run them, with pytest's further options; its exit code."""
    begun = datetime.now(UTC)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["--thorough", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
        run = [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", *arguments]
        ended = subprocess.run(run, cwd=ROOT, check=False).returncode
        if report.exists() and not arguments:
            took = (datetime.now(UTC) - begun).total_seconds()
            WRITTEN.write_text(told(report, took) + "\n", "utf-8")
    return ended


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
