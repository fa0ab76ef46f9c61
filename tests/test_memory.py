"""A server gives back what it does not need: measured on a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# As a server does: threads that come and go each keep a little, and let go of much.
PROGRAM = """
import sys
from threading import Thread
import numpy, psutil
if "tamed" in sys.argv:
    from strata.memory import return_large
    return_large()
kept = []
def work():
    much = []
    for _ in range(40):
        much.append(numpy.ones(400_000, numpy.uint8))
        kept.append(numpy.ones(2_000, numpy.uint8))
process = psutil.Process()
work()
before = process.memory_info().rss
for _ in range(20):
    threads = [Thread(target=work) for _ in range(8)]
    for each in threads: each.start()
    for each in threads: each.join()
print((process.memory_info().rss - before - sum(each.nbytes for each in kept)) / 2**20)
"""


def grown(*arguments: str) -> float:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc alone")
def test_large_pieces_go_back_at_once() -> None:
    assert grown("tamed") < 16  # megabytes
    assert grown() > 32, "else nothing is gained, and this can go"
