"""Texts from the hub: `texts.toml` as `TextCard`s, and the beginning of each as plain text."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as parquet
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from strata.errors import InputError
from strata.runtime.folders import home
from strata.weights import hub
from strata.weights.catalogue import BESIDE_PACKAGE, REPOSITORY
from strata.weights.entries import entries
from strata.weights.sources import Progress

KINDS = (".parquet", ".jsonl", ".txt")


class TextCard(BaseModel):
    """One file of a dataset on the hub; `column` holds the texts of a .parquet or .jsonl file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: StrictStr = Field(min_length=1)
    title: StrictStr = Field(min_length=1)
    repository: StrictStr = Field(pattern=REPOSITORY)
    revision: StrictStr | None = Field(default=None, min_length=1)
    file: StrictStr = Field(min_length=1)
    column: StrictStr | None = Field(default=None, min_length=1)
    licence: StrictStr = Field(min_length=1)


def texts(path: str | Path | None = None) -> dict[str, TextCard]:
    """The texts of `texts.toml` (or of the file that STRATA_TEXTS names) by id, in its order.

    None where there is no such file. Raises ModelError, with file and line, at the first entry
    that cannot be understood.
    """
    path = Path(path or os.environ.get("STRATA_TEXTS") or BESIDE_PACKAGE / "texts.toml")
    return entries(path, "text", TextCard, _problem, "STRATA_TEXTS") if path.exists() else {}


def _problem(card: TextCard) -> tuple[str, str] | None:
    if card.id in ("strata", "own"):
        return "id", f"the id {card.id!r} is taken by Strata"
    if not card.file.endswith(KINDS):
        return "file", f"file should end with {', '.join(KINDS)}, not {card.file!r}"
    if (card.column is None) != card.file.endswith(".txt"):
        return "file", "a .parquet or .jsonl file needs 'column', and a .txt file has none"
    return None


def read(name: str, characters: int, progress: Progress | None = None) -> str:
    """The first `characters` of a listed text, fetched from the hub if it is not here yet.

    Its rows stand in paragraphs of their own. Raises InputError if it is not listed, cannot be
    fetched, or does not hold what its entry says.
    """
    card = texts().get(name)
    if card is None:
        listed = ", ".join(("strata", "own", *texts()))
        raise InputError(f"There is no text {name[:80]!r}; choose one of {listed}.")
    path = fetch(card, progress)
    kept: list[str] = []
    room = characters
    try:
        for row in _rows(path, card):
            kept.append(row[:room])
            room -= len(kept[-1]) + 2
            if room <= 0:
                break
    except (pyarrow.ArrowException, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{card.file} of {card.repository} has no column {card.column!r} of texts that can be "
            "read; look at its entry in texts.toml."
        ) from error
    if not kept:
        raise InputError(f"{card.title} holds no text.")
    return "\n\n".join(kept)


def fetch(card: TextCard, progress: Progress | None = None) -> Path:
    """The file on this machine, downloaded at need. Raises InputError if the hub gives nothing."""
    tell = progress or (lambda fraction, message: None)
    try:
        return hub.dataset_file(card.repository, card.revision, card.file, home() / "hub", tell)
    except (ConnectionError, OSError) as error:
        raise InputError(
            f"{card.title} is not on this machine and cannot be fetched ({error}); connect to the "
            "internet once, or choose the passages written for Strata."
        ) from error


def version(name: str) -> str | None:
    """What the content of a listed text follows from: its entry, and its file's hash, by which the
    hub's cache names it. None where it is not listed, or not on this machine."""
    card = texts().get(name)
    if card is None:
        return None
    path = hub.dataset_file_here(card.repository, card.revision, card.file, home() / "hub")
    return None if path is None else f"{card.model_dump_json()} {path.resolve()}"


def _rows(path: Path, card: TextCard) -> Iterator[str]:
    """The texts of a file that are not empty, one by one: a large file is not read to its end."""
    if path.suffix == ".parquet":
        batches = parquet.ParquetFile(path).iter_batches(1_000, columns=[card.column])
        found: Iterator[Any] = (row for batch in batches for row in batch[card.column].to_pylist())
    elif path.suffix == ".jsonl":
        lines = path.open(encoding="utf-8")
        found = (json.loads(line)[card.column] for line in lines if line.strip())
    else:
        found = iter(path.open(encoding="utf-8", errors="replace"))
    for text in found:
        if not isinstance(text, str):
            raise TypeError(f"{card.column!r} holds {type(text).__name__}")
        if text.strip():
            yield text.strip()
