"""Classes on one server: who is in one, what the teacher sees of it. Knows no pages, no models."""

import os

from strata.errors import StrataError


def class_mode() -> bool:
    """Whether learners enter by class code."""
    mode = os.environ.get("STRATA_MODE") or "open"
    if mode not in ("open", "class"):  # a slip must not open what was meant to be closed
        raise StrataError(f"STRATA_MODE is open or class, not {mode!r}.")
    return mode == "class"
