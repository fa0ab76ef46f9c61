"""Both databases for every test of what is stored: SQLite, and PostgreSQL where a server is given.

STRATA_TEST_POSTGRES is the URL of a server on which schemas may be made. Without it these tests are
skipped, unless STRATA_REQUIRE_POSTGRES is set, as it is in continuous integration.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from strata.database import Database

KINDS = ("sqlite", "postgresql")


@contextmanager
def new_place(kind: str, folder: Path) -> Iterator[str]:
    """The path or URL of an empty database."""
    if kind == "sqlite":
        yield str(folder / "deep" / "strata.sqlite")
        return
    server = os.environ.get("STRATA_TEST_POSTGRES")
    if not server:
        reason = "no PostgreSQL server: STRATA_TEST_POSTGRES is not set"
        if os.environ.get("STRATA_REQUIRE_POSTGRES"):
            pytest.fail(reason)
        pytest.skip(reason)
    schema = f"strata_{secrets.token_hex(8)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
        try:
            yield f"{server}?options=-csearch_path%3D{schema}"
        finally:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The path or URL of an empty database of each kind."""
    with new_place(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def database(place: str) -> Iterator[Database]:
    """An empty database of each kind."""
    opened = Database(place)
    yield opened
    opened.close()
