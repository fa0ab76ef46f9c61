"""Classes on one server: who is in one, what the teacher sees of it. Knows no pages, no models.

Imports the nouns, `display`, `storage` and `lessons`.
"""

import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from strata.errors import StrataError


def class_mode() -> bool:
    """Whether learners enter by class code: STRATA_MODE says so, or else a table `[class]` in the
    settings file.

    StrataError for what is neither, or a file that cannot be read.
    """
    mode = os.environ.get("STRATA_MODE") or ("open" if class_table() is None else "class")
    if mode not in ("open", "class"):  # a slip must not open what was meant to be closed
        raise StrataError(f"STRATA_MODE is open or class, not {mode!r}.")
    return mode == "class"


def settings_file() -> Path:
    """The file that STRATA_SETTINGS names, else `strata.toml` in the working folder."""
    return Path(os.environ.get("STRATA_SETTINGS") or "strata.toml")


def class_table() -> dict[str, Any] | None:
    """The table `[class]` of the settings file; None if there is none. StrataError if the file is
    not what it should be."""
    path = settings_file()
    try:
        stat = path.stat()
    except FileNotFoundError:
        if os.environ.get("STRATA_SETTINGS"):
            raise StrataError(f"STRATA_SETTINGS names {path}, which is not there.") from None
        return None
    return _read(path, stat.st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, _changed: int) -> dict[str, Any] | None:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # ValueError: not TOML, or not text
        raise StrataError(f"The settings file {path} cannot be read ({error}).") from None
    if unknown := set(tables) - {"class"}:
        raise StrataError(f"{path} has one table, [class]; it cannot hold {min(unknown)!r}.")
    table = tables.get("class")
    if table is not None and not isinstance(table, dict):
        raise StrataError(f"class in {path} is a table: write [class], and its settings below.")
    return table
