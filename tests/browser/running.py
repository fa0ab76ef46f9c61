"""The servers of a run of tests, from start to end, in the process that starts the others."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import psutil

from tests.browser import server
from tests.browser.forking import FOLDER, FORKING, NOTED


def begin() -> None:
    """At the start of a run: whoever asks for a server notes it there."""
    os.environ[FOLDER] = mkdtemp(prefix="strata-servers-")


def end() -> None:
    """At the end of a run: ends the servers and forgets what they stored."""
    folder = Path(os.environ.pop(FOLDER))
    # At last who forked the others, and hears when they end; with those of a worker that was lost.
    for noted in sorted(folder.glob(f"*/{NOTED}"), key=lambda noted: noted.parent.name == FORKING):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(json.loads(noted.read_text())["pid"])
            left = process.children() if noted.parent.name == FORKING else []
            for each in (*left, process):
                server.end(each)
    shutil.rmtree(folder, ignore_errors=True)
