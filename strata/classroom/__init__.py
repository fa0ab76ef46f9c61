"""Classes on one server: who is in one, what the teacher sees of it. Knows no pages, no models."""

import os


def class_mode() -> bool:
    """Whether learners enter by class code."""
    return os.environ.get("STRATA_MODE", "open") == "class"
