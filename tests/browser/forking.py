"""Servers that begin with all imports done: a process that has imported what a server does of other
software, and forks one for each that is asked for. Otherwise each spends six seconds of a core on
imports. Nothing of Strata is imported here, so a server begins with what its environment says.

`python -m tests.browser.forking SOCKET` waits at that address until it is ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock

FOLDER = "STRATA_TEST_SERVERS"  # where a run's servers are noted; pytest's workers inherit it
NOTED, FORKING = "server.json", "forking"
# What takes a tenth of a second or more, and starts no threads that a fork would lose.
_IMPORTED = (
    "alembic.command altair nbformat pandas pydantic_settings pygments.lexers scipy.stats "
    "sqlalchemy.orm streamlit.web.bootstrap streamlit.web.cli torch "
    "transformers.models.llama.modeling_llama"
).split()


def forked(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> psutil.Process | None:
    """The process that does what `python -m streamlit` would with these arguments, in this folder,
    and prints to that file; None where none can be forked, or in no run of tests."""
    if FOLDER not in os.environ or sys.platform != "linux":
        return None
    asked = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
        "log": str(log),
    }
    with _line(Path(os.environ[FOLDER]) / FORKING) as line:
        line.sendall(json.dumps(asked).encode())
        line.shutdown(socket.SHUT_WR)
        return psutil.Process(int(line.makefile().read()))


def _line(kept: Path) -> socket.socket:
    """To the process that forks; who comes first starts it."""
    kept.mkdir(exist_ok=True)
    with FileLock(kept / "lock"):
        if not (kept / NOTED).exists():
            command = [sys.executable, "-m", __name__, str(kept / "line")]
            with (kept / "log.txt").open("wb") as log:
                begun = subprocess.Popen(
                    command, cwd=Path(__file__).parents[2], stdout=log, stderr=subprocess.STDOUT
                )
            (kept / NOTED).write_text(json.dumps({"pid": begun.pid}))
            while not (kept / "line").exists():
                if begun.poll() is not None:
                    raise RuntimeError((kept / "log.txt").read_text(errors="replace"))
                time.sleep(0.05)
    line = socket.socket(socket.AF_UNIX)
    line.connect(str(kept / "line"))
    return line


def _begin(arguments: list[str], environment: dict[str, str], folder: str, log: str) -> None:
    """What is done elsewhere before Python begins."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    sys.argv[1:] = arguments


def _forget_ended(number: int, frame: object) -> None:
    """Who has ended would stay a zombie until somebody asks how."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _fork_for_all(address: str) -> None:
    """Import, then fork for each who asks. Comes back in those that were forked."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in app.py
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, _forget_ended)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address + ".new")
        door.listen()
        os.rename(address + ".new", address)  # there only once it can be asked
        while True:
            line, _ = door.accept()
            with line:
                asked = json.loads(line.makefile().read())
                if not (child := os.fork()):
                    break
                line.sendall(str(child).encode())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _begin(**asked)


if __name__ == "__main__":
    _fork_for_all(sys.argv[1])
    from streamlit.web.cli import main

    main(prog_name="streamlit")
