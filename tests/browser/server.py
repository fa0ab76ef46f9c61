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
    port = port or free_port()
    options = ["--server.port", str(port), "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", str(script), *options]
    log = log or Path(os.devnull)
    with log.open("wb") as output, TemporaryDirectory() as state:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "STRATA_STATE": state, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            path = "/readyz" if wait_until_ready else "/_stcore/health"
            _wait(process, address + path, log)
            yield address, process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            printed = log.read_text(errors="replace") if log.is_file() else ""
            raise RuntimeError(f"the server ended with {process.returncode}:\n{printed[-3000:]}")
        try:
            if httpx.get(url, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer 200 within {seconds} seconds")
