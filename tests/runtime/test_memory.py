"""How a server shares memory between its threads: looked at in a process of its own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

# Threads that are there at the same time, then how many pools glibc says there are.
PROGRAM = """
import ctypes, os, sys, tempfile
from threading import Barrier, Thread
import numpy
if "server" in sys.argv:
    import strata.ui.server.start
    from strata.runtime.memory import trim
    trim()
together = Barrier(12)
def work():
    together.wait()
    kept = [numpy.ones(3_000, numpy.uint8) for _ in range(1_000)]
    together.wait()
threads = [Thread(target=work) for _ in range(12)]
for each in threads: each.start()
for each in threads: each.join()
library = ctypes.CDLL("libc.so.6")
library.fopen.restype = ctypes.c_void_p
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "told.xml")
    file = ctypes.c_void_p(library.fopen(path.encode(), b"w"))
    library.malloc_info(0, file)
    library.fclose(file)
    print(open(path).read().count("<heap nr="))
"""


def pools(*arguments: str) -> int:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    tuned = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    plain = {name: value for name, value in os.environ.items() if name not in tuned}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=plain)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_servers_threads_share_two_pools() -> None:
    assert pools("server") <= 2
    assert pools() > 2, "else nothing is gained, and this can go"
