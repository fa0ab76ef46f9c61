"""Servers that all tests of a run share, in whichever of pytest's processes they are.

The first test that asks for one starts it; it ends with the run. A server costs ten seconds of both
cores, and its first sample of states twice as much.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from tests import small
from tests.browser.forking import FOLDER, NOTED
from tests.browser.server import await_ready, free_port, launched

SECRET = "a secret of the teacher"
NAME = "strata.example"  # of the server that holds classes, beside its address


def shared(
    name: str, environment: Callable[[Path], Mapping[str, str]] = lambda folder: {}
) -> tuple[str, Path]:
    """The address of the server of that name, and its folder, which holds what it stores (state)
    and what it printed (log.txt); `environment` is told the folder."""
    folder = Path(os.environ[FOLDER]) / name
    folder.mkdir(exist_ok=True)
    noted = folder / NOTED
    with FileLock(folder / "lock"):
        if not noted.exists():
            port, log = free_port(), folder / "log.txt"
            told = {"STRATA_STATE": str(folder / "state"), **environment(folder)}
            process = launched(port, environment=told, log=log)
            noted.write_text(json.dumps({"pid": process.pid}))
            url = f"http://127.0.0.1:{port}"
            await_ready(process, f"{url}/readyz", log)
            noted.write_text(json.dumps({"pid": process.pid, "url": url}))
    found = _noted(name)
    if "url" not in found:
        pytest.fail(f"the shared server {name} did not start: see the first test that asked for it")
    return found["url"], folder


def shared_small() -> str:
    """The address of a server with a small model under the bundled one's name.

    One for each of pytest's processes: a laptop has one learner, and where two tests play a lesson
    at the same time, each finds the other's answers.
    """
    return shared(f"small-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}", small.environment)[0]


def shared_class() -> tuple[str, Path]:
    """The same of a server that holds classes, in state/strata.sqlite, with a small model under
    the bundled one's name."""

    holding = {
        "STRATA_MODE": "class",
        "STRATA_TEACHER_SECRET": SECRET,
        "STRATA_ALLOWED_HOSTS": NAME,
    }
    return shared("class", lambda folder: {**holding, **small.environment(folder)})


def _noted(name: str) -> dict[str, Any]:
    return json.loads((Path(os.environ[FOLDER]) / name / NOTED).read_text())


def process(name: str) -> psutil.Process:
    """The server of that name, which has been asked for."""
    return psutil.Process(_noted(name)["pid"])
