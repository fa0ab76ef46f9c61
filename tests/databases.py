"""Both databases for every test of what is stored: SQLite, and PostgreSQL where a server is given.

STRATA_TEST_POSTGRES is the URL of a server on which schemas may be made. Without it these tests are
skipped, unless STRATA_REQUIRE_POSTGRES is set, as it is in continuous integration.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, text

from strata.storage import database as database_module
from strata.storage.database import Database

# What a test stores need not outlive the power: hundreds of tests write, and a disk takes its time.
AS_SHIPPED, database_module.SYNCHRONOUS = database_module.SYNCHRONOUS, "NORMAL"
KINDS = ("sqlite", "postgresql")
_SCRIPT = Path(__file__).parents[1] / ".ci" / "postgres"


class Server:
    """A PostgreSQL server of a test's own, which it may stop and start again with what it holds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.runs = False
        self.start()

    def start(self) -> None:
        self.url = self._do("start").strip()
        self.runs = True

    def stop(self) -> None:
        """As a crash would: nobody who is connected is asked."""
        self._do("stop")
        self.runs = False

    def _do(self, action: str) -> str:
        command = [str(_SCRIPT), action, str(self._folder)]
        # Not by a pipe: the server would inherit it and keep it open.
        answer = self._folder.parent / "answer"
        with answer.open("wb") as output:
            subprocess.run(command, check=True, stdout=output, timeout=60)
        return answer.read_text()


@contextmanager
def own_server() -> Iterator[Server]:
    """A server of one's own, where servers are tested at all."""
    _shared()
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # the server is not run by root
        server = Server(Path(folder) / "server")
        try:
            yield server
        finally:
            if server.runs:
                server.stop()


def _shared() -> str:
    """The URL of the server that all tests share."""
    server = os.environ.get("STRATA_TEST_POSTGRES")
    if not server:
        reason = "no PostgreSQL server: STRATA_TEST_POSTGRES is not set"
        if os.environ.get("STRATA_REQUIRE_POSTGRES"):
            pytest.fail(reason)
        pytest.skip(reason)
    return server


@contextmanager
def new_place(kind: str, folder: Path) -> Iterator[str]:
    """The path or URL of an empty database."""
    if kind == "sqlite":
        yield str(folder / "deep" / "strata.sqlite")
        return
    server = _shared()
    schema, url = new_schema(server)
    try:
        yield url
    finally:
        _tell(server, f"DROP SCHEMA {schema} CASCADE")


def new_schema(server: str) -> tuple[str, str]:
    """Its name on the server of that URL, and the URL of a database in which there is only it."""
    schema = f"strata_{secrets.token_hex(8)}"
    _tell(server, f"CREATE SCHEMA {schema}")
    return schema, f"{server}?options=-csearch_path%3D{schema}"


def _tell(server: str, statement: str) -> None:
    engine = create_engine(
        server.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(text(statement))
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
