"""What was measured of a model's agreements, kept for its next start.

They depend on the weights, the tokenizer, the versions of what computes, the device and the number
type, and on nothing else; so a later start looks them up by these and measures the identities only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from strata.model.agreements import Agreements
from strata.runtime.folders import home

_READ_WHOLE = 50_000_000  # bytes: of a larger file, weights, its size and time of change count


def key(folder: Path, device: torch.device, dtype: torch.dtype) -> str:
    """A hash of all that the agreements of the model in `folder` depend on.

    Small files (configuration, tokenizer) count by content. Weights count by size, time of change
    and the name of the file that they really are, which in the hub's cache is their hash.
    """
    files = [f"{path.name} {_state(path)}" for path in sorted(folder.iterdir()) if path.is_file()]
    about = [_software(), str(device), str(dtype), *files]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()


def recall(name: str) -> Agreements | None:
    """What `keep` left under this key; None if there is nothing, or nothing that can be read."""
    try:
        return Agreements(**json.loads(_file(name).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep(name: str, agreements: Agreements) -> None:
    """Remember for later starts, as far as the folder can be written."""
    with suppress(OSError):
        file = _file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, work = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            json.dump(asdict(agreements), out)
        os.replace(work, file)  # whole or not at all: two processes may start at once


def _file(name: str) -> Path:
    return home() / "agreements" / f"{name}.json"


def _state(path: Path) -> str:
    found = path.stat()
    if found.st_size < _READ_WHOLE and path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{found.st_size} {found.st_mtime_ns} {path.resolve().name}"


@lru_cache(maxsize=1)
def _software() -> str:
    """Versions of torch and transformers, and the code that measures and is measured."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return f"{torch.__version__} {version('transformers')} {code.hexdigest()}"
