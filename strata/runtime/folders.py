"""Where Strata keeps what it keeps: weights, and what learners store."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The folder for weights: STRATA_HOME, else the user's cache."""
    chosen = os.environ.get("STRATA_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_cache_path("strata", appauthor=False)


def state() -> Path:
    """The folder for what learners store, prompts and progress: STRATA_STATE, else `home()`."""
    chosen = os.environ.get("STRATA_STATE")
    return Path(chosen).expanduser().absolute() if chosen else home()
