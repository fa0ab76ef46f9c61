"""Whether the default model has answered yet: what `/readyz` says."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Readiness:
    """Whether the default model has answered a real prompt yet, and if not, why.

    Here, since an answer about it must not wait until torch is imported.
    """

    ready: bool = False
    reason: str = "starting"


readiness = Readiness()
