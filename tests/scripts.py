"""Programs that pages show, run as a learner would run them."""

from __future__ import annotations

import contextlib
import io
import runpy
import subprocess
import sys
from pathlib import Path

import pytest


def output_of(code: str, folder: Path, fresh: bool = False) -> str:
    """What a program prints that is run in this folder.

    `fresh`: in an interpreter of its own, which takes seconds to import what is here already; that
    it needs nothing of Strata is seen in any case, by its text."""
    file = folder / "script.py"
    file.write_text(code, encoding="utf-8")
    if fresh:
        command = [sys.executable, "-X", "utf8", str(file)]
        ran = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=folder)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.chdir(folder)
        runpy.run_path(str(file), run_name="__main__")
    return output.getvalue()
