"""A real Strata server for the length of a test, on a free port of this machine."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil

from tests.browser.forking import forked

ROOT = Path(__file__).parents[2]
# For a class where it does not matter: the model's own process takes as long to start as a server.
WITHOUT_A_PROCESS = {"STRATA_MODEL_PROCESS": "false"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve(
    script: Path = ROOT / "app.py",
    environment: Mapping[str, str] | None = None,
    wait_until_ready: bool = True,
    log: Path | None = None,
    port: int | None = None,
    by_command: bool = False,
) -> Iterator[str]:
    """The address of a server that runs `script`; with what it printed in the error if it dies.

    What learners store goes into a folder that is gone with the server, unless `environment` names
    another; `port` is for one that takes the place of another; `by_command` for one that begins as
    a user's does, with nothing imported.
    """
    with started(script, environment, wait_until_ready, log, port, by_command) as (address, _):
        yield address


@contextmanager
def started(
    script: Path = ROOT / "app.py",
    environment: Mapping[str, str] | None = None,
    wait_until_ready: bool = True,
    log: Path | None = None,
    port: int | None = None,
    by_command: bool = False,
) -> Iterator[tuple[str, psutil.Process]]:
    """`serve`, with the process itself."""
    port, log = port or free_port(), log or Path(os.devnull)
    with TemporaryDirectory() as state:
        told = {"STRATA_STATE": state, **(environment or {})}
        process = launched(port, script, told, log, by_command)
        address = f"http://127.0.0.1:{port}"
        try:
            path = "/readyz" if wait_until_ready else "/_stcore/health"
            await_ready(process, address + path, log)
            yield address, process
        finally:
            end(process)


def end(process: psutil.Process) -> None:
    """End a server and wait until it is gone."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(15)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


def launched(
    port: int,
    script: Path = ROOT / "app.py",
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
    by_command: bool = False,
) -> psutil.Process:
    """The process of a server that has just been started."""
    arguments = ["run", str(script), "--server.port", str(port), "--server.headless", "true"]
    environment, log = environment or {}, log or Path(os.devnull)
    told = {**os.environ, **environment}
    # What else there is in an environment is read as soon as torch, say, is imported.
    later = ("STRATA_", "STREAMLIT_SERVER_")
    if not by_command and all(name.startswith(later) for name in environment):
        process = forked(arguments, told, ROOT, log)
        if process is not None:
            return process
    command = [sys.executable, "-m", "streamlit", *arguments]
    with log.open("wb") as output:
        return psutil.Popen(command, cwd=ROOT, env=told, stdout=output, stderr=output)


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def await_ready(process: psutil.Process, url: str, log: Path, seconds: float = 600) -> None:
    """Wait until `url` answers 200; with what the server printed in the error if it dies."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if has_ended(process):
            printed = log.read_text(errors="replace") if log.is_file() else ""
            raise RuntimeError(f"the server has ended:\n{printed[-3000:]}")
        try:
            # No TLS here: to make ready for it takes longer than to ask.
            if httpx.get(url, timeout=5, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer 200 within {seconds} seconds")
