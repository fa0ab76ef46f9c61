"""What was measured of a model's agreements, kept for its next start.

They depend on the weights, the tokenizer, the versions of what computes, the device and the number
type, and on nothing else; so a later start looks them up by these and measures the identities only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from strata.model.agreements import Agreements
from strata.runtime.folders import home

_QUICKLY_READ = 50_000_000  # bytes: to hash a larger file takes longer than to look its hash up
_SHA256 = re.compile("[0-9a-f]{64}")


def key(folder: Path, device: torch.device, dtype: torch.dtype) -> str:
    """A hash of all that the agreements of the model in `folder` depend on.

    Every file counts by its content and name, so weights that were moved are known again.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [f"{path.relative_to(folder).as_posix()} {_hash(path)}" for path in found]
    about = [_software(), str(device), str(dtype), *files]
    return hashlib.sha256("\n".join(about).encode()).hexdigest()


def recall(name: str) -> Agreements | None:
    """What `keep` left under this key; None if there is nothing, or nothing that can be read."""
    try:
        known = json.loads(_file(name).read_text(encoding="utf-8"))
        return Agreements(**{name: float(value) for name, value in known.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def keep(name: str, agreements: Agreements) -> None:
    """Remember for later starts, as far as the folder can be written."""
    _write(_file(name), json.dumps(asdict(agreements)))


def _file(name: str) -> Path:
    return home() / "agreements" / f"{name}.json"


def _hash(path: Path) -> str:
    """The SHA-256 of a file. Of a large one it is computed once for each state of the file, except
    in the hub's cache, where it is the name of the file that a link leads to."""
    real = path.resolve()
    if _SHA256.fullmatch(real.name):
        return real.name
    found = real.stat()
    # The time of change cannot be set back as that of writing is by tools that copy.
    state = (real, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    known = _file(hashlib.sha256(repr(state).encode()).hexdigest()).with_suffix(".sha256")
    if found.st_size >= _QUICKLY_READ:
        with suppress(OSError, UnicodeError):
            told = known.read_text(encoding="ascii")
            if _SHA256.fullmatch(told):
                return told
    with real.open("rb") as content:
        computed = hashlib.file_digest(content, "sha256").hexdigest()
    if found.st_size >= _QUICKLY_READ:
        _write(known, computed)
    return computed


def _write(file: Path, text: str) -> None:
    """Whole or not at all, since two processes may start at once; not where nothing can be."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, work = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        os.replace(work, file)


@lru_cache(maxsize=1)
def _software() -> str:
    """Versions of torch and transformers, and the code that measures and is measured."""
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    return f"{torch.__version__} {version('transformers')} {code.hexdigest()}"
