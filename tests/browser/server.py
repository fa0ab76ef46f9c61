"""A real Strata server for the length of a test, on a free port of this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

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
) -> Iterator[str]:
    """The address of a server that runs `script`; with what it printed in the error if it dies.

    What learners store goes into a folder that is gone with the server, unless `environment` names
    another; `port` is for one that takes the place of another.
    """
    with started(script, environment, wait_until_ready, log, port) as (address, _):
        yield address


@contextmanager
def started(
    script: Path = ROOT / "app.py",
    environment: Mapping[str, str] | None = None,
    wait_until_ready: bool = True,
    log: Path | None = None,
    port: int | None = None,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """`serve`, with the process itself."""
    port, log = port or free_port(), log or Path(os.devnull)
    with TemporaryDirectory() as state:
        process = launched(port, script, {"STRATA_STATE": state, **(environment or {})}, log)
        address = f"http://127.0.0.1:{port}"
        try:
            path = "/readyz" if wait_until_ready else "/_stcore/health"
            await_ready(process, address + path, log)
            yield address, process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def launched(
    port: int,
    script: Path = ROOT / "app.py",
    environment: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> subprocess.Popen[bytes]:
    """The process of a server that has just been started."""
    options = ["--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    with (log or Path(os.devnull)).open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def await_ready(
    process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 600
) -> None:
    """Wait until `url` answers 200; with what the server printed in the error if it dies."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            printed = log.read_text(errors="replace") if log.is_file() else ""
            raise RuntimeError(f"the server ended with {process.returncode}:\n{printed[-3000:]}")
        try:
            # No TLS here: to make ready for it takes longer than to ask.
            if httpx.get(url, timeout=5, verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer 200 within {seconds} seconds")
