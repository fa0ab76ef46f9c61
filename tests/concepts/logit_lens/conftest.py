"""The scan of the lens cuts its work by torch's threads, so it is seen with more than one."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def threads(two_threads: None) -> None:
    """Two, as a server has."""
