"""What browser tests share: a mark, and a server that holds classes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import small
from tests.browser.attending import SECRET
from tests.browser.server import serve
from tests.databases import new_place

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that holds classes: in PostgreSQL where there is a server, since the other tests of
    a class in a browser are on SQLite; with a small model under the bundled one's name."""
    kind = "postgresql" if os.environ.get("STRATA_TEST_POSTGRES") else "sqlite"
    folder = tmp_path_factory.mktemp("class")
    with new_place(kind, folder) as place:
        environment = {
            "STRATA_MODE": "class",
            "STRATA_TEACHER_SECRET": SECRET,
            "STRATA_DATABASE_URL": place,
            **small.environment(folder),
        }
        with serve(environment=environment) as url:
            yield url
