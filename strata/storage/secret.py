"""Secrets, which come from the environment or from a file that it names; never from settings."""

from __future__ import annotations

import os
from pathlib import Path

from strata.errors import StrataError


def secret(name: str) -> str:
    """What the variable `name` holds, or the file that `name`_FILE names; '' if neither is set.

    A file is what containers are given secrets in; the line end that an editor leaves is no part of
    it. StrataError if it cannot be read.
    """
    if value := os.environ.get(name):
        return value
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise StrataError(f"{name}_FILE names {path}, which cannot be read ({reason}).") from None
