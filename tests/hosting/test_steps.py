"""The Dockerfile's own steps, outside a container: what it copies is enough, and it ends."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from websockets.sync.client import connect

from strata.classroom.roster import Roster
from strata.storage.database import Database
from strata.ui.server import door
from tests.browser.server import ROOT, free_port
from tests.hosting.test_files import COMPOSE, command, kept_out, values
from tests.hosting.test_server import typed

GRACE = float(COMPOSE["services"]["strata1"]["stop_grace_period"].removesuffix("s"))


def build(folder: Path) -> None:
    """Copy what the image would hold."""
    for rest in values("COPY"):
        *sources, target = shlex.split(rest)
        for source in sources:
            to = folder / target if target != "./" else folder / source
            if (ROOT / source).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "secrets.toml")
                shutil.copytree(ROOT / source, to, ignore=ignored)
            elif not kept_out(source):
                shutil.copy(ROOT / source, to)


def test_the_image_serves_a_class_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    """On the way: who is no named proxy cannot say where it is."""
    folder, state, port = tmp_path / "app", tmp_path / "state", free_port()
    folder.mkdir()
    build(folder)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "STRATA_STATE": str(state),
        "STRATA_MODE": "class",
        "STRATA_TEACHER_SECRET": "a secret of the teacher",
        "FORWARDED_ALLOW_IPS": "127.0.0.2, 10.0.0.0/8",
    }
    fetch = next(shlex.split(run) for run in values("RUN") if run.startswith("python -m strata"))
    subprocess.run(fetch, cwd=folder, env=environment, check=True, timeout=300)
    group = Roster(Database(state / "strata.sqlite")).create("3b")

    said = [*command(values("CMD")[0])]
    said[said.index("--server.address") + 1] = "127.0.0.1"
    said[said.index("--server.port") + 1] = str(port)
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(said, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        check = command(values("HEALTHCHECK")[0].split("CMD", 1)[1])
        check[-1] = check[-1].replace("8501", str(port))
        until = time.monotonic() + 300
        while subprocess.run(check, env=environment, capture_output=True).returncode:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.5)
        for number in range(5):
            assert "not the teacher" in typed(url, "guess", f"192.0.2.{number}")
        assert "Too many attempts" in typed(url, "guess", "192.0.2.9")
        with httpx.Client(base_url=url, timeout=60) as client:
            client.post("/join", data={"code": group.code, "name": "Ann"})
            cookie = {"Cookie": f"{door.COOKIE}={client.cookies[door.COOKIE]}"}
            with connect(f"ws{url[4:]}/_stcore/stream", additional_headers=cookie):
                asked = time.monotonic()
                process.send_signal(signal.SIGTERM)  # while a learner is there
                ended = process.wait(timeout=GRACE)
    finally:
        process.kill()
    assert time.monotonic() - asked < GRACE / 2
    assert ended in (0, -signal.SIGTERM)
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert [member.name for member in Roster(Database(state / "strata.sqlite")).members(group.id)]
