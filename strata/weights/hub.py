"""Downloading from the Hugging Face hub: a model's safetensors, config and tokenizer, a dataset's
file; never code."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from strata.errors import ModelError

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]  # weights, config, tokenizer
DISK = (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS)
UNWANTED = ["*/*", "consolidated*"]  # exports to other formats, and second copies


def download(
    repository: str, revision: str | None, cache: Path, report: Callable[[float, str], None]
) -> Path:
    """A repository's snapshot without pickles and without code.

    What an earlier, interrupted try left in `cache` is resumed. Raises ModelError if the hub
    will not give it, ConnectionError (with the reason) if the hub is out of reach, OSError if
    the disk does not take it.
    """
    from huggingface_hub import snapshot_download  # here: slow, and seldom needed

    report(0.0, f"Downloading {repository}")
    reach()
    snapshot = _asking(
        repository,
        revision,
        lambda: snapshot_download(
            repository,
            revision=revision,
            cache_dir=cache,
            allow_patterns=FILES,
            ignore_patterns=UNWANTED,
            tqdm_class=_bar(f"Downloading {repository}", report),
        ),
    )
    return Path(snapshot)


def dataset_file(
    repository: str,
    revision: str | None,
    file: str,
    cache: Path,
    report: Callable[[float, str], None],
) -> Path:
    """One file of a dataset: the copy in `cache`, else downloaded into it. Raises as `download`."""
    here = dataset_file_here(repository, revision, file, cache)
    if here is not None:
        return here
    report(0.0, f"Downloading {file} of {repository}")
    reach()
    return _dataset_file(repository, revision, file, cache, local=False)


def dataset_file_here(repository: str, revision: str | None, file: str, cache: Path) -> Path | None:
    """The copy in `cache` of one file of a dataset; None where there is none."""
    from huggingface_hub import errors

    try:
        return _dataset_file(repository, revision, file, cache, local=True)
    except errors.LocalEntryNotFoundError:
        return None


def _dataset_file(
    repository: str, revision: str | None, file: str, cache: Path, *, local: bool
) -> Path:
    from huggingface_hub import hf_hub_download

    def get() -> str:
        return hf_hub_download(
            repository,
            file,
            repo_type="dataset",
            revision=revision,
            cache_dir=cache,
            local_files_only=local,
        )

    return Path(get() if local else _asking(repository, revision, get))


def _asking(repository: str, revision: str | None, ask: Callable[[], str]) -> str:
    """What the hub answers, its refusals and failures in the three kinds that `download` names."""
    from huggingface_hub import errors

    try:
        return ask()
    except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
        raise ModelError(
            f"The hub has no {repository} that it would give to you; check the name, or whether "
            "it asks you to accept its terms and to log in with “hf auth login”."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{repository} on the hub has no revision {revision}.") from error
    except Exception as error:  # offline shows as many kinds, by version and by cause
        if isinstance(error, OSError) and error.errno in DISK:
            raise
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise ConnectionError("no connection to the hub") from error
        raise ConnectionError(f"the hub failed with {type(error).__name__}") from error


def reach() -> None:
    """Ask the hub for nothing, once: the library itself would try for the better part of a minute
    before it said that there is no network."""
    from huggingface_hub import constants, get_session

    try:
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # of many kinds, by version and by cause
        raise ConnectionError("no connection to the hub") from error


def _bar(message: str, report: Callable[[float, str], None]) -> type:
    """A tqdm class that draws nothing and reports the bytes that have arrived."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            super().__init__(*args, **{**keywords, "file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **keywords: Any) -> None:
            if self.unit == "B" and self.total:
                total = f"{self.total / 1e6:.0f} MB"
                report(min(self.n / self.total, 0.99), f"{message} ({total})")

    return Bar
