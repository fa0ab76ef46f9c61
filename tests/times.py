"""Which test files take how long, and who takes which: workers begin with the long ones, and so end
together.

`python -m tests.times REPORT.xml` writes down the times of a run with `--junitxml=REPORT.xml`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

KEPT = Path(__file__).with_name("times.json")
UNKNOWN = 30  # seconds that a new file of browser tests is taken for; others are short
LEAST = 5  # seconds: shorter files do not matter, and would only make differences to read


def cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class FewBrowsers(LoadFileScheduling):
    """Whole files, and those of a browser to no more workers than there are cores: one that opens a
    page keeps more than a core busy, and waits of others for theirs would grow long. A worker more
    has what needs none, while those wait for a server or the clock."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        if int(node.gateway.id.removeprefix("gw")) >= cores():
            others = (file for file in self.workqueue if "/browser/" not in file)
            if (first := next(others, None)) is None:
                node.shutdown()
                return
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def longest_first(items: list[pytest.Item], root: Path) -> None:
    """Sort whole files by what they took; within a file nothing changes."""
    known: dict[str, int] = json.loads(KEPT.read_text("utf-8"))

    def order(item: pytest.Item) -> tuple[int, str]:
        file = item.path.relative_to(root).as_posix()
        return -known.get(file, UNKNOWN if "/browser/" in file else 0), file

    items.sort(key=order)


def measured(report: Path) -> dict[str, int]:
    """Seconds of each file of a run that took `LEAST` or more, the longest first."""
    seconds: Counter[str] = Counter()
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        seconds[case.attrib["classname"].replace(".", "/") + ".py"] += float(case.attrib["time"])
    return {file: round(took) for file, took in seconds.most_common() if took >= LEAST}


def main(arguments: Sequence[str]) -> None:
    """Write the times down."""
    KEPT.write_text(json.dumps(measured(Path(arguments[0])), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
