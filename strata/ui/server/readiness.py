"""Whether the default model has answered yet: what `/readyz` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Readiness:
    """Whether the default model has answered a real prompt yet, and if not, why. `kept`: whether
    what learners do would outlive the server now, and how much of it waits for the database.

    Here, since an answer about it must not wait until torch is imported.
    """

    ready: bool = False
    reason: str = "starting"
    kept: Callable[[], tuple[bool, int]] = lambda: (True, 0)


readiness = Readiness()
