"""The gate of the engine's tests, for pages that wait for an engine."""

from tests.engine.conftest import gate  # noqa: F401
