"""What was summarised of texts that anybody may have, on disk for the next start.

A table of states sampled from the shipped passages or from a listed text follows from the model,
the text and the code, and costs the reading of all of it: 20 core-seconds of the bundled model. So
does what chance gives for an example's prompt, half a minute for twenty draws of random blocks.
Nothing of a learner's own prompt or text is ever written.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import tempfile
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

import strata
from strata.concepts.views import TRACE, View, find_view, is_unhurried, supplied
from strata.corpus import datasets, passages
from strata.corpus.examples import EXAMPLES
from strata.engine.job import Job
from strata.model.fingerprint import fingerprint
from strata.runtime.folders import home

if TYPE_CHECKING:
    from strata.model import Model

log = logging.getLogger(__name__)

_FOLDER = "summaries"
_LARGEST, _MOST = 2 * 2**20, 64 * 2**20  # bytes of a table's file, and of all
_EXAMPLES = frozenset(example.prompt for example in EXAMPLES)
_ELSEWHERE = ("ui", "lessons", "classroom", "charts")  # code that no table follows from
_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-dimension",
)


def is_everybodys(job: Job, view: View) -> bool:
    """Whether a job's answer may be kept on disk: nothing in it is a learner's own."""
    return is_of_shared_texts(job, view) or is_of_example(job, view)


def is_of_example(job: Job, view: View) -> bool:
    """Whether a job is one in spare time of an example's prompt alone, and of no word that a
    learner chose."""
    chosen = any(name.endswith("_id") and id is not None for name, id in job.params.items())
    own = chosen or job.prompts or job.edits or job.sample or job.params.get("other")
    return is_unhurried(view) and job.prompt in _EXAMPLES and not own


def is_of_shared_texts(job: Job, view: View) -> bool:
    """Whether a job's answer is a summary of texts that are nobody's own, and of all of them. A
    list among its parameters may hold words that a learner typed."""
    names = supplied(view)
    alone = "sample" in names and not names & (TRACE | {"traces", "gradients", "prompt", "prompts"})
    typed = any(isinstance(value, list | tuple | dict) and value for value in job.params.values())
    source = job.source if alone and not typed else None
    return source is not None and not (
        source.corpus == "own" or source.read or job.prompts or job.edits
    )


def recall(job: Job, model: Model) -> pd.DataFrame | None:
    """What `keep` left of this job; None if there is nothing, or nothing that can be read."""
    file = _file(job, model)
    try:
        return pd.read_parquet(file) if file is not None and file.exists() else None
    except Exception as error:  # whatever a broken file is for its reader
        log.info("a summary could not be read: %s", type(error).__name__)
        return None


def keep(job: Job, model: Model, frame: pd.DataFrame) -> None:
    """Write a job's table for later starts, as far as the folder can be written. What another
    version of the code left is removed, and of the others those that are oldest, to make room."""
    file = _file(job, model)
    if file is None or not _comes_back(frame):
        return
    content = io.BytesIO()
    frame.to_parquet(content, index=False)
    if content.tell() > _LARGEST:
        return
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, work = tempfile.mkstemp(dir=file.parent, suffix=".part")
        with os.fdopen(descriptor, "wb") as out:
            out.write(content.getvalue())
        os.replace(work, file)
        _tidy(file.parent)


def _comes_back(frame: pd.DataFrame) -> bool:
    """Whether a file gives back the same cells, types and row names: those are not written."""
    rows, known = frame.index, pd.RangeIndex(len(frame))
    return (
        (rows.name is None and rows.equals(known))
        and all(isinstance(name, str) for name in frame)
        and not any(
            frame[name].map(lambda cell: isinstance(cell, bytes)).any()
            for name in frame.select_dtypes("object")
        )
    )


def _tidy(here: Path) -> None:
    for other in here.parent.iterdir():
        if other != here:
            for left in other.glob("*"):
                left.unlink(missing_ok=True)
            other.rmdir()
    kept = sorted(
        ((found.stat().st_mtime, found.stat().st_size, found) for found in here.iterdir()),
        reverse=True,
    )
    total = 0
    for _, size, found in kept:
        total += size
        if total > _MOST:
            found.unlink(missing_ok=True)


def _file(job: Job, model: Model) -> Path | None:
    """Where this job's table is kept; None where its text is not on this machine."""
    text = _text(job.source.corpus)
    if text is None:
        return None
    alone = job
    if job.prompt not in _EXAMPLES or not is_unhurried(find_view(job.view)):
        alone = job.model_copy(update={"prompt": ""})  # it plays no part: its page asks for others
    which = [alone.canonical(), fingerprint(model).key, model.device.type, str(model.dtype), text]
    name = hashlib.sha256("\n".join(which).encode()).hexdigest()
    return home() / _FOLDER / _version() / f"{name}.parquet"


def _text(corpus: str) -> str | None:
    if corpus != "strata":
        return datasets.version(corpus)
    return hashlib.sha256(repr(passages.passages()).encode()).hexdigest()


@cache
def _version() -> str:
    """Of the code of Strata and of libraries, as a folder's name."""
    code, here = hashlib.sha256(), Path(strata.__file__).parent
    for path in sorted(here.rglob("*.py")):
        if path.relative_to(here).parts[0] not in _ELSEWHERE:
            code.update(path.read_bytes())
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            code.update(f"{library} {metadata.version(library)}".encode())
    return code.hexdigest()[:32]
